import { diffFacts } from "./diff-facts.ts";
import { diffRules } from "./diff-rules.ts";
import type { PolicyProgram } from "./program.ts";
import type { ActualDecision } from "./test-runner.ts";

/** Something that two programs do not have alike. */
export interface Change {
  readonly kind:
    | "rule"
    | "application"
    | "model"
    | "approval"
    | "target"
    | "restriction"
    | "split"
    | "gateway"
    | "adequacy";
  readonly key: string;
  /** In words. */
  readonly change: string;
  /** Why it can let through what was refused before; absent: it cannot. */
  readonly loosens?: string;
}

/**
 * What a change of a program is made of, by its structure alone. Conservative: what is not shown to leave alone or to
 * tighten is marked as loosening.
 */
export function diffPrograms(before: PolicyProgram, after: PolicyProgram): readonly Change[] {
  return [...diffRules(before, after), ...diffFacts(before, after)];
}

export interface DecisionDifference {
  readonly kind: "newlyDenied" | "newlyAllowed" | "reroutedOtherwise" | "deniedOtherwise";
  /** The rule that is behind it, as far as the two decisions tell. */
  readonly rule: string;
  /** What was refused before is let through, or something more may answer. */
  readonly loosens: boolean;
}

/** How the decision about one request differs; undefined where it does not. */
export function diffDecisions(before: ActualDecision, after: ActualDecision): DecisionDifference | undefined {
  if (before.effect === "allow" && after.effect === "deny") {
    return { kind: "newlyDenied", rule: refusalOf(after, before.targets[0]), loosens: false };
  }
  if (before.effect === "deny" && after.effect === "allow") {
    return { kind: "newlyAllowed", rule: refusalOf(before, after.targets[0]), loosens: true };
  }
  if (before.effect === "deny") {
    if (before.code === after.code && before.rule === after.rule) return undefined;
    return { kind: "deniedOtherwise", rule: after.rule, loosens: false };
  }
  if (before.targets.join("\n") === after.targets.join("\n")) return undefined;
  const loosens = after.targets.some((pool) => !before.targets.includes(pool));
  return { kind: "reroutedOtherwise", rule: turnOf(before, after), loosens };
}

/** The rule that refuses, or that took away what the other decision names first. */
function refusalOf(decision: ActualDecision, pool: string | undefined): string {
  const removal = decision.removed.find((each) => each.pool === pool);
  return decision.code === "no_legal_target" && removal !== undefined
    ? removal.rule
    : decision.rule || (decision.code ?? "");
}

function turnOf(before: ActualDecision, after: ActualDecision): string {
  const rerouted = (decision: ActualDecision) => decision.rerouted.map(({ rule }) => rule);
  const other =
    rerouted(after).find((rule) => !rerouted(before).includes(rule)) ??
    rerouted(before).find((rule) => !rerouted(after).includes(rule));
  if (other !== undefined) return other;
  const gone = before.targets.find((pool) => !after.targets.includes(pool));
  const removed = after.removed.find(({ pool }) => pool === gone);
  if (removed !== undefined) return removed.rule;
  const come = after.targets.find((pool) => !before.targets.includes(pool));
  return before.removed.find(({ pool }) => pool === come)?.rule ?? "chancery:order";
}
