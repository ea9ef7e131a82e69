import type { Key } from "../resources/index.ts";
import type { ExpressionDoubt, ExpressionProblem } from "./expression.ts";
import { ExpressionChecks } from "./expression-checks.ts";
import type { PolicyProgram, ProgramRule } from "./program.ts";
import { MAX_HOPS } from "./reroute.ts";
import { circlesIn, type Reroute, reroutesOf } from "./reroute-graph.ts";
import { expressionsOf } from "./rules.ts";

/** Every code that a RuleProblem can carry, with what it means. */
export const RULE_PROBLEM_CODES = {
  expression: "An expression does not parse, reads what is not there, or is of the wrong type.",
  "optional-field":
    "A deny or restrict rule reads a field that can be missing, and is then unknown: it asks first, or is refused.",
  "model-field":
    "A deny or restrict rule for more than a Model reads what plain routes have not, and is unknown there.",
  "never-equal": "A comparison is of values whose types are never equal, and so says the same for every request.",
  costly: "Loops can cost more than one evaluation may, and the rule is then unknown.",
  "missing-field": "The rule lacks the field that its effect needs.",
  conflict: "The rule has a field that its effect does not use.",
  "reroute-cycle": "Reroute rules lead in a circle (a warning where it depends on who asks).",
  "reroute-too-long": "Reroute rules in a row are more than are followed.",
} as const;
export type RuleProblemCode = keyof typeof RULE_PROBLEM_CODES;

/** Something wrong (or doubtful) in a rule. */
export interface RuleProblem {
  /** Id of the rule. */
  readonly rule: string;
  readonly field: "when" | "require" | "score" | "to";
  readonly severity: "error" | "warning";
  readonly code: RuleProblemCode;
  readonly message: string;
  readonly hint?: string;
  /** Inside the expression, UTF-16 units from its start; 0 for problems of the field as a whole. */
  readonly offset: number;
  /** Inside the expression, from 1. */
  readonly line: number;
  readonly column: number;
}

/** What the check looks at: a whole program, or its rules alone (then versions have no known model). */
export type Checkable = readonly ProgramRule[] | Pick<PolicyProgram, "rules" | "targets">;

/**
 * Every problem of every rule, rules that are off included. Empty: the program can be compiled.
 *
 * @param checks  of the program before, whose expressions are not checked again
 */
export function checkProgram(program: Checkable, checks = new ExpressionChecks()): readonly RuleProblem[] {
  const { rules, targets } = "rules" in program ? program : { rules: program, targets: [] };
  const models = new Map<Key, Key>();
  for (const { model } of targets) {
    if (model !== undefined) models.set(model.version, model.model);
  }
  const ofRules = rules.flatMap((rule) =>
    checks.ofRule(rule, () => [...partProblems(rule), ...expressionProblems(rule, checks)]),
  );
  checks.endRound();
  return [...ofRules, ...rerouteProblems(reroutesOf(rules, (version) => models.get(version)))];
}

const NEEDED = { restrict: "require", reroute: "to", prefer: "score" } as const;

/** A part that the effect needs and the rule has not, or the reverse. */
function partProblems(rule: ProgramRule): readonly RuleProblem[] {
  const needed = rule.effect === "deny" || rule.effect === "allow" ? undefined : NEEDED[rule.effect];
  const problems: RuleProblem[] = [];
  for (const part of ["require", "to", "score"] as const) {
    if (part === needed && rule[part] === undefined) {
      problems.push(ofField(rule, part, "missing-field", `A ${rule.effect} rule needs "${part}"`));
    }
    if (part !== needed && rule[part] !== undefined) {
      problems.push(ofField(rule, part, "conflict", `A ${rule.effect} rule has no use for "${part}"`));
    }
  }
  const { to } = rule;
  if (needed === "to" && to !== undefined && (to.model ?? to.version ?? to.upstream) === undefined) {
    problems.push(ofField(rule, "to", "missing-field", '"to" names no model, version or upstream'));
  }
  return problems;
}

function expressionProblems(rule: ProgramRule, checks: ExpressionChecks): readonly RuleProblem[] {
  return expressionsOf(rule).flatMap(({ field, text, scope, expected }) => {
    const { errors, doubts } = checks.find(text, scope, expected);
    return [
      ...errors.map((problem) => inField(rule, field, "error", "expression", problem)),
      ...doubts
        .filter(({ kind }) => concerns(kind, rule))
        .map(({ kind, ...problem }) =>
          inField(rule, field, kind === "optional-field" ? "error" : "warning", kind, problem),
        ),
    ];
  });
}

function concerns(kind: ExpressionDoubt["kind"], { effect, target }: ProgramRule): boolean {
  if (kind === "never-equal" || kind === "costly") return true;
  // Elsewhere an unknown only fails to allow, to reroute or to prefer.
  if (effect !== "deny" && effect !== "restrict") return false;
  return kind === "optional-field" || target?.kind !== "Model";
}

function rerouteProblems(reroutes: readonly Reroute[]): readonly RuleProblem[] {
  const certain = circlesIn(reroutes.filter(({ always }) => always));
  const possible = circlesIn(reroutes).filter((circle) => circle.some(({ always }) => !always));
  if (certain.length + possible.length > 0) {
    return [
      ...certain.flatMap((circle) => circleProblem(circle, "error", "lead")),
      ...possible.flatMap((circle) => circleProblem(circle, "warning", "can lead")),
    ];
  }
  const from = Map.groupBy(reroutes, (reroute) => reroute.from);
  return reroutes.flatMap((reroute) => {
    const beyond = longestAfter(reroute, from);
    if (beyond.length <= MAX_HOPS) return [];
    const way = [reroute.from, ...beyond.map(({ to }) => to)].join(" → ");
    const message = `Only ${MAX_HOPS} reroutes of a request are followed, and this one can start ${way}`;
    return [{ ...ofField(reroute.rule, "to", "reroute-too-long", message), severity: "warning" as const }];
  });
}

function circleProblem(
  circle: readonly Reroute[],
  severity: RuleProblem["severity"],
  verb: string,
): readonly RuleProblem[] {
  const [first] = circle;
  if (first === undefined) return [];
  const way = [first.from, ...circle.map(({ to }) => to)].join(" → ");
  const ids = circle.map(({ rule }) => rule.id).join(", ");
  return [{ ...ofField(first.rule, "to", "reroute-cycle", `Reroutes ${verb} in a circle: ${way} (${ids})`), severity }];
}

/** A way of `MAX_HOPS + 1` steps that starts with a reroute; where there is none, the reroute alone. */
function longestAfter(first: Reroute, from: ReadonlyMap<Key, readonly Reroute[]>): readonly Reroute[] {
  let ways = new Map<Key, readonly Reroute[]>([[first.to, [first]]]);
  for (let hop = 0; hop < MAX_HOPS; hop += 1) {
    // One way to each model is enough.
    const longer = new Map<Key, readonly Reroute[]>();
    for (const [at, way] of ways) {
      for (const next of from.get(at) ?? []) longer.set(next.to, [...way, next]);
    }
    ways = longer;
  }
  const [longest] = ways.values();
  return longest ?? [first];
}

function inField(
  rule: ProgramRule,
  field: RuleProblem["field"],
  severity: RuleProblem["severity"],
  code: RuleProblemCode,
  problem: ExpressionProblem,
): RuleProblem {
  return { rule: rule.id, field, severity, code, ...problem };
}

function ofField(rule: ProgramRule, field: RuleProblem["field"], code: RuleProblemCode, message: string): RuleProblem {
  return { rule: rule.id, field, severity: "error", code, message, offset: 0, line: 1, column: 1 };
}
