/** Something wrong with an expression, and where. */
export interface Problem {
  readonly message: string;
  /** UTF-16 units from the start. */
  readonly offset: number;
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 units. */
  readonly column: number;
}

export function problemAt(source: string, offset: number, message: string): Problem {
  const at = Math.max(0, Math.min(offset, source.length));
  const before = source.slice(0, at);
  const start = before.lastIndexOf("\n") + 1;
  return { message, offset: at, line: before.split("\n").length, column: at - start + 1 };
}

/** Longest line that is shown whole. */
const SHOWN = 120;

/** The problem as people read it: line:column, message, the line, and a caret below the place. */
export function formatProblem(source: string, { line, column, message }: Problem): string {
  const text = (source.split("\n")[line - 1] ?? "").replace(/\r$/, "");
  const from = text.length <= SHOWN ? 0 : Math.max(0, Math.min(column - 1 - SHOWN / 2, text.length - SHOWN));
  const shown = text.slice(from, from + SHOWN);
  const indent = shown.slice(0, column - 1 - from).replace(/[^\t]/g, " ");
  return `${line}:${column}: ${message}\n  ${shown}\n  ${indent}^`;
}
