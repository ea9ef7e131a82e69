import { compileExpression } from "./cel.ts";
import { compilePolicy } from "./decide.ts";
import type { Considered, DecisionInput, Verdict } from "./decision.ts";
import type { PolicyProgram, ProgramRule } from "./program.ts";
import type { CaseResult } from "./test-runner.ts";
import { type Condition, conditionsOf } from "./test-runner-text.ts";

/** In how many cases something came out how. */
export interface Outcomes {
  readonly true: number;
  readonly false: number;
  readonly unknown: number;
}

export interface RuleCoverage {
  readonly rule: string;
  readonly effect: ProgramRule["effect"];
  readonly mode: ProgramRule["mode"];
  /** Of `when`. */
  readonly when: Outcomes;
  /** Cases in which it was asked at all. */
  readonly evaluated: number;
  /**
   * In some case it did what it is for: a deny denied, an allow held, a restrict removed a target, a reroute led
   * elsewhere, a preference scored. Shadow rules: it would have.
   */
  readonly covered: boolean;
  readonly conditions: readonly ConditionCoverage[];
}

/** A part of `when` or `require` that is true or false by itself. */
export interface ConditionCoverage extends Condition, Outcomes {
  readonly field: "when" | "require";
}

export interface Coverage {
  /** Rules that are off are left out. */
  readonly rules: readonly RuleCoverage[];
  readonly coveredRules: number;
  /** Of each condition, being true and being false count once each. */
  readonly coveredOutcomes: number;
  readonly outcomes: number;
}

/** What a probe asks, and where the answer belongs. */
interface Probe {
  readonly rule: ProgramRule;
  /** Index into the conditions of the rule; -1: its whole `when`. */
  readonly condition: number;
  readonly holds: boolean;
  readonly text: string;
}

/** The cases in which something came out how. */
interface Where {
  readonly true: Set<number>;
  readonly false: Set<number>;
  readonly unknown: Set<number>;
}

const NOWHERE: Where = { true: new Set(), false: new Set(), unknown: new Set() };

function countsOf(where: Where): Outcomes {
  return { true: where.true.size, false: where.false.size, unknown: where.unknown.size };
}

/** Entries of `considered` that one decision keeps are bounded, so probes are asked in batches. */
const MOST_CONSIDERED = 900;
const MOST_CONDITIONS = 64;

/**
 * Which rules, and which conditions in them, the cases put to the test. Conditions are asked by shadow rules of their
 * own, where the rule they belong to is in reach of the request, whichever rule decided first.
 */
export function coverageOf(program: PolicyProgram, results: readonly CaseResult[]): Coverage {
  const rules = program.rules.filter(({ mode }) => mode !== "off");
  const conditions = new Map(rules.map((rule) => [rule, conditionsIn(rule)]));
  const asked = results.flatMap(({ case: { asked: decision }, actual }) =>
    decision.kind === "decision" && actual.verdict !== undefined
      ? [{ input: decision.input, verdict: actual.verdict }]
      : [],
  );
  const probes = rules.flatMap((rule) => probesOf(rule, conditions.get(rule) ?? []));
  const outcomes = askProbes(
    program,
    probes,
    asked.map(({ input }) => input),
  );
  const covered = rules.map((rule): RuleCoverage => {
    const verdicts = asked.map(({ verdict }) => verdict);
    const said = verdicts.map((verdict) => verdict.considered.filter((each) => each.rule === rule.id));
    const whole = outcomes.get(`${rule.id} -1`) ?? NOWHERE;
    const where = (result: Considered["result"]): ReadonlySet<number> =>
      new Set(said.flatMap((all, index) => (all.some((each) => each.result === result) ? [index] : [])));
    // A rule that cannot hold for what a request says is not asked at all; it is false by its probe.
    const isFalse = where("false").union(whole.false);
    const when = { true: where("true").size, false: isFalse.size, unknown: where("unknown").size };
    return {
      rule: rule.id,
      effect: rule.effect,
      mode: rule.mode,
      when,
      evaluated: isFalse.union(where("true")).union(where("unknown")).size,
      covered: verdicts.some((verdict) => tookEffect(rule, verdict)),
      conditions: (conditions.get(rule) ?? []).map((condition, index) => ({
        ...condition,
        ...countsOf(outcomes.get(`${rule.id} ${index}`) ?? NOWHERE),
      })),
    };
  });
  const all = covered.flatMap((rule) => rule.conditions);
  return {
    rules: covered,
    coveredRules: covered.filter((rule) => rule.covered).length,
    coveredOutcomes: all.reduce((sum, each) => sum + Math.min(each.true, 1) + Math.min(each.false, 1), 0),
    outcomes: 2 * all.length,
  };
}

