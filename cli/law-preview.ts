import { underLawOf } from "../policy/index.ts";
import type { CompiledDirectory } from "./compile-directory.ts";
import type { Sample } from "./diff-samples.ts";
import { type DifferenceGroup, diffTrees } from "./diff-trees.ts";
import type { Progress } from "./progress.ts";

/** What the law of one time does to decisions that are taken under the law of another. */
export interface LawPreview {
  /** RFC 3339. */
  readonly from: string;
  readonly at: string;
  /** Ids of rules that are in force then and are not now. */
  readonly begin: readonly string[];
  /** Ids of rules that are in force now and are not then. */
  readonly end: readonly string[];
  readonly decisions: readonly DifferenceGroup[];
  /** Requests that differ in other ways than the 10,000 of `decisions`. */
  readonly moreDecisions: number;
  readonly samples: { readonly asked: number; readonly different: number; readonly notAsked: number };
}

type Tree = Pick<CompiledDirectory, "loaded" | "compiled">;

/**
 * Asks every sample under the law of two times. Only the law differs: the clock of each sample stays, so that approvals,
 * certifications and scores are as they are there.
 *
 * @param from  milliseconds since the epoch
 * @param at    milliseconds since the epoch
 */
export function previewLaw(
  tree: Tree,
  samples: Iterable<Sample>,
  { from, at, progress }: { readonly from: number; readonly at: number; readonly progress?: Progress },
): LawPreview {
  const [before, after] = [underLaw(tree, from), underLaw(tree, at)];
  const { groups, moreGroups, samples: counts } = diffTrees(before, after, samples, progress);
  const ids = ({ compiled }: Tree) =>
    new Set(compiled.parts.program.rules.filter(({ mode }) => mode !== "off").map(({ id }) => id));
  const [old, now] = [ids(before), ids(after)];
  return {
    from: new Date(from).toISOString(),
    at: new Date(at).toISOString(),
    begin: [...now.difference(old)],
    end: [...old.difference(now)],
    decisions: groups,
    moreDecisions: moreGroups,
    samples: counts,
  };
}

function underLaw({ loaded, compiled }: Tree, at: number): Tree {
  const program = underLawOf(compiled.parts.program, at);
  return { loaded, compiled: { ...compiled, parts: { ...compiled.parts, program } } };
}
