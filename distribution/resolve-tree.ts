import type { RevisionParts } from "../compiler/index.ts";
import type { FreezeResult, FrozenScope, Inventory, LoadResult, Problem, ResourceFiles } from "../resources/index.ts";

export interface Compiled {
  readonly parts: RevisionParts;
  /** With an error among them the parts must not be published. */
  readonly problems: readonly Problem[];
}

/** The stages before this one, as `resolveTree` uses them. */
export interface TreeStages {
  /** `problems`: what was found wrong with the current tree by the other stages. */
  freeze(current: ResourceFiles, lastGood: ResourceFiles | undefined, problems: readonly Problem[]): FreezeResult;
  /** What is wrong around a tree: files that it names and that are not there. */
  inspect(loaded: LoadResult): Promise<readonly Problem[]>;
  compile(loaded: LoadResult): Promise<Compiled> | Compiled;
}

export type ResolvedTree =
  | {
      readonly outcome: "good";
      /** What the parts were compiled from: the last good tree of the next time. */
      readonly files: ResourceFiles;
      readonly parts: RevisionParts;
      readonly inventory: Inventory;
      readonly frozen: readonly FrozenScope[];
      /** Errors of entries of the operational log, which were left out. */
      readonly leftOut: readonly Problem[];
      readonly warnings: readonly Problem[];
    }
  | { readonly outcome: "refused"; readonly problems: readonly Problem[] };

/**
 * Finds the newest state of a tree that compiles. A scope with an error stays as it was last good, whichever stage finds
 * the error. Each round freezes at least one more scope, so it ends.
 *
 * Refused as a whole is a tree with errors before the first good one (leaving out a scope could leave out a denial), and
 * one that does not compile although the scopes with the errors are frozen.
 */
export async function resolveTree(
  current: ResourceFiles,
  lastGood: ResourceFiles | undefined,
  stages: TreeStages,
): Promise<ResolvedTree> {
  const found: Problem[] = [];
  for (;;) {
    const result = stages.freeze(current, lastGood, found);
    if (result.outcome === "refused") return result;
    const { files, loaded, frozen, leftOut } = result;
    const held = new Set(frozen.map((scope) => scope.scope));
    // A file that is gone although its scope is frozen cannot be brought back by us; who needs it keeps what it had.
    const missing = errorsOf(await stages.inspect(loaded)).filter((problem) => !held.has(problem.scope));
    if (missing.length > 0) {
      found.push(...missing);
      continue;
    }
    const { parts, problems } = await stages.compile(loaded);
    const errors = errorsOf(problems);
    if (errors.length === 0) {
      const warnings = [...loaded.problems, ...problems];
      return { outcome: "good", files, parts, inventory: loaded.inventory, frozen, leftOut, warnings };
    }
    const added = errors.filter((problem) => !held.has(problem.scope));
    if (lastGood === undefined || added.length === 0) return { outcome: "refused", problems: errors };
    found.push(...added);
  }
}

function errorsOf(problems: readonly Problem[]): readonly Problem[] {
  return problems.filter((problem) => problem.severity === "error");
}
