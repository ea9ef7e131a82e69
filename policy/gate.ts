import type { Restriction } from "./program.ts";
import type { CompiledRule, Level } from "./rules.ts";
import { ask, type Frame, type Gate, type Session, whenHolds } from "./session.ts";
import { validAt } from "./validity.ts";

export const DEFAULT_DENY = "chancery:default-deny";

export function gateOf(session: Session, frame: Frame): Gate {
  frame.gate ??= deniedBy(session, frame);
  return frame.gate;
}

function deniedBy(session: Session, frame: Frame): Gate {
  const shadow: string[] = [];
  for (const group of frame.rules.deny) {
    for (const rule of group.candidates(session.fields, frame.model)) {
      const { result } = whenHolds(session, rule, frame);
      if (result === "false") continue;
      if (rule.mode === "shadow") {
        shadow.push(`deny by ${rule.rule.id}`);
        continue;
      }
      const reason = result === "true" ? rule.rule.reason : `${rule.rule.reason} (not known for this request)`;
      return { open: false, refusal: { code: "denied", rule: rule.rule.id, reason }, shadow };
    }
  }
  return allowedBy(session, frame, shadow);
}

function allowedBy(session: Session, frame: Frame, shadow: string[]): Gate {
  const levels = frame.rules.levels.map((level) => ({ level, ...askLevel(session, frame, level) }));
  const nearest = levels.find(({ held }) => held !== undefined)?.held;
  const closed = levels.find(({ enforced, held }) => enforced && held === undefined);
  // What the levels would say if their shadow rules were enforced.
  const rehearsed = levels.find(({ rehearsal }) => rehearsal !== undefined)?.rehearsal;
  const rehearsedClosed = levels.find(({ held, rehearsal }) => held === undefined && rehearsal === undefined);
  if (closed === undefined && nearest !== undefined) {
    if (rehearsedClosed !== undefined) shadow.push(`deny by ${rehearsedClosed.level.group.rules[0]?.rule.id ?? ""}`);
    return { open: true, rule: nearest.rule.id, reason: nearest.rule.reason, shadow };
  }
  if (rehearsed !== undefined && rehearsedClosed === undefined) shadow.push(`allow by ${rehearsed.rule.id}`);
  const taken = takenFrom(levels);
  if (taken !== undefined) {
    const { restriction, rule } = taken;
    const reason = `${restriction.reason} (the allow rule ${rule.rule.id} is out of use by restriction ${restriction.id})`;
    return { open: false, refusal: { code: "denied", rule: restriction.id, reason }, shadow };
  }
  const reason =
    closed === undefined
      ? "No allow rule applies to this application here"
      : `No allow rule of ${closed.level.name} holds (${idsOf(closed.level)})`;
  return { open: false, refusal: { code: "not_allowed", rule: DEFAULT_DENY, reason }, shadow };
}

/** An allow rule that holds, and that a restriction keeps out of use. */
interface Taken {
  readonly rule: CompiledRule;
  readonly restriction: Restriction;
}

/** What restrictions alone keep closed: where a level lacks a rule of its own, lifting them would not open it. */
function takenFrom(
  levels: readonly {
    readonly enforced: boolean;
    readonly held: CompiledRule | undefined;
    readonly taken: Taken | undefined;
  }[],
): Taken | undefined {
  const closed = levels.filter(({ enforced, held }) => enforced && held === undefined);
  return closed.every(({ taken }) => taken !== undefined) ? closed[0]?.taken : undefined;
}

/** Rules of a level that a reason names. */
const NAMED_RULES = 5;

function idsOf(level: Level): string {
  const ids: string[] = [];
  // A level can have thousands, and this is said of many requests.
  for (const { rule, mode } of level.group.rules) {
    if (mode !== "enforce") continue;
    if (ids.length === NAMED_RULES) return `${ids.join(", ")} and more`;
    ids.push(rule.id);
  }
  return ids.join(", ");
}

/**
 * The first enforced rule that holds, the first that a restriction keeps from it, the first shadow rule that would, and
 * whether the level has enforced ones.
 */
function askLevel(session: Session, frame: Frame, level: Level) {
  let held: CompiledRule | undefined;
  let rehearsal: CompiledRule | undefined;
  let taken: Taken | undefined;
  for (const rule of level.group.candidates(session.fields, frame.model)) {
    if (rule.mode === "shadow") {
      if (whenHolds(session, rule, frame).result === "true") rehearsal ??= rule;
      continue;
    }
    if (held !== undefined) continue;
    const restriction = session.restrictions.onRule(rule.rule.id, session.input.now);
    if (restriction !== undefined) {
      if (taken === undefined && wouldHold(session, rule, frame)) taken = { rule, restriction };
      session.trace.consider(rule, "false", `taken back by restriction ${restriction.id}`);
    } else if (whenHolds(session, rule, frame).result === "true") {
      held = rule;
    }
  }
  return { enforced: level.enforced, held, rehearsal, taken };
}

function wouldHold(session: Session, rule: CompiledRule, frame: Frame): boolean {
  if (rule.period !== undefined && !validAt(rule.period, session.input.now)) return false;
  return rule.when === undefined || ask(session, rule, rule.when, frame).result === "true";
}
