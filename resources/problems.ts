import type { Scope } from "./inventory.ts";
import type { Problem, SourcePosition } from "./problem.ts";
import type { ProblemCode } from "./problem-codes.ts";
import type { Path } from "./yaml-document.ts";

/** Where an authored object stands: in a document of a file, or in an entry of the operational log. */
export interface Source {
  readonly file: string;
  at(path: Path): SourcePosition;
  keyAt(path: Path): SourcePosition;
  within(path: Path, offset: number): SourcePosition;
}

/** What a problem is about. */
export interface Subject {
  readonly scope: Scope;
  readonly source: Source;
}

/** Collects problems in the order in which they are found. */
export class ProblemList {
  readonly #problems: Problem[] = [];
  #errors = 0;

  error(subject: Subject, path: Path, code: ProblemCode, message: string, hint?: string): void {
    const at = subject.source.at(path);
    this.#add({ severity: "error", code, message, scope: subject.scope, at, ...(hint === undefined ? {} : { hint }) });
  }

  errorAtKey(subject: Subject, path: Path, code: ProblemCode, message: string, hint?: string): void {
    const at = subject.source.keyAt(path);
    this.#add({ severity: "error", code, message, scope: subject.scope, at, ...(hint === undefined ? {} : { hint }) });
  }

  warning(subject: Subject, path: Path, code: ProblemCode, message: string, hint?: string): void {
    const at = subject.source.at(path);
    this.#add({
      severity: "warning",
      code,
      message,
      scope: subject.scope,
      at,
      ...(hint === undefined ? {} : { hint }),
    });
  }

  push(...problems: readonly Problem[]): void {
    for (const problem of problems) this.#add(problem);
  }

  /** How many errors there are so far. */
  get errors(): number {
    return this.#errors;
  }

  /** How many problems there are so far. */
  get count(): number {
    return this.#problems.length;
  }

  /** Those after the first `count`. */
  since(count: number): readonly Problem[] {
    return this.#problems.slice(count);
  }

  /** By file, line and column; what stands at one place keeps its order. */
  sorted(): readonly Problem[] {
    return this.#problems.toSorted(
      ({ at: a }, { at: b }) => compareText(a.file, b.file) || a.line - b.line || a.column - b.column,
    );
  }

  #add(problem: Problem): void {
    this.#problems.push(problem);
    if (problem.severity === "error") this.#errors++;
  }
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
