import type { AnyAuthored } from "./authored.ts";
import type { Meta } from "./inventory.ts";
import type { Kind } from "./kinds.ts";
import type { ProblemCode } from "./problem-codes.ts";
import type { ProblemList } from "./problems.ts";
import type { Path } from "./yaml-document.ts";

/** From objects of the inventory back to where they stand. */
export class TreePlaces {
  readonly #objects: ReadonlyMap<string, AnyAuthored>;
  readonly #problems: ProblemList;

  /** @param objects  by `<kind> <key>` */
  constructor(objects: ReadonlyMap<string, AnyAuthored>, problems: ProblemList) {
    this.#objects = objects;
    this.#problems = problems;
  }

  conflict(kind: Kind, object: Meta, at: Path, message: string, hint: string): void {
    this.error("conflict", kind, object, at, message, hint);
  }

  error(code: ProblemCode, kind: Kind, object: Meta, at: Path, message: string, hint: string): void {
    const source = this.#objects.get(`${kind} ${object.key}`)?.source;
    if (source !== undefined) this.#problems.error({ scope: object.scope, source }, at, code, message, hint);
  }

  /** `file:line`. */
  place(kind: Kind, object: Meta, at: Path): string {
    const position = this.#objects.get(`${kind} ${object.key}`)?.source.at(at);
    return position === undefined ? object.key : `${position.file}:${position.line}`;
  }
}
