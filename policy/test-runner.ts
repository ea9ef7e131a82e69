import type { Allow, DecisionInput, Policy, Verdict } from "./decision.ts";
import type { Target } from "./program.ts";

/** One decision that is expected, ready to be asked for. */
export interface PolicyCase {
  readonly name: string;
  readonly asked: AskedDecision;
  readonly expect: ExpectedDecision;
}

export type AskedDecision =
  | {
      readonly kind: "decision";
      readonly input: DecisionInput;
      /** What is left of a verdict's targets on the request's route; all of them unless given. */
      readonly answering?: (allow: Allow) => readonly Target[];
    }
  /** No rule is asked: nothing matches the request, say. */
  | { readonly kind: "refused"; readonly code: string; readonly reason: string };

/** What is not named is not compared. */
export interface ExpectedDecision {
  readonly effect: "allow" | "deny";
  readonly code?: string;
  readonly rule?: string;
  /** Pools, or keys of Deployments or Upstreams; all of them, in order. */
  readonly targets?: readonly string[];
  readonly rerouted?: readonly { readonly rule?: string; readonly to: string }[];
  /** Target → what removed it. */
  readonly removed?: Readonly<Record<string, string>>;
}

/** A decision in the words in which expectations speak. */
export interface ActualDecision {
  readonly effect: "allow" | "deny";
  /** Of a denial. */
  readonly code?: string;
  readonly rule: string;
  readonly reason: string;
  /** Pools, in order. */
  readonly targets: readonly string[];
  readonly rerouted: readonly { readonly rule: string; readonly to: string }[];
  readonly removed: readonly { readonly pool: string; readonly rule: string; readonly reason: string }[];
  /** Absent where no rule was asked. */
  readonly verdict?: Verdict;
}

export interface CaseDifference {
  readonly field: "effect" | "code" | "rule" | "targets" | "rerouted" | "removed";
  /** Key below the field: the target, for `removed`. */
  readonly key?: string;
  readonly expected: string;
  readonly actual: string;
}

export interface CaseResult {
  readonly case: PolicyCase;
  readonly actual: ActualDecision;
  /** Empty: the case passes. */
  readonly differences: readonly CaseDifference[];
}

/** Asks a policy for every case, and compares. Pure. */
export function runCases(policy: Policy, cases: readonly PolicyCase[]): readonly CaseResult[] {
  return cases.map((each) => {
    const actual = actualDecision(policy, each.asked);
    return { case: each, actual, differences: differencesOf(each.expect, actual) };
  });
}

export function actualDecision(policy: Policy, asked: AskedDecision): ActualDecision {
  if (asked.kind === "refused") {
    const { code, reason } = asked;
    return { effect: "deny", code, rule: "", reason, targets: [], rerouted: [], removed: [] };
  }
  const verdict = policy.decide(asked.input);
  const { rule, reason, rerouted, removed } = verdict;
  const shared = { rule, reason, rerouted, removed, verdict };
  if (verdict.effect === "deny") return { effect: "deny", code: verdict.code, targets: [], ...shared };
  const targets = asked.answering?.(verdict) ?? verdict.targets;
  return { effect: "allow", targets: targets.map(({ pool }) => pool), ...shared };
}

function differencesOf(expect: ExpectedDecision, actual: ActualDecision): readonly CaseDifference[] {
  const differences: CaseDifference[] = [];
  const compare = (field: CaseDifference["field"], expected: string, found: string, key?: string): void => {
    if (expected !== found) differences.push({ field, ...(key === undefined ? {} : { key }), expected, actual: found });
  };
  compare("effect", expect.effect, actual.effect);
  if (expect.code !== undefined) compare("code", expect.code, actual.code ?? "none");
  if (expect.rule !== undefined) compare("rule", expect.rule, actual.rule === "" ? "none" : actual.rule);
  const { targets, rerouted } = expect;
  if (targets !== undefined) {
    const found = actual.targets.map((pool, index) => (isPool(pool, targets[index] ?? "") ? targets[index] : pool));
    compare("targets", listed(targets), listed(found));
  }
  if (rerouted !== undefined) {
    const found = actual.rerouted.map(({ rule, to }, index) =>
      rerouted[index]?.rule === undefined ? to : `${to} by ${rule}`,
    );
    compare(
      "rerouted",
      listed(rerouted.map(({ rule, to }) => (rule === undefined ? to : `${to} by ${rule}`))),
      listed(found),
    );
  }
  for (const [target, rule] of Object.entries(expect.removed ?? {})) {
    const removal = actual.removed.find(({ pool }) => isPool(pool, target));
    const legal = actual.targets.some((pool) => isPool(pool, target));
    compare("removed", rule, removal?.rule ?? (legal ? "not removed: it may answer" : "no candidate"), target);
  }
  return differences;
}

/** A pool goes by its own name, or by the key of its Deployment or Upstream. */
function isPool(pool: string, name: string): boolean {
  return pool === name || pool === `model/${name}` || pool === `upstream/${name}`;
}

function listed(names: readonly (string | undefined)[]): string {
  return names.length === 0 ? "none" : names.join(", ");
}
