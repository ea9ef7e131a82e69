import { interned } from "./interned.ts";
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

const QUOTED = /`[a-zA-Z0-9_.\-/ ]+`/y;
const NUMBER = /0[xX][0-9a-fA-F]+[uU]?|(?:\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)|\d+[uU]?/y;
const TEXT = /([bB]?[rR]?)("""|'''|"|')/y;
const OPERATOR = /==|!=|<=|>=|&&|\|\||[-+*/%!<>?:.,()[\]{}]/y;

/** What a token can begin with, by the first character: most of a scan is telling them apart. */
const OTHER = 0;
const BLANK = 1;
const LETTER = 2;
const DIGIT = 3;
const QUOTE = 4;
/** An operator of this one character, whatever follows. */
const MARK = 5;
const KINDS = kindsOf([
  [BLANK, "\t\n\f\r "],
  [LETTER, "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"],
  [DIGIT, "0123456789"],
  [QUOTE, "\"'"],
  [MARK, "+*%?:,()[]{}-"],
]);

function kindsOf(kinds: readonly (readonly [number, string])[]): Uint8Array {
  const table = new Uint8Array(128);
  for (const [kind, characters] of kinds) for (const each of characters) table[each.charCodeAt(0)] = kind;
  return table;
}

function kindAt(source: string, at: number): number {
  return KINDS[source.charCodeAt(at)] ?? OTHER;
}

function match(pattern: RegExp, source: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(source);
}

/** Behind blanks and comments. */
function afterBlank(source: string, from: number): number {
  for (let at = from; ; at += 1) {
    if (kindAt(source, at) === BLANK) continue;
    if (!source.startsWith("//", at)) return at;
    const line = source.indexOf("\n", at);
    if (line < 0) return source.length;
    at = line;
  }
}

/** The token at or after `from`. A problem is a token too: it says what is wrong. */
export function nextToken(source: string, from: number): Token {
  const offset = afterBlank(source, from);
  if (offset >= source.length) return { kind: "end", text: "end of the expression", offset, end: offset };
  switch (kindAt(source, offset)) {
    case LETTER:
      return wordToken(source, offset);
    case MARK:
      return { kind: "op", text: source.charAt(offset), offset, end: offset + 1 };
    case QUOTE:
      return textTokenAt(source, offset) ?? unknownToken(source, offset);
    default:
      return otherToken(source, offset);
  }
}

function wordToken(source: string, offset: number): Token {
  let end = offset + 1;
  for (let kind = kindAt(source, end); kind === LETTER || kind === DIGIT; kind = kindAt(source, end)) end += 1;
  // At most two letters stand before the quote of a text.
  const prefixed = end - offset <= 2 && kindAt(source, end) === QUOTE ? textTokenAt(source, offset) : undefined;
  return prefixed ?? { kind: "ident", text: interned(source.slice(offset, end)), offset, end };
}

function textTokenAt(source: string, offset: number): Token | undefined {
  const [, prefix, quote] = match(TEXT, source, offset) ?? [];
  return prefix === undefined || quote === undefined ? undefined : textToken(source, offset, prefix, quote);
}

function otherToken(source: string, offset: number): Token {
  const number = match(NUMBER, source, offset)?.[0];
  if (number !== undefined) return numberToken(number, offset);
  const operator = match(OPERATOR, source, offset)?.[0];
  if (operator !== undefined) return { kind: "op", text: operator, offset, end: offset + operator.length };
  const quoted = match(QUOTED, source, offset)?.[0];
  if (quoted === undefined) return unknownToken(source, offset);
  return { kind: "quoted", text: interned(quoted.slice(1, -1)), offset, end: offset + quoted.length };
}

function unknownToken(source: string, offset: number): Token {
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
  const raw = prefix !== "" && /[rR]/.test(prefix);
  const close = closingQuote(source, start, quote, raw);
  if (close === undefined) return problem("the string has no end", offset, source.length);
  const end = close + quote.length;
  const written = source.slice(start, close);
  const body = written.includes("\r") ? written.replace(/\r\n?/g, "\n") : written;
  const placed = <T>(literal: Literal<T>) =>
    "problem" in literal ? problem(literal.problem, start + literal.at, end) : literal.value;
  if (prefix !== "" && /[bB]/.test(prefix)) {
    const value = placed(unescapeBytes(body, raw));
    return value instanceof Uint8Array ? { kind: "bytes", value, offset, end } : value;
  }
  const value = raw ? body : placed(unescapeText(body));
  return typeof value === "string" ? { kind: "string", value: interned(value), offset, end } : value;
}

const NEWLINE = 10;
const RETURN = 13;
const BACKSLASH = 92;

function closingQuote(source: string, start: number, quote: string, raw: boolean): number | undefined {
  const multiline = quote.length === 3;
  const mark = quote.charCodeAt(0);
  for (let at = start; at < source.length; at += 1) {
    const unit = source.charCodeAt(at);
    if (unit === mark && (!multiline || source.startsWith(quote, at))) return at;
    if (!multiline && (unit === NEWLINE || unit === RETURN)) return undefined;
    if (unit === BACKSLASH && !raw) at += 1;
  }
  return undefined;
}
