import { charge, type Frame, sizeOf } from "./frame.ts";
import { CelError, Failure, noOverload, OUT_OF_WORK } from "./value.ts";

/** Functions of strings (cel-go ext/strings, version 4). Indices count code points. */

const SURROGATE = /[\ud800-\udfff]/;

/** Code points, without an array of them where units are code points. */
export function codePointLength(text: string): number {
  if (!SURROGATE.test(text)) return text.length;
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

/** The units of a text by code points: the text itself where they are the same. */
function pointsOf(text: string): string | readonly string[] {
  return SURROGATE.test(text) ? [...text] : text;
}

function slice(points: string | readonly string[], start: number, end: number): string {
  return typeof points === "string" ? points.slice(start, end) : points.slice(start, end).join("");
}

function outOfRange(index: bigint): CelError {
  return new CelError(`index out of range: ${index}`);
}

export function charAt(text: unknown, index: unknown, frame: Frame): unknown {
  if (typeof text !== "string" || typeof index !== "bigint") return noOverload("charAt", text, index);
  if (!charge(frame, sizeOf(text))) return OUT_OF_WORK;
  const points = pointsOf(text);
  if (index < 0n || index > BigInt(points.length)) return outOfRange(index);
  return points[Number(index)] ?? "";
}

/** First or last place of `part` in `text`, at or after (first) or at or before (last) `from`. */
function search(name: string, forwards: boolean, operands: readonly unknown[], frame: Frame): unknown {
  const [text, part, from] = operands;
  if (typeof text !== "string" || typeof part !== "string" || (from !== undefined && typeof from !== "bigint")) {
    return noOverload(name, ...operands);
  }
  if (!charge(frame, sizeOf(text) + sizeOf(part))) return OUT_OF_WORK;
  const points = pointsOf(text);
  if (from !== undefined && (from < 0n || from > BigInt(points.length))) return outOfRange(from);
  const start = from === undefined ? (forwards ? 0 : points.length) : Number(from);
  const unit = typeof points === "string" ? start : slice(points, 0, start).length;
  const found = forwards ? text.indexOf(part, unit) : text.lastIndexOf(part, unit);
  return found < 0 ? -1n : BigInt(typeof points === "string" ? found : codePointLength(text.slice(0, found)));
}

export function indexOf(operands: readonly unknown[], frame: Frame): unknown {
  return search("indexOf", true, operands, frame);
}
export function lastIndexOf(operands: readonly unknown[], frame: Frame): unknown {
  return search("lastIndexOf", false, operands, frame);
}

/** Only A to Z: the Kelvin sign is no k. */
export function lowerAscii(text: unknown, frame: Frame): unknown {
  if (typeof text !== "string") return noOverload("lowerAscii", text);
  return charge(frame, sizeOf(text)) ? text.replace(/[A-Z]+/g, (run) => run.toLowerCase()) : OUT_OF_WORK;
}
export function upperAscii(text: unknown, frame: Frame): unknown {
  if (typeof text !== "string") return noOverload("upperAscii", text);
  return charge(frame, sizeOf(text)) ? text.replace(/[a-z]+/g, (run) => run.toUpperCase()) : OUT_OF_WORK;
}

export function substring(operands: readonly unknown[], frame: Frame): unknown {
  const [text, start, end] = operands;
  if (typeof text !== "string" || typeof start !== "bigint" || (end !== undefined && typeof end !== "bigint")) {
    return noOverload("substring", ...operands);
  }
  if (!charge(frame, sizeOf(text))) return OUT_OF_WORK;
  const points = pointsOf(text);
  const length = BigInt(points.length);
  if (start < 0n || start > length) return outOfRange(start);
  if (end !== undefined && (end < 0n || end > length)) return outOfRange(end);
  if (end !== undefined && start > end) return new CelError(`invalid substring range: ${start} to ${end}`);
  return slice(points, Number(start), Number(end ?? length));
}

/** Unicode's White_Space, without the marks that JavaScript's trim() takes besides. */
const WHITE = /[\t\n\v\f\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;

export function trim(text: unknown, frame: Frame): unknown {
  if (typeof text !== "string") return noOverload("trim", text);
  if (!charge(frame, sizeOf(text))) return OUT_OF_WORK;
  let start = 0;
  let end = text.length;
  while (start < end && WHITE.test(text[start] ?? "")) start += 1;
  while (end > start && WHITE.test(text[end - 1] ?? "")) end -= 1;
  return text.slice(start, end);
}

export function reverseText(text: string, frame: Frame): unknown {
  return charge(frame, 1 + (text.length >> 2)) ? [...text].reverse().join("") : OUT_OF_WORK;
}

/** How often at most; a negative limit is none. */
function limitOf(limit: bigint | undefined): number {
  return limit === undefined || limit < 0n ? Number.POSITIVE_INFINITY : Number(limit);
}

export function replace(operands: readonly unknown[], frame: Frame): unknown {
  const [text, from, to, limit] = operands;
  const odd = limit !== undefined && typeof limit !== "bigint";
  if (typeof text !== "string" || typeof from !== "string" || typeof to !== "string" || odd) {
    return noOverload("replace", ...operands);
  }
  const most = limitOf(limit);
  const pieces: string[] = [];
  // An empty text stands before every code point and at the end.
  const points = from === "" ? [...text] : [];
  let at = 0;
  for (let count = 0; count < most; count += 1) {
    if (from === "" && count > points.length) break;
    const found = from === "" ? at + (count === 0 ? 0 : (points[count - 1]?.length ?? 0)) : text.indexOf(from, at);
    if (found < 0) break;
    // Paid for before it is built: the result can be far longer than what goes in.
    if (!charge(frame, 1 + ((found - at + to.length) >> 6))) return OUT_OF_WORK;
    pieces.push(text.slice(at, found), to);
    at = found + from.length;
  }
  if (!charge(frame, (text.length - at) >> 6)) return OUT_OF_WORK;
  return pieces.join("") + text.slice(at);
}

export function split(operands: readonly unknown[], frame: Frame): unknown {
  const [text, by, limit] = operands;
  if (typeof text !== "string" || typeof by !== "string" || (limit !== undefined && typeof limit !== "bigint")) {
    return noOverload("split", ...operands);
  }
  const most = limitOf(limit);
  if (most === 0) return [];
  if (!charge(frame, sizeOf(text))) return OUT_OF_WORK;
  const pieces: string[] = [];
  let at = 0;
  while (pieces.length + 1 < most) {
    const width = by === "" ? ((text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1) : 0;
    const found = by === "" ? at + width : text.indexOf(by, at);
    if (found < 0 || (by === "" && found >= text.length)) break;
    if (!charge(frame, 1)) return OUT_OF_WORK;
    pieces.push(text.slice(at, found));
    at = found + by.length;
  }
  if (by !== "" || text !== "") pieces.push(text.slice(at));
  return pieces;
}

export function join(list: unknown, by: unknown, frame: Frame): unknown {
  const separator = by === undefined ? "" : by;
  if (!Array.isArray(list) || typeof separator !== "string") return noOverload("join", list, separator);
  for (const part of list) {
    if (part instanceof Failure) return part;
    if (typeof part !== "string") return noOverload("join", list, separator);
    if (!charge(frame, 1 + ((part.length + separator.length) >> 6))) return OUT_OF_WORK;
  }
  return list.join(separator);
}

const QUOTED: ReadonlyMap<string, string> = new Map([
  ["\u0007", "\\a"],
  ["\b", "\\b"],
  ["\f", "\\f"],
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
  ["\v", "\\v"],
  ["\\", "\\\\"],
  ['"', '\\"'],
]);

/** As it would be written in an expression; what is no Unicode text becomes U+FFFD. */
export function quote(text: unknown, frame: Frame): unknown {
  if (typeof text !== "string") return noOverload("strings.quote", text);
  if (!charge(frame, 1 + (text.length >> 4))) return OUT_OF_WORK;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that have escapes
  return `"${text.toWellFormed().replace(/[\u0007\b\f\n\r\t\v\\"]/g, (character) => QUOTED.get(character) ?? character)}"`;
}
