import {
  type ApprovalRuleFacts,
  checkApprovalRule,
  checkCondition,
  checkProgram,
  checkSplitExpressions,
  type ExpressionChecks,
  type PolicyProgram,
  type RuleProblem,
} from "../policy/index.ts";
import { type Inventory, type Key, type Problem, type Scope, scopeOf } from "../resources/index.ts";
import { approvalsOfRules } from "./approval-rules.ts";
import type { CompileCache, Locator } from "./compile.ts";
import { lawRuleId } from "./law-rules.ts";

interface Place {
  readonly kind: "Policy" | "LawPack";
  readonly key: Key;
  readonly scope: Scope;
  readonly index: number;
}

/** What is wrong with rules and with the expressions of splits, at the place in the file where it stands. */
export function policyProblems(
  inventory: Inventory,
  program: PolicyProgram,
  positions: Locator,
  cache: CompileCache,
): Problem[] {
  const problems = checkProgram(program, cache.checks);
  return [
    ...(problems.length === 0 ? [] : ruleProblems(inventory, problems, positions)),
    ...splitProblems(program, positions, cache.checks),
    ...approvalRuleProblems(approvalsOfRules(inventory, cache.program.ruled).rules, positions, cache.checks),
    ...conditionProblems("Approval", inventory.approvals, positions, cache.checks),
    ...conditionProblems("ApprovalRule", inventory.approvalRules, positions, cache.checks),
  ];
}

function ruleProblems(inventory: Inventory, problems: readonly RuleProblem[], positions: Locator): Problem[] {
  const places = new Map([
    ...inventory.policies.flatMap(({ key, scope, rules }) =>
      rules.map(({ id }, index): [string, Place] => [`${key}/${id}`, { kind: "Policy", key, scope, index }]),
    ),
    ...inventory.lawPacks.flatMap(({ key, scope, rules }) =>
      rules.map(({ id }, index): [string, Place] => [lawRuleId(key, id), { kind: "LawPack", key, scope, index }]),
    ),
  ]);
  return problems.flatMap((problem): Problem[] => {
    const place = places.get(problem.rule);
    if (place === undefined) return [];
    const path = ["spec", "rules", place.index, problem.field];
    const at = positions.within(place.kind, place.key, path, problem.offset);
    return [
      {
        severity: problem.severity,
        code: problem.code,
        message: `rule "${problem.rule}", ${problem.field}: ${problem.message}`,
        ...(problem.hint === undefined ? {} : { hint: problem.hint }),
        scope: place.scope,
        at: at ?? { file: place.key, line: 1, column: 1 },
      },
    ];
  });
}

function splitProblems(program: PolicyProgram, positions: Locator, checks: ExpressionChecks): Problem[] {
  return checkSplitExpressions(program, checks).map(
    ({ kind, key, path, message, hint, offset }): Problem => ({
      severity: "error",
      code: "expression",
      message: `${kind} "${key}", ${path.join(".")}: ${message}`,
      ...(hint === undefined ? {} : { hint }),
      scope: scopeOf(key),
      at: positions.within(kind, key, ["spec", ...path], offset) ?? { file: key, line: 1, column: 1 },
    }),
  );
}

function approvalRuleProblems(
  rules: readonly ApprovalRuleFacts[],
  positions: Locator,
  checks: ExpressionChecks,
): Problem[] {
  return rules.flatMap((rule) =>
    checkApprovalRule(rule, checks).map(
      ({ severity, code, message, hint, offset }): Problem => ({
        severity,
        code,
        message: `ApprovalRule "${rule.key}", when: ${message}`,
        ...(hint === undefined ? {} : { hint }),
        scope: rule.scope,
        at: positions.within("ApprovalRule", rule.key, ["spec", "when"], offset) ?? {
          file: rule.key,
          line: 1,
          column: 1,
        },
      }),
    ),
  );
}

/** Of what approvals are given on. */
function conditionProblems(
  kind: "Approval" | "ApprovalRule",
  objects: readonly { readonly key: Key; readonly scope: Scope; readonly conditions: readonly string[] }[],
  positions: Locator,
  checks: ExpressionChecks,
): Problem[] {
  return objects.flatMap(({ key, scope, conditions }) =>
    conditions.flatMap((text, index) =>
      checkCondition(text, "condition", checks).map(({ severity, code, message, hint, offset }): Problem => {
        const path = ["spec", "conditions", index];
        return {
          severity,
          code,
          message: `${kind} "${key}", ${path.slice(1).join(".")}: ${message}`,
          ...(hint === undefined ? {} : { hint }),
          scope,
          at: positions.within(kind, key, path, offset) ?? { file: key, line: 1, column: 1 },
        };
      }),
    ),
  );
}
