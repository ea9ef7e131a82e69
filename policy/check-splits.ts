import type { Key } from "../resources/index.ts";
import type { ExpressionProblem, ExpressionType } from "./expression.ts";
import { ExpressionChecks } from "./expression-checks.ts";
import type { PolicyProgram, SplitFacts } from "./program.ts";

/** An expression of a split, or an application's sticky key, that does not compile. */
export interface SplitProblem extends ExpressionProblem {
  readonly kind: SplitFacts["kind"] | "Application";
  readonly key: Key;
  /** Members of the object on the way to the expression, below `spec`. */
  readonly path: readonly (string | number)[];
}

type Place = Pick<SplitProblem, "kind" | "key" | "path">;

/** Every problem of every expression with which requests are split. */
export function checkSplitExpressions(
  { splits = [], applications }: Pick<PolicyProgram, "splits" | "applications">,
  checks = new ExpressionChecks(),
): readonly SplitProblem[] {
  const problemsOf = (place: Place, text: string | undefined, expected: ExpressionType): readonly SplitProblem[] => {
    const errors = text === undefined ? [] : checks.find(text, "request", expected).errors;
    return errors.map((problem) => ({ ...place, ...problem }));
  };
  return [
    ...splits.flatMap((split) => {
      const { kind, key, when, stickyKey } = split;
      const segments = split.kind === "Rollout" ? split.segments : [];
      return [
        ...problemsOf({ kind, key, path: ["when"] }, when, "bool"),
        ...problemsOf({ kind, key, path: ["stickyKey"] }, stickyKey, "string"),
        ...segments.flatMap((segment, index) =>
          problemsOf({ kind, key, path: ["segments", index, "when"] }, segment.when, "bool"),
        ),
      ];
    }),
    ...applications.flatMap(({ key, stickyKey }) =>
      problemsOf({ kind: "Application", key, path: ["stickyKey"] }, stickyKey, "string"),
    ),
  ];
}
