import { printable } from "./printable.ts";

/** Lines and columns count from 1; `file` is relative to the root of the resource tree. */
export interface SourcePosition {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** Something wrong (or doubtful) in what people wrote. */
export interface Problem {
  readonly severity: "error" | "warning";
  /** Stable, documented: "unknown-field", "dangling-reference", … */
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
  /** The scope that the problem belongs to; a running control plane freezes that scope. */
  readonly scope: string;
  readonly at: SourcePosition;
}

/** `file:line:column: severity: message (hint) [code]`, as compilers print it. */
export function formatProblem(problem: Problem): string {
  const { severity, code, at } = problem;
  const hint = problem.hint === undefined ? "" : `\n    hint: ${printable(problem.hint)}`;
  return `${printable(at.file)}:${at.line}:${at.column}: ${severity}: ${printable(problem.message)} [${code}]${hint}`;
}
