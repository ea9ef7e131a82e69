import type { Key } from "../resources/index.ts";
import { assignmentsFor, drawn } from "./assignments.ts";
import { REMOVED } from "./candidates.ts";
import type { Exposure } from "./decision.ts";
import { Draw } from "./dependency.ts";
import { inOrder, type Orderable } from "./order.ts";
import type { ModelTarget, Target } from "./program.ts";
import type { Wanted } from "./reroute.ts";
import type { CompiledRule } from "./rules.ts";
import { type Candidate, candidatesOf, type Frame, type Session, scoreOf, whenHolds } from "./session.ts";
import { splitReader } from "./split-reader.ts";

/**
 * Legal candidates as a chain, best first: the version asked for (the newest legal one where none was), then by `prefer`
 * rules with parents first, then older versions before substitutes, then by draw. What cannot share a chain with its
 * head is removed.
 */
export function chainOf(
  session: Session,
  legal: readonly Candidate[],
  wanted: Wanted,
  frame: Frame,
): readonly Target[] {
  const rules = candidatesOf(frame.rules.prefer, session, frame);
  const scores = new Map(rules.map((rule) => [rule, scoresBy(session, rule, frame, legal)]));
  const exposure = exposureOf(session, legal, wanted, frame);
  session.trace.expose(exposure);
  const head = exposure?.version ?? headVersion(wanted, legal);
  const limit = exposure === undefined ? Number.POSITIVE_INFINITY : ageOf(session, exposure.version);
  const arrange = (active: readonly CompiledRule[]) => {
    const vectors = active.map((rule) => scores.get(rule));
    const items = legal.map((candidate) => {
      const preferences = vectors.map((vector) => -(vector?.get(candidate) ?? Number.NEGATIVE_INFINITY));
      return placed(session, candidate.target, preferences, wanted, { version: head, age: limit });
    });
    return inOrder(items, session.input.draw, (weights) => session.recorder?.note(new Draw(weights))).map(
      ({ target }) => target,
    );
  };
  const enforced = rules.filter((rule) => rule.mode === "enforce");
  const ordered = arrange(enforced);
  if (enforced.some((rule) => distinguishes(scores.get(rule), legal))) session.trace.prefer();
  for (const rule of rules) {
    if (rule.mode !== "shadow") continue;
    const [first] = arrange(rules.filter((other) => other.mode === "enforce" || other === rule));
    if (first !== undefined && first !== ordered[0]) {
      session.trace.wouldHave(`preference of ${first.pool} by ${rule.rule.id}`);
    }
  }
  return ofOneKind(session, ordered);
}

/** Where `when` does not hold, or there is no number, a candidate has no score, which is lower than any. */
function scoresBy(
  session: Session,
  rule: CompiledRule,
  frame: Frame,
  legal: readonly Candidate[],
): ReadonlyMap<Candidate, number> {
  const scores = new Map<Candidate, number>();
  for (const candidate of legal) {
    if (whenHolds(session, rule, frame, candidate).result !== "true") continue;
    const score = scoreOf(session, rule, frame, candidate);
    if (score !== undefined) scores.set(candidate, score);
  }
  return scores;
}

/** Whether not all candidates have the same score. */
function distinguishes(scores: ReadonlyMap<Candidate, number> | undefined, legal: readonly Candidate[]): boolean {
  const [first] = legal;
  if (scores === undefined || first === undefined) return false;
  const own = scores.get(first);
  return legal.some((candidate) => scores.get(candidate) !== own);
}

function placed(
  session: Session,
  target: Target,
  preferences: readonly number[],
  wanted: Wanted,
  head: Head,
): Orderable & { readonly target: Target } {
  const { model, pool } = target;
  if (model === undefined) {
    const weight = session.input.weights?.get(pool) ?? 1;
    const drawn = session.input.requested.upstream === target.upstream ? 0 : 1;
    // Weights are for what is equally good.
    return { target, name: pool, weight, keys: [...preferences, drawn] };
  }
  const substitute = model.model === wanted.model ? -1 : session.input.application.substitutes.indexOf(model.model);
  const newer = model.model === wanted.model && model.age > head.age ? model.age + 1 : 0;
  // Who is not moved yet meets newer versions last, the newest at the end, however much better they are.
  const keys = [model.version === head.version ? 0 : 1, newer, ...preferences, substitute, -model.age];
  return { target, name: pool, weight: model.weight, keys };
}

/** What comes first, and the age above which versions of its model come last: those it would be moved to by a split. */
interface Head {
  readonly version: Key | undefined;
  readonly age: number;
}

function ageOf(session: Session, version: Key): number {
  return session.program.versions.get(version)?.age ?? Number.POSITIVE_INFINITY;
}

/** What the splits of the model draw for a request that names none of its versions. */
function exposureOf(session: Session, legal: readonly Candidate[], wanted: Wanted, frame: Frame): Exposure | undefined {
  const { model, version } = wanted;
  if (model === undefined || version !== undefined) return undefined;
  const splits = session.program.splits.splitsOf(model);
  if (splits.length === 0) return undefined;
  const versions = legal.flatMap(({ target }) => (target.model?.model === model ? [target.model.version] : []));
  return drawn(assignmentsFor(splits, splitReader(session, frame)), new Set(versions));
}

function headVersion(wanted: Wanted, legal: readonly Candidate[]): string | undefined {
  if (wanted.version !== undefined) return wanted.version;
  let newest: ModelTarget | undefined;
  for (const { target } of legal) {
    const { model } = target;
    if (model !== undefined && model.model === wanted.model && model.age > (newest?.age ?? -1)) newest = model;
  }
  return newest?.version;
}

/** One chain has one provider API and one kind of credential: an attempt replays the body and headers of the first. */
function ofOneKind(session: Session, ordered: readonly Target[]): readonly Target[] {
  const [head] = ordered;
  if (head === undefined) return ordered;
  return ordered.filter((target) => {
    if (target.model?.api !== head.model?.api) {
      session.trace.remove({
        pool: target.pool,
        rule: REMOVED.api,
        reason: `it speaks ${target.model?.api ?? "no model API"}, the chain ${head.model?.api ?? "none"}`,
      });
      return false;
    }
    if (target.model !== undefined && passes(target) !== passes(head)) {
      session.trace.remove({
        pool: target.pool,
        rule: REMOVED.api,
        reason: "it takes the client's own credential where the chain does not, or the reverse",
      });
      return false;
    }
    return true;
  });
}

function passes(target: Target): boolean {
  return target.credential === "passThrough";
}
