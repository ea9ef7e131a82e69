import { type Dependency, Draw, TestedField, WholeField } from "./dependency.ts";
import type { Field } from "./fields.ts";

/**
 * What a kept verdict was made from, for who recognises requests in another way: whatever says the same about all of
 * this, for the same application, route and thing asked for, has the same verdict.
 */
export interface Basis {
  readonly reads: readonly BasisRead[];
  /** Where draws decided. */
  readonly draws: readonly Draw[];
  /** Milliseconds since the epoch between which nothing changes by time alone. */
  readonly from: number;
  readonly until: number;
}

/** A word of the rule vocabulary that was read. */
export interface BasisRead {
  readonly field: Pick<Field, "path">;
  /**
   * Given where the word is a path or URL path and only tested: the same number for texts that pass the same tests.
   *
   * @param bytes  in which ASCII text stands
   */
  keyOfAscii?(bytes: Uint8Array, from: number, to: number): number;
}

/** @returns undefined where something was looked at that is neither field nor draw */
export function basisOf(path: readonly Dependency[], from: number, until: number): Basis | undefined {
  const reads: BasisRead[] = [];
  const draws: Draw[] = [];
  for (const dependency of path) {
    if (dependency instanceof Draw) draws.push(dependency);
    else if (dependency instanceof TestedField || dependency instanceof WholeField) reads.push(dependency);
    else return undefined;
  }
  return { reads, draws, from, until };
}
