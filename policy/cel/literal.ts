import { Uint } from "./value.ts";

/** What a literal means (cel-spec langdef.md "Syntax"), or what is wrong with it. */
export type Literal<T> = { readonly value: T } | { readonly problem: string; readonly at: number };

const INT_MIN = -(2n ** 63n);
const INT_MAX = 2n ** 63n - 1n;
const UINT_MAX = 2n ** 64n - 1n;

/** @param digits  decimal or 0x…, without sign and suffix */
export function intLiteral(digits: string, negative: boolean): bigint | undefined {
  const value = negative ? -BigInt(digits) : BigInt(digits);
  return value < INT_MIN || value > INT_MAX ? undefined : value;
}

export function uintLiteral(digits: string): Uint | undefined {
  const value = BigInt(digits);
  return value > UINT_MAX ? undefined : new Uint(value);
}

const SIMPLE: Readonly<Record<string, number>> = {
  a: 7,
  b: 8,
  f: 12,
  n: 10,
  r: 13,
  t: 9,
  v: 11,
  "\\": 92,
  "?": 63,
  '"': 34,
  "'": 39,
  "`": 96,
};

interface Escape {
  readonly code: number;
  readonly length: number;
  /** In bytes: whether it stands for one byte and not for a code point. */
  readonly octet: boolean;
}

/** The escape at `at`, which is the backslash. */
function escapeAt(text: string, at: number): Escape | string {
  const letter = text[at + 1] ?? "";
  const simple = Object.hasOwn(SIMPLE, letter) ? SIMPLE[letter] : undefined;
  if (simple !== undefined) return { code: simple, length: 2, octet: false };
  const width = { x: 2, X: 2, u: 4, U: 8 }[letter];
  if (width !== undefined) {
    const digits = text.slice(at + 2, at + 2 + width);
    if (digits.length < width || !/^[0-9a-fA-F]+$/.test(digits)) return `\\${letter} takes ${width} hex digits`;
    return { code: Number.parseInt(digits, 16), length: 2 + width, octet: width === 2 };
  }
  const octal = /^[0-3][0-7]{2}/.exec(text.slice(at + 1, at + 4))?.[0];
  if (octal !== undefined) return { code: Number.parseInt(octal, 8), length: 4, octet: true };
  return `"\\${letter}" is no escape`;
}

/** @param body  between the quotes, of a literal that is not raw */
export function unescapeText(body: string): Literal<string> {
  if (!body.includes("\\")) return { value: body };
  let value = "";
  for (let at = 0; at < body.length; ) {
    const next = body.indexOf("\\", at);
    if (next < 0) return { value: value + body.slice(at) };
    value += body.slice(at, next);
    const found = escapeAt(body, next);
    if (typeof found === "string") return { problem: found, at: next };
    const { code } = found;
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
      return { problem: "invalid Unicode code point", at: next };
    value += String.fromCodePoint(code);
    at = next + found.length;
  }
  return { value };
}

const UTF8 = new TextEncoder();

/** @param body  between the quotes; `raw` takes backslashes as they are */
export function unescapeBytes(body: string, raw: boolean): Literal<Uint8Array> {
  if (raw || !body.includes("\\")) return { value: UTF8.encode(body) };
  const bytes: number[] = [];
  for (let at = 0; at < body.length; ) {
    const next = body.indexOf("\\", at);
    for (const byte of UTF8.encode(body.slice(at, next < 0 ? undefined : next))) bytes.push(byte);
    if (next < 0) break;
    const found = escapeAt(body, next);
    if (typeof found === "string") return { problem: found, at: next };
    if (body[next + 1] === "u" || body[next + 1] === "U") return { problem: "bytes have no \\u and \\U", at: next };
    bytes.push(found.code);
    at = next + found.length;
  }
  return { value: Uint8Array.from(bytes) };
}
