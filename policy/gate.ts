import type { CompiledRule, Level } from "./rules.ts";
import { type Frame, type Gate, type Session, whenHolds } from "./session.ts";

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
  const reason =
    closed === undefined
      ? "No allow rule applies to this application here"
      : `No allow rule of ${closed.level.name} holds (${idsOf(closed.level)})`;
  return { open: false, refusal: { code: "not_allowed", rule: DEFAULT_DENY, reason }, shadow };
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

/** The first enforced rule that holds, the first shadow rule that would, and whether the level has enforced ones. */
function askLevel(session: Session, frame: Frame, level: Level) {
  let held: CompiledRule | undefined;
  let rehearsal: CompiledRule | undefined;
  for (const rule of level.group.candidates(session.fields, frame.model)) {
    if (rule.mode === "shadow") {
      if (whenHolds(session, rule, frame).result === "true") rehearsal ??= rule;
      continue;
    }
    if (held !== undefined) continue;
    const taken = session.restrictions.onRule(rule.rule.id, session.input.now);
    if (taken !== undefined) {
      session.trace.consider(rule, "false", `taken back by restriction ${taken.id}`);
    } else if (whenHolds(session, rule, frame).result === "true") {
      held = rule;
    }
  }
  return { enforced: level.enforced, held, rehearsal };
}
