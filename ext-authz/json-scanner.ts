import { isUtf8 } from "node:buffer";

/** What a JSON body says at its top level about the one member asked for and `stream`. */
export type JsonScan =
  | {
      readonly ok: true;
      /** Absent: the member is not there, or is not a string. */
      readonly value?: string;
      /** Bytes of the string token, quotes included. Present with `value`. */
      readonly span?: JsonSpan;
      /** Whether the member is there with a value that is not a string. */
      readonly otherType: boolean;
      readonly stream: boolean;
    }
  | { readonly ok: false; readonly problem: string; readonly offset: number };

export interface JsonSpan {
  readonly offset: number;
  readonly length: number;
}

const MAX_DEPTH = 64;
/** Containers that are open; scans are synchronous, so one scratch buffer serves them all. */
const open = new Uint8Array(MAX_DEPTH);
const OBJECT = 1;
const ARRAY = 2;

/**
 * Reads a JSON body once, byte by byte, and finds one top-level member and where its value stands. Stricter than RFC 8259
 * where parsers disagree: refused are a second member of the same name, also when it is spelled with escapes
 * (`\u006dodel`) or in other case (Go matches names without regard to case) for the member and for `stream`; a byte order
 * mark; bytes that are not UTF-8; lone surrogates; anything after the document; more than 64 levels; a body that is not
 * an object. So whatever the server behind us parses with, it finds the value that was decided on.
 *
 * @param member  name of the member, ASCII
 */
export function scanJson(body: Uint8Array, member: string): JsonScan {
  if (!isUtf8(body)) return fail("the body is not UTF-8", 0);
  return new Scan(body, member).run();
}

function fail(problem: string, offset: number): JsonScan {
  return { ok: false, problem, offset };
}

/** State of one scan. Methods return the offset behind what they read, or -1 with `problem` and `at` set. */
class Scan {
  readonly #bytes: Uint8Array;
  readonly #member: string;
  #problem = "";
  #at = 0;
  #memberSeen = false;
  #memberOther = false;
  #spanStart = -1;
  #spanEnd = -1;
  #streamSeen = false;
  #stream = false;

  constructor(bytes: Uint8Array, member: string) {
    this.#bytes = bytes;
    this.#member = member;
  }

