import { checkProgram } from "./check.ts";
import { compilePolicy } from "./decide.ts";
import type { PolicyProgram, ProgramRule } from "./program.ts";
import { type PolicyCase, runCases } from "./test-runner.ts";
import { tokensOf } from "./test-runner-text.ts";

/** A program with one small mistake in it. */
export interface Mutant {
  readonly rule: string;
  readonly change: string;
  /** Absent: the rule is dropped. */
  readonly mutated?: ProgramRule;
  /** Where in the rule it lies. */
  readonly field: "effect" | "when" | "require" | "score";
  /** UTF-16 units from the start of the expression; 0 for the field as a whole. */
  readonly offset: number;
}

export interface MutationResult {
  readonly killed: number;
  /** Mutants that no case noticed. */
  readonly survivors: readonly Mutant[];
  /** Not tried: the time was up. */
  readonly untried: number;
}

/**
 * Every mutant of the enforced rules: the rule dropped, its effect flipped, `when` and `require` negated, constants and
 * operators changed. Those that are no valid rule are left out.
 */
export function mutantsOf(program: Pick<PolicyProgram, "rules">): readonly Mutant[] {
  return program.rules
    .filter(({ mode }) => mode === "enforce")
    .flatMap((rule) => [...wholeMutants(rule), ...expressionMutants(rule)])
    .filter(({ mutated }) => mutated === undefined || isValid(mutated));
}

/** Which mutants fail a case that passes with the program as it is. `expired` is asked before each. */
export function runMutants(
  program: PolicyProgram,
  cases: readonly PolicyCase[],
  expired: () => boolean = () => false,
): MutationResult {
  const unchanged = compilePolicy(program);
  const passing = runCases(unchanged, cases).filter(({ differences }) => differences.length === 0);
  const telling = passing.map((result) => result.case);
  const mutants = mutantsOf(program);
  const survivors: Mutant[] = [];
  let killed = 0;
  for (const mutant of mutants) {
    if (expired()) break;
    const rules = program.rules.flatMap((rule) => (rule.id === mutant.rule ? (mutant.mutated ?? []) : rule));
    const policy = compilePolicy({ ...program, rules });
    const noticed = telling.some((each) => runCases(policy, [each]).some(({ differences }) => differences.length > 0));
    if (noticed) killed += 1;
    else survivors.push(mutant);
  }
  return { killed, survivors, untried: mutants.length - killed - survivors.length };
}

function wholeMutants(rule: ProgramRule): readonly Mutant[] {
  const whole = { rule: rule.id, offset: 0 };
  const mutants: Mutant[] = [{ ...whole, field: "effect", change: "dropped" }];
  if (rule.effect === "deny" || rule.effect === "allow") {
    const effect = rule.effect === "deny" ? "allow" : "deny";
    mutants.push({ ...whole, field: "effect", change: `effect ${effect}`, mutated: { ...rule, effect } });
  }
  // Dropping a rule is the same as a condition that never holds.
  if (rule.when !== undefined) {
    mutants.push(
      { ...whole, field: "when", change: "when negated", mutated: { ...rule, when: `!(${rule.when}\n)` } },
      { ...whole, field: "when", change: "when always true", mutated: { ...rule, when: "true" } },
    );
  }
  if (rule.require !== undefined) {
    const mutated = { ...rule, require: `!(${rule.require}\n)` };
    mutants.push({ ...whole, field: "require", change: "require negated", mutated });
  }
  if (rule.score !== undefined) {
    const mutated = { ...rule, score: `-(${rule.score}\n)` };
    mutants.push({ ...whole, field: "score", change: "score negated", mutated });
  }
  return mutants;
}

const SWAPS: Readonly<Record<string, string>> = {
  "==": "!=",
  "!=": "==",
  "<": "<=",
  "<=": "<",
  ">": ">=",
  ">=": ">",
  "&&": "||",
  "||": "&&",
  true: "false",
  false: "true",
};

function expressionMutants(rule: ProgramRule): readonly Mutant[] {
  return (["when", "require", "score"] as const).flatMap((field) => {
    const text = rule[field];
    if (text === undefined) return [];
    return tokensOf(text).flatMap((token): Mutant[] => {
      const changed = changedToken(token.kind, token.text);
      if (changed === undefined) return [];
      const mutated = { ...rule, [field]: text.slice(0, token.start) + changed + text.slice(token.end) };
      const change = `${field}: ${token.text} → ${changed}`;
      return [{ rule: rule.id, field, offset: token.start, change, mutated }];
    });
  });
}

function changedToken(kind: string, text: string): string | undefined {
  if (kind === "string") {
    const quote = /("""|'''|"|')$/.exec(text)?.[0] ?? "";
    return `${text.slice(0, -quote.length)}~${quote}`;
  }
  if (kind === "number") {
    const value = Number(text);
    if (Number.isNaN(value)) return undefined;
    return /^\d+$/.test(text) ? String(value + 1) : (value + 1).toFixed(3);
  }
  return SWAPS[text];
}

function isValid(rule: ProgramRule): boolean {
  return checkProgram([rule]).every(({ severity }) => severity !== "error");
}
