import { intLiteral, type Literal, uintLiteral, unescapeBytes, unescapeText } from "./literal.ts";
import type { Uint } from "./value.ts";

/** The words of CEL's grammar (cel-spec langdef.md "Syntax"). */
export type Token = {
  readonly offset: number;
  readonly end: number;
} & (
  | { readonly kind: "ident" | "quoted" | "op" | "problem" | "end"; readonly text: string }
  /** Digits without sign, so that -9223372036854775808 can be put together. */
  | { readonly kind: "int"; readonly text: string }
  | { readonly kind: "uint"; readonly value: Uint }
  | { readonly kind: "double"; readonly value: number }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "bytes"; readonly value: Uint8Array }
);

const BLANK = /(?:[\t\n\f\r ]+|\/\/[^\n]*)*/y;
const IDENT = /[_a-zA-Z][_a-zA-Z0-9]*/y;
const QUOTED = /`[a-zA-Z0-9_.\-/ ]+`/y;
const NUMBER = /0[xX][0-9a-fA-F]+[uU]?|(?:\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)|\d+[uU]?/y;
const TEXT = /([bB]?[rR]?)("""|'''|"|')/y;
const OPERATOR = /==|!=|<=|>=|&&|\|\||[-+*/%!<>?:.,()[\]{}]/y;

function match(pattern: RegExp, source: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(source);
}

/**
 * The same text as an object's key is: engines keep one copy of those and compare it by its place in memory, first of
 * all when a map is asked for it.
 */
function interned(text: string): string {
  return Object.keys({ [text]: 0 })[0] ?? text;
}

/** The token at or after `from`. A problem is a token too: it says what is wrong. */
export function nextToken(source: string, from: number): Token {
  const offset = from + (match(BLANK, source, from)?.[0].length ?? 0);
  if (offset >= source.length) return { kind: "end", text: "end of the expression", offset, end: offset };
  const text = match(TEXT, source, offset);
  if (text !== null) return textToken(source, offset, text[1] ?? "", text[2] ?? "");
  const ident = match(IDENT, source, offset)?.[0];
  if (ident !== undefined) return { kind: "ident", text: interned(ident), offset, end: offset + ident.length };
  const number = match(NUMBER, source, offset)?.[0];
  if (number !== undefined) return numberToken(number, offset);
  const operator = match(OPERATOR, source, offset)?.[0];
  if (operator !== undefined) return { kind: "op", text: operator, offset, end: offset + operator.length };
  const quoted = match(QUOTED, source, offset)?.[0];
  if (quoted !== undefined)
    return { kind: "quoted", text: interned(quoted.slice(1, -1)), offset, end: offset + quoted.length };
  const character = String.fromCodePoint(source.codePointAt(offset) ?? 0);
  return problem(`${JSON.stringify(character)} has no meaning here`, offset, offset + character.length);
}

function problem(text: string, offset: number, end: number): Token {
  return { kind: "problem", text, offset, end };
}

function numberToken(text: string, offset: number): Token {
  const end = offset + text.length;
  if (/[uU]$/.test(text)) {
    const value = uintLiteral(text.slice(0, -1));
    return value === undefined
      ? problem(`${text} does not fit a uint`, offset, end)
      : { kind: "uint", value, offset, end };
  }
  if (/^0[xX]/.test(text) || /^\d+$/.test(text)) {
    // One below the least int has no positive twin: the parser looks at the sign.
    if (intLiteral(text, true) === undefined) return problem(`${text} does not fit an int`, offset, end);
    return { kind: "int", text, offset, end };
  }
  const value = Number(text);
  return Number.isFinite(value)
    ? { kind: "double", value, offset, end }
    : problem(`${text} does not fit a double`, offset, end);
}

function textToken(source: string, offset: number, prefix: string, quote: string): Token {
  const start = offset + prefix.length + quote.length;
  const raw = /[rR]/.test(prefix);
  const close = closingQuote(source, start, quote, raw);
  if (close === undefined) return problem("the string has no end", offset, source.length);
  const end = close + quote.length;
  const body = source.slice(start, close).replace(/\r\n?/g, "\n");
  const placed = <T>(literal: Literal<T>) =>
    "problem" in literal ? problem(literal.problem, start + literal.at, end) : literal.value;
  if (/[bB]/.test(prefix)) {
    const value = placed(unescapeBytes(body, raw));
    return value instanceof Uint8Array ? { kind: "bytes", value, offset, end } : value;
  }
  const value = raw ? body : placed(unescapeText(body));
  return typeof value === "string" ? { kind: "string", value: interned(value), offset, end } : value;
}

function closingQuote(source: string, start: number, quote: string, raw: boolean): number | undefined {
  const multiline = quote.length === 3;
  for (let at = start; at < source.length; at += 1) {
    if (source.startsWith(quote, at)) return at;
    const character = source[at];
    if (!multiline && (character === "\n" || character === "\r")) return undefined;
    if (character === "\\" && !raw) at += 1;
  }
  return undefined;
}
