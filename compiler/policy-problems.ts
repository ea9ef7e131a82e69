import { checkProgram, type PolicyProgram, type RuleProblem } from "../policy/index.ts";
import type { Inventory, Problem } from "../resources/index.ts";
import type { Locator } from "./compile.ts";

/** What is wrong with rules, at the place in the file where it stands. */
export function policyProblems(inventory: Inventory, program: PolicyProgram, positions: Locator): Problem[] {
  const places = new Map(
    inventory.policies.flatMap((policy) =>
      policy.rules.map((rule, index) => [`${policy.key}/${rule.id}` as string, { policy, index }] as const),
    ),
  );
  return checkProgram(program).flatMap((problem: RuleProblem): Problem[] => {
    const place = places.get(problem.rule);
    if (place === undefined) return [];
    const path = ["spec", "rules", place.index, problem.field];
    const at = positions.within("Policy", place.policy.key, path, problem.offset);
    return [
      {
        severity: problem.severity,
        code: problem.code,
        message: `rule "${problem.rule}", ${problem.field}: ${problem.message}`,
        ...(problem.hint === undefined ? {} : { hint: problem.hint }),
        scope: place.policy.scope,
        at: at ?? { file: place.policy.key, line: 1, column: 1 },
      },
    ];
  });
}
