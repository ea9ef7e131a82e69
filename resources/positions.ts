import type { AnyAuthored } from "./authored.ts";
import type { Key } from "./inventory.ts";
import type { Kind } from "./kinds.ts";
import type { SourcePosition } from "./problem.ts";
import type { Path } from "./yaml-document.ts";

/** Where what is in the inventory was written. */
export interface Positions {
  /**
   * Where the value at `path` begins in the object as authored (`["spec", "rules", 0, "when"]`); what is not written
   * is shown at the nearest key above it. For strings with quotes or a block header see `within`.
   *
   * @returns undefined for an object that does not exist
   */
  locate(kind: Kind, key: Key, path: Path): SourcePosition | undefined;
  /** Where character `offset` of the string at `path` stands: exact for plain, quoted and block scalars. */
  within(kind: Kind, key: Key, path: Path, offset: number): SourcePosition | undefined;
}

export function locatePositions(objects: readonly AnyAuthored[]): Positions {
  const sources = new Map(objects.map((object) => [`${object.kind} ${object.key}`, object.source]));
  return {
    locate: (kind, key, path) => sources.get(`${kind} ${key}`)?.at(path),
    within: (kind, key, path, offset) => sources.get(`${kind} ${key}`)?.within(path, offset),
  };
}