function conditionsIn(rule: ProgramRule): readonly (Condition & { readonly field: "when" | "require" })[] {
  const scope = aboutTarget(rule) ? "target" : "request";
  return (["when", "require"] as const)
    .flatMap((field) => conditionsOf(rule[field] ?? "").map((condition) => ({ ...condition, field })))
    .filter(({ text }) => compileExpression(text, scope, "bool").ok)
    .slice(0, MOST_CONDITIONS);
}

function aboutTarget({ effect }: ProgramRule): boolean {
  return effect === "restrict" || effect === "prefer";
}

function tookEffect(rule: ProgramRule, verdict: Verdict): boolean {
  if (rule.mode === "shadow") {
    const bySelf = ` by ${rule.id}`;
    return (
      verdict.shadow.some((line) => line.endsWith(bySelf)) || (rule.effect !== "restrict" && isTrue(rule, verdict))
    );
  }
  if (rule.effect === "restrict") return verdict.removed.some((removal) => removal.rule === rule.id);
  if (rule.effect === "reroute") return verdict.rerouted.some((reroute) => reroute.rule === rule.id);
  return isTrue(rule, verdict);
}

function isTrue(rule: ProgramRule, verdict: Verdict): boolean {
  return verdict.considered.some((each) => each.rule === rule.id && each.result === "true");
}

function probesOf(rule: ProgramRule, conditions: ReturnType<typeof conditionsIn>): readonly Probe[] {
  const pair = (condition: number, text: string, given: string): Probe[] => [
    { rule, condition, holds: true, text: `${given}(${text}\n)` },
    { rule, condition, holds: false, text: `${given}!(${text}\n)` },
  ];
  return [
    ...(rule.when === undefined ? [] : pair(-1, rule.when, "")),
    ...conditions.flatMap(({ field, text }, index) => {
      const given = field === "require" && rule.when !== undefined ? `(${rule.when}\n) && ` : "";
      return pair(index, text, given);
    }),
  ];
}

/** `<rule id> <condition>` → outcomes. A probe and its negation: where neither holds, the condition is unknown. */
function askProbes(
  program: PolicyProgram,
  probes: readonly Probe[],
  inputs: readonly DecisionInput[],
): ReadonlyMap<string, Where> {
  const counts = new Map<string, Where>();
  const pools = Math.max(1, ...inputs.map(({ candidates }) => candidates.length));
  // Two answers a probe and pool at most: `when` and `require` are told apart by rule, not by field.
  const size = Math.max(2, 2 * Math.floor(MOST_CONSIDERED / (2 * pools)));
  for (let start = 0; start < probes.length; start += size) {
    const batch = probes.slice(start, start + size);
    const policy = compilePolicy(probeProgram(program, batch));
    for (const [index, input] of inputs.entries()) {
      const { considered } = policy.decide({ ...input, observe: false });
      for (const { rule: id, result } of considered) {
        const probe = id.startsWith(PROBE) ? batch[Number(id.slice(PROBE.length))] : undefined;
        if (probe === undefined || result === "false") continue;
        const key = `${probe.rule.id} ${probe.condition}`;
        const where = counts.get(key) ?? { true: new Set(), false: new Set(), unknown: new Set() };
        counts.set(key, where);
        where[result === "unknown" ? "unknown" : probe.holds ? "true" : "false"].add(index);
      }
    }
  }
  return counts;
}

const PROBE = "chancery:probe/";

/** All that reaches the probed rules: everything is allowed, reroutes stay, and every probe is a shadow rule. */
function probeProgram(program: PolicyProgram, probes: readonly Probe[]): PolicyProgram {
  const open: ProgramRule = {
    id: "chancery:probe-open",
    scope: ".",
    effect: "allow",
    mode: "enforce",
    reason: "",
    references: [],
  };
  const shadows = probes.map(({ rule, text }, index): ProgramRule => {
    const { scope, target } = rule;
    const shared = { id: `${PROBE}${index}`, scope, mode: "shadow", when: text, reason: "", references: [] } as const;
    const attached = target === undefined ? shared : { ...shared, target };
    return aboutTarget(rule) ? { ...attached, effect: "restrict", require: "false" } : { ...attached, effect: "deny" };
  });
  const reroutes = program.rules.filter(({ effect, mode }) => effect === "reroute" && mode === "enforce");
  return { ...program, rules: [open, ...reroutes, ...shadows], observedGateways: [] };
}
