import type { AnyAuthored } from "./authored.ts";
import type { Meta } from "./inventory.ts";
import type { Kind } from "./kinds.ts";
import type { ProblemCode } from "./problem-codes.ts";
import type { ProblemList, Source } from "./problems.ts";
import type { Path } from "./yaml-document.ts";

/** From objects of the inventory back to where they stand. */
export class TreePlaces {
  readonly #sources: ReadonlyMap<string, Source>;
  readonly #problems: ProblemList;

  constructor(objects: readonly AnyAuthored[], problems: ProblemList) {
    this.#sources = new Map(objects.map((object) => [`${object.kind} ${object.key}`, object.source]));
    this.#problems = problems;
  }

  conflict(kind: Kind, object: Meta, at: Path, message: string, hint: string): void {
    this.error("conflict", kind, object, at, message, hint);
  }

  error(code: ProblemCode, kind: Kind, object: Meta, at: Path, message: string, hint: string): void {
    const source = this.#sources.get(`${kind} ${object.key}`);
    if (source !== undefined) this.#problems.error({ scope: object.scope, source }, at, code, message, hint);
  }

  /** `file:line`. */
  place(kind: Kind, object: Meta, at: Path): string {
    const position = this.#sources.get(`${kind} ${object.key}`)?.at(at);
    return position === undefined ? object.key : `${position.file}:${position.line}`;
  }
}