  run(): JsonScan {
    const bytes = this.#bytes;
    const start = this.#space(0);
    if (bytes[start] !== 0x7b) return fail("the body is not a JSON object", start);
    const end = this.#document(start);
    if (end === -1) return fail(this.#problem, this.#at);
    const rest = this.#space(end);
    if (rest !== bytes.length) return fail("something follows the JSON document", rest);
    const shared = { ok: true, otherType: this.#memberOther, stream: this.#stream } as const;
    if (this.#spanStart === -1) return shared;
    const span = { offset: this.#spanStart, length: this.#spanEnd - this.#spanStart };
    return { ...shared, value: this.#decode(this.#spanStart, this.#spanEnd), span };
  }

  /** Reads the whole document, whose "{" is at `start`, without recursion. */
  #document(start: number): number {
    const bytes = this.#bytes;
    let depth = -1;
    let at = start;
    let keyNext = false;
    for (;;) {
      let role = 0;
      if (keyNext) {
        const keyEnd = this.#string(at);
        if (keyEnd === -1) return -1;
        if (depth === 0) role = this.#role(at, keyEnd);
        if (role === -1) return -1;
        at = this.#space(keyEnd);
        if (bytes[at] !== 0x3a) return this.#fail("a colon is missing", at);
        at = this.#space(at + 1);
        if (role === 2 && !this.#readStream(at)) return -1;
      }
      const byte = bytes[at];
      if (role === 1) this.#memberOther = byte !== QUOTE;
      if (byte === 0x7b || byte === 0x5b) {
        if (++depth === MAX_DEPTH) return this.#fail(`more than ${MAX_DEPTH} levels`, at);
        open[depth] = byte === 0x7b ? OBJECT : ARRAY;
        at = this.#space(at + 1);
        if (bytes[at] !== closerOf(open[depth])) {
          keyNext = open[depth] === OBJECT;
          continue;
        }
      } else {
        const end = this.#scalar(at);
        if (end === -1) return -1;
        if (role === 1 && byte === QUOTE) {
          this.#spanStart = at;
          this.#spanEnd = end;
        }
        at = this.#space(end);
      }
      while (bytes[at] === closerOf(open[depth])) {
        if (depth-- === 0) return at + 1;
        at = this.#space(at + 1);
      }
      if (bytes[at] !== 0x2c) return this.#fail("a comma or a closing bracket is missing", at);
      at = this.#space(at + 1);
      keyNext = open[depth] === OBJECT;
    }
  }

  #scalar(at: number): number {
    const byte = this.#bytes[at];
    if (byte === QUOTE) return this.#string(at);
    if (byte === 0x74) return this.#literal(at, TRUE);
    if (byte === 0x66) return this.#literal(at, FALSE);
    if (byte === 0x6e) return this.#literal(at, NULL);
    return this.#number(at);
  }

  /** 1: the member, 2: `stream`, 0: another, -1: one of the two for a second time or in another spelling of case. */
  #role(start: number, end: number): number {
    const plain = this.#isPlain(start, end);
    // Too long to be either, however each of its characters is escaped or folded.
    const name =
      plain && end - start - 2 !== this.#member.length && end - start - 2 !== 6 ? undefined : this.#decode(start, end);
    if (name === undefined) return 0;
    const folded = fold(name);
    if (folded === fold(this.#member)) {
      if (name !== this.#member || this.#memberSeen) return this.#fail(`more than one member "${this.#member}"`, start);
      this.#memberSeen = true;
      return 1;
    }
    if (folded !== "stream") return 0;
    if (name !== "stream" || this.#streamSeen) return this.#fail('more than one member "stream"', start);
    this.#streamSeen = true;
    return 2;
  }

  /** Without escapes and non-ASCII bytes: its length in bytes is its length in characters. */
  #isPlain(start: number, end: number): boolean {
    for (let at = start + 1; at < end - 1; at++) {
      const byte = this.#bytes[at] ?? 0;
      if (byte === BACKSLASH || byte >= 0x80) return false;
    }
    return true;
  }

  #readStream(at: number): boolean {
    const byte = this.#bytes[at];
    if (byte !== 0x74 && byte !== 0x66 && byte !== 0x6e) {
      this.#fail('"stream" is not a boolean', at);
      return false;
    }
    this.#stream = byte === 0x74;
    return true;
  }

  #decode(start: number, end: number): string {
    const text = Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + start, end - start).toString("utf8");
    // The token has passed `#string`, so it is JSON.
    const value: unknown = JSON.parse(text);
    return typeof value === "string" ? value : "";
  }

  #string(at: number): number {
    const bytes = this.#bytes;
    if (bytes[at] !== QUOTE) return this.#fail("a member name is missing", at);
    for (let next = at + 1; next < bytes.length; next++) {
      const byte = bytes[next] ?? 0;
      if (byte === QUOTE) return next + 1;
      if (byte < 0x20) return this.#fail("a control character stands in a string", next);
      if (byte !== BACKSLASH) continue;
      next++;
      const letter = bytes[next];
      if (letter === 0x75) {
        const unit = this.#hex4(next + 1);
        if (unit === -1) return this.#fail("a bad escape stands in a string", next);
        next += 4;
        if (unit >= 0xdc00 && unit <= 0xdfff) return this.#fail("a lone surrogate stands in a string", next);
        if (unit < 0xd800 || unit > 0xdbff) continue;
        const low = bytes[next + 1] === BACKSLASH && bytes[next + 2] === 0x75 ? this.#hex4(next + 3) : -1;
        if (low < 0xdc00 || low > 0xdfff) return this.#fail("a lone surrogate stands in a string", next);
        next += 6;
      } else if (letter === undefined || !SIMPLE_ESCAPES.has(letter)) {
        return this.#fail("a bad escape stands in a string", next);
      }
    }
    return this.#fail("a string does not end", at);
  }

  #hex4(at: number): number {
    let value = 0;
    for (let digit = 0; digit < 4; digit++) {
      const byte = this.#bytes[at + digit] ?? 0;
      if (byte >= 0x30 && byte <= 0x39) value = value * 16 + byte - 0x30;
      else if (byte >= 0x41 && byte <= 0x46) value = value * 16 + byte - 0x37;
      else if (byte >= 0x61 && byte <= 0x66) value = value * 16 + byte - 0x57;
      else return -1;
    }
    return value;
  }

  #number(at: number): number {
    const bytes = this.#bytes;
    let next = bytes[at] === 0x2d ? at + 1 : at;
    const first = bytes[next];
    if (first === 0x30) next++;
    else if (isDigit(first)) next = this.#digits(next);
    else return this.#fail("a value is missing or malformed", at);
    if (bytes[next] === 0x2e) {
      if (!isDigit(bytes[next + 1])) return this.#fail("a number is malformed", next);
      next = this.#digits(next + 1);
    }
    if (bytes[next] === 0x65 || bytes[next] === 0x45) {
      next++;
      if (bytes[next] === 0x2b || bytes[next] === 0x2d) next++;
      if (!isDigit(bytes[next])) return this.#fail("a number is malformed", next);
      next = this.#digits(next);
    }
    return next;
  }

  #digits(at: number): number {
    let next = at;
    while (isDigit(this.#bytes[next])) next++;
    return next;
  }

  #literal(at: number, literal: Uint8Array): number {
    for (let i = 0; i < literal.length; i++) {
      if (this.#bytes[at + i] !== literal[i]) return this.#fail("a value is missing or malformed", at);
    }
    return at + literal.length;
  }

  #space(at: number): number {
    let next = at;
    for (;;) {
      const byte = this.#bytes[next];
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return next;
      next++;
    }
  }

  #fail(problem: string, at: number): -1 {
    this.#problem = problem;
    this.#at = at;
    return -1;
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const TRUE = new TextEncoder().encode("true");
const FALSE = new TextEncoder().encode("false");
const NULL = new TextEncoder().encode("null");
const SIMPLE_ESCAPES: ReadonlySet<number> = new Set([...'"\\/bfnrt'].map((char) => char.charCodeAt(0)));

function closerOf(container: number | undefined): number {
  return container === OBJECT ? 0x7d : 0x5d;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

/** Case folded as parsers without regard to case do it: U+017F is an "s" and U+212A a "k" to Go. */
function fold(name: string): string {
  return name.toUpperCase().toLowerCase();
}
