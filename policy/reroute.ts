import type { Key } from "../resources/index.ts";
import type { Requested } from "./decision.ts";
import { gateOf } from "./gate.ts";
import type { Target } from "./program.ts";
import type { CompiledRule } from "./rules.ts";
import { candidatesOf, type Frame, frameOf, type Refusal, type Session, whenHolds } from "./session.ts";

/** Reroutes of one request; a third is not followed. */
export const MAX_HOPS = 2;

/** What is asked for, by the request or by a reroute rule. */
export interface Wanted {
  readonly model?: Key;
  readonly version?: Key;
  /** Only pools of this upstream. On plain routes the upstream that the weights drew is a wish, not a bound. */
  readonly upstream?: Key;
}

export interface Rerouted {
  readonly wanted: Wanted;
  /** Frames passed through, the request's own first: rules of all of them bind. */
  readonly frames: readonly Frame[];
  /** Where it ended with a refusal; `hard`: by a restriction, which nothing loosens. */
  readonly refusal?: Refusal & { readonly hard: boolean };
}

/** Follows reroute rules from what the request asks for. Each model on the way must be open to the caller. */
export function followReroutes(session: Session, requested: Requested): Rerouted {
  let wanted: Wanted = {
    ...(requested.model === undefined ? {} : { model: requested.model }),
    ...(requested.version === undefined ? {} : { version: requested.version }),
  };
  const frames = [frameOf(session, wanted.model)];
  const visited = new Set([wanted.model]);
  const applied = new Set<CompiledRule>();
  for (let hop = 0; hop < MAX_HOPS; hop += 1) {
    const step = nextStep(session, frameOf(session, wanted.model), wanted, visited, applied);
    if (step === undefined) break;
    const { rule, next } = step;
    applied.add(rule);
    const moved = next.model !== wanted.model;
    wanted = next;
    session.trace.reroute(rule.rule.id, nameOf(next, rule));
    const taken = session.restrictions.onRule(rule.rule.id, session.input.now);
    if (taken !== undefined) {
      return { wanted, frames, refusal: { code: "denied", rule: taken.id, reason: taken.reason, hard: true } };
    }
    if (!session.input.candidates.some((target) => meets(target, next))) {
      const reason = `${rule.rule.reason}: asked for ${nameOf(next, rule)} instead, which this route does not offer`;
      return { wanted, frames, refusal: { code: "no_legal_target", rule: rule.rule.id, reason, hard: false } };
    }
    if (!moved) continue;
    visited.add(next.model);
    const frame = frameOf(session, next.model);
    frames.push(frame);
    const gate = gateOf(session, frame);
    for (const line of gate.shadow) session.trace.wouldHave(line);
    if (!gate.open) return { wanted, frames, refusal: { ...gate.refusal, hard: false } };
  }
  return { wanted, frames };
}

/** Whether a target is what is wanted: the very version where one is named, and of the upstream where one is. */
export function meets(target: Target, wanted: Wanted): boolean {
  if (wanted.upstream !== undefined && target.upstream !== wanted.upstream) return false;
  if (wanted.version !== undefined) return target.model?.version === wanted.version;
  return target.model?.model === wanted.model;
}

/** The first reroute rule, nearest scope first, that holds and leads elsewhere. */
function nextStep(
  session: Session,
  frame: Frame,
  wanted: Wanted,
  visited: ReadonlySet<Key | undefined>,
  applied: ReadonlySet<CompiledRule>,
): { readonly rule: CompiledRule; readonly next: Wanted } | undefined {
  for (const rule of candidatesOf(frame.rules.reroute, session, frame)) {
    const next = destination(session, wanted, rule);
    if (applied.has(rule) || next === undefined || same(next, wanted)) continue;
    // Unknown: not applied. What was asked for is then checked as if there were no such rule.
    if (whenHolds(session, rule, frame).result !== "true") continue;
    if (rule.mode === "shadow") {
      session.trace.wouldHave(`reroute to ${nameOf(next, rule)} by ${rule.rule.id}`);
    } else if (next.model !== wanted.model && visited.has(next.model)) {
      session.trace.fail(rule.rule.id, `leads back to ${next.model ?? "where it came from"}, and is not followed`);
    } else {
      return { rule, next };
    }
  }
  return undefined;
}

function destination(session: Session, wanted: Wanted, { rule }: CompiledRule): Wanted | undefined {
  const { to } = rule;
  if (to === undefined) return undefined;
  const upstream = to.upstream === undefined ? {} : { upstream: to.upstream };
  if (to.version !== undefined) {
    const model = session.program.versions.get(to.version)?.model ?? to.model;
    return { version: to.version, ...(model === undefined ? {} : { model }), ...upstream };
  }
  if (to.model !== undefined) return { model: to.model, ...upstream };
  return to.upstream === undefined ? undefined : { ...wanted, upstream: to.upstream };
}

function same(a: Wanted, b: Wanted): boolean {
  return a.model === b.model && a.version === b.version && a.upstream === b.upstream;
}

function nameOf(wanted: Wanted, { rule }: CompiledRule): Key {
  return rule.to?.version ?? rule.to?.model ?? wanted.upstream ?? "";
}
