import { Unknown } from "./cel/index.ts";

/**
 * What comes from a request, made fit for expressions: bounded in size and depth, and of plain kinds only. Whatever
 * passes a bound becomes `Unreadable`, so that a rule that reads it is unknown, and one that does not goes on.
 */
export const VALUE_LIMITS = {
  /** UTF-16 units of one text. Envoy's own bound on all headers together is 60 KiB. */
  text: 65_536,
  /** Members of one list or map. */
  members: 1_000,
  /** Nesting of lists and maps. */
  depth: 16,
  /** Values in one tree. */
  nodes: 10_000,
} as const;

/** Stands for a value that is there and cannot be read: every use of it is unknown. */
export class Unreadable extends Unknown {}

const TEXT_TOO_LONG = new Unreadable("text too long");
const TOO_MANY = new Unreadable("too many members");
const TOO_DEEP = new Unreadable("nested too deep");
const REPEATED = new Unreadable("repeated header");
const NOT_DATA = new Unreadable("not plain data");

export function boundedText(text: string): string | Unreadable {
  return text.length <= VALUE_LIMITS.text ? text : TEXT_TOO_LONG;
}

/** A string-to-string record as a map. Maps have no prototype chain that a rule could reach. */
export function textMap(record: Readonly<Record<string, string>>): Map<string, unknown> | Unreadable {
  const keys = Object.keys(record);
  if (keys.length > VALUE_LIMITS.members) return TOO_MANY;
  return new Map(keys.map((key) => [key, boundedText(record[key] ?? "")]));
}

/**
 * Header name → value. A repeated header is present (`in` says so) and unreadable: which of its values the upstream
 * takes is not known here, and a rule that looked at one of them could be fed another.
 */
export function singleValues(headers: ReadonlyMap<string, readonly string[]>): Map<string, unknown> | Unreadable {
  if (headers.size > VALUE_LIMITS.members) return TOO_MANY;
  const single = new Map<string, unknown>();
  for (const [name, values] of headers) {
    const [first] = values;
    if (first === undefined) continue;
    single.set(name, values.length === 1 ? boundedText(first) : REPEATED);
  }
  return single;
}

/** Header name → every value, in order. */
export function everyValue(headers: ReadonlyMap<string, readonly string[]>): Map<string, unknown> | Unreadable {
  if (headers.size > VALUE_LIMITS.members) return TOO_MANY;
  const every = new Map<string, unknown>();
  for (const [name, values] of headers) {
    every.set(name, values.length > VALUE_LIMITS.members ? TOO_MANY : values.map(boundedText));
  }
  return every;
}

/** JSON-like data (verified claims, filter metadata) as maps, lists and scalars. Numbers are doubles. */
export function dynamicValue(value: unknown): unknown {
  return convert(value, 0, { nodes: 0 });
}

function convert(value: unknown, depth: number, count: { nodes: number }): unknown {
  count.nodes += 1;
  if (count.nodes > VALUE_LIMITS.nodes) return TOO_MANY;
  switch (typeof value) {
    case "string":
      return boundedText(value);
    case "number":
    case "boolean":
    case "bigint":
      return value;
    case "object":
      break;
    default:
      return NOT_DATA;
  }
  if (value === null) return null;
  if (depth >= VALUE_LIMITS.depth) return TOO_DEEP;
  if (Array.isArray(value)) {
    if (value.length > VALUE_LIMITS.members) return TOO_MANY;
    return value.map((element) => convert(element, depth + 1, count));
  }
  const entries = value instanceof Map ? [...value.entries()] : plainEntries(value);
  if (entries === undefined) return NOT_DATA;
  if (entries.length > VALUE_LIMITS.members) return TOO_MANY;
  const map = new Map<string, unknown>();
  for (const [key, member] of entries) {
    if (typeof key === "string" && member !== undefined) map.set(key, convert(member, depth + 1, count));
  }
  return map;
}

function plainEntries(value: object): [unknown, unknown][] | undefined {
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return undefined;
  return Object.entries(value);
}
