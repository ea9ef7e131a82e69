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

/** @param objects  by `<kind> <key>` */
export function locatePositions(objects: ReadonlyMap<string, AnyAuthored>): Positions {
  return {
    locate: (kind, key, path) => objects.get(`${kind} ${key}`)?.source.at(path),
    within: (kind, key, path, offset) => objects.get(`${kind} ${key}`)?.source.within(path, offset),
  };
}
