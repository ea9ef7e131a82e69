/**
 * The text of CEL expressions cut into tokens, and into the conditions that `&&`, `||`, `!`, `?:` and parentheses join:
 * all that coverage and mutation need, whatever engine evaluates them.
 */

export interface Token {
  readonly kind: "string" | "number" | "word" | "operator";
  readonly text: string;
  /** UTF-16 units from the start of the expression. */
  readonly start: number;
  readonly end: number;
}

const PATTERNS: readonly (readonly [Token["kind"] | "space", RegExp])[] = [
  ["space", /(?:\s+|\/\/[^\n]*)+/y],
  ["string", /[bB]?[rR][bB]?(?:"""(?:.*?)"""|'''(?:.*?)'''|"[^"\n]*"|'[^'\n]*')/sy],
  ["string", /[bB]?(?:"""(?:[^\\]|\\.)*?"""|'''(?:[^\\]|\\.)*?'''|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')/sy],
  ["number", /(?:0[xX][0-9a-fA-F]+|(?:\d+\.\d+|\.\d+|\d+)(?:[eE][+-]?\d+)?)[uU]?/y],
  ["word", /[A-Za-z_][A-Za-z0-9_]*/y],
  ["operator", /&&|\|\||==|!=|<=|>=|./sy],
];

export function tokensOf(text: string): readonly Token[] {
  const tokens: Token[] = [];
  for (let at = 0; at < text.length; ) {
    const before = at;
    for (const [kind, pattern] of PATTERNS) {
      pattern.lastIndex = at;
      const found = pattern.exec(text)?.[0];
      if (found === undefined || found === "") continue;
      if (kind !== "space") tokens.push({ kind, text: found, start: at, end: at + found.length });
      at += found.length;
      break;
    }
    // The last pattern takes any character; without it a defect above would be an endless loop.
    if (at === before) at += 1;
  }
  return tokens;
}

/** A part of an expression that is true or false by itself. */
export interface Condition {
  readonly text: string;
  /** UTF-16 units from the start of the expression. */
  readonly offset: number;
}

/** The conditions that an expression joins, in order; one that joins nothing is its own only condition. */
export function conditionsOf(text: string): readonly Condition[] {
  return split(tokensOf(text)).flatMap((tokens): Condition[] => {
    const [first] = tokens;
    const last = tokens.at(-1);
    if (first === undefined || last === undefined) return [];
    // A literal has one value only.
    if (tokens.length === 1 && (first.text === "true" || first.text === "false")) return [];
    return [{ text: text.slice(first.start, last.end), offset: first.start }];
  });
}

/** The conditions that must all hold for the expression to hold, each in one spelling; for comparing expressions. */
export function conjunctsOf(text: string): ReadonlySet<string> {
  return new Set(splitAt(unwrapped(tokensOf(text)), "&&").map((tokens) => spelled(unwrapped(tokens))));
}

/** An expression in one spelling: no comments, one space between tokens, no outer parentheses. */
export function normalised(text: string): string {
  return spelled(unwrapped(tokensOf(text)));
}

function spelled(tokens: readonly Token[]): string {
  return tokens.map((token) => token.text).join(" ");
}

function split(tokens: readonly Token[]): readonly (readonly Token[])[] {
  const inner = unwrapped(tokens);
  const ternary = ternaryOf(inner);
  if (ternary !== undefined) return ternary.flatMap(split);
  for (const operator of ["||", "&&"]) {
    const parts = splitAt(inner, operator);
    if (parts.length > 1) return parts.flatMap(split);
  }
  // "!" binds more tightly than every binary operator: what it stands before ends at the first of them.
  const [first, ...rest] = inner;
  return first?.text === "!" && !hasBinary(rest) ? split(rest) : [inner];
}

const OPEN = new Set(["(", "[", "{"]);
const CLOSE = new Set([")", "]", "}"]);
const BINARY = new Set(["==", "!=", "<", "<=", ">", ">=", "in", "+", "-", "*", "/", "%"]);

function* topLevel(tokens: readonly Token[]): Generator<readonly [Token, number]> {
  let depth = 0;
  for (const [index, token] of tokens.entries()) {
    if (token.kind === "operator" && CLOSE.has(token.text)) depth -= 1;
    if (depth === 0) yield [token, index];
    if (token.kind === "operator" && OPEN.has(token.text)) depth += 1;
  }
}

function unwrapped(tokens: readonly Token[]): readonly Token[] {
  let inner = tokens;
  for (;;) {
    const tops = [...topLevel(inner)];
    const wrapped =
      inner.length > 2 && inner[0]?.text === "(" && tops.length === 2 && tops[1]?.[1] === inner.length - 1;
    if (!wrapped) return inner;
    inner = inner.slice(1, -1);
  }
}

function splitAt(tokens: readonly Token[], operator: string): readonly (readonly Token[])[] {
  const parts: (readonly Token[])[] = [];
  let start = 0;
  for (const [token, index] of topLevel(tokens)) {
    if (token.kind !== "operator" || token.text !== operator) continue;
    parts.push(tokens.slice(start, index));
    start = index + 1;
  }
  return [...parts, tokens.slice(start)];
}

/** `a ? b : c`, where c may be a ternary again. */
function ternaryOf(tokens: readonly Token[]): readonly (readonly Token[])[] | undefined {
  let question: number | undefined;
  let nested = 0;
  for (const [token, index] of topLevel(tokens)) {
    if (token.text === "?") {
      if (question === undefined) question = index;
      else nested += 1;
    } else if (token.text === ":" && question !== undefined) {
      if (nested === 0) return [tokens.slice(0, question), tokens.slice(question + 1, index), tokens.slice(index + 1)];
      nested -= 1;
    }
  }
  return undefined;
}

function hasBinary(tokens: readonly Token[]): boolean {
  for (const [token] of topLevel(tokens)) if (BINARY.has(token.text)) return true;
  return false;
}
