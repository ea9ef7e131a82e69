import { add, divide, modulo, multiply, negate, subtract } from "./arithmetic.ts";
import { CALENDAR_NAMES, calendarPart } from "./calendar.ts";
import { contains, equals, order } from "./compare.ts";
import { toBool, toBytes, toDouble, toDuration, toInt, toText, toTimestamp, toUint } from "./conversions.ts";
import { format } from "./format.ts";
import { charge, type Frame, sizeOf } from "./frame.ts";
import { distinct, first, flatten, last, range, reverseList, slice, sort, sortByAssociatedKeys } from "./lists.ts";
import {
  abs,
  bitNot,
  bitwise,
  ceil,
  extreme,
  floor,
  isFiniteNumber,
  isInfinite,
  isNotANumber,
  round,
  shift,
  sign,
  sqrt,
  trunc,
} from "./mathematics.ts";
import { hasValue, ofNonZeroValue, some, unwrap, valueIn } from "./optionals.ts";
import { matches } from "./patterns.ts";
import {
  charAt,
  codePointLength,
  indexOf,
  join,
  lastIndexOf,
  lowerAscii,
  quote,
  replace,
  reverseText,
  split,
  substring,
  trim,
  upperAscii,
} from "./text.ts";
import { CelError, Failure, type MapKey, NONE, noOverload, OUT_OF_WORK, Uint, type UintKeyMap } from "./value.ts";

/**
 * What functions do. Operands come as they were evaluated, failures among them: a function that cannot use one answers
 * with `noOverload`, which passes failures on. Types are looked at when called, because of dyn.
 */
export type Unary = (a: unknown, frame: Frame) => unknown;
export type Binary = (a: unknown, b: unknown, frame: Frame) => unknown;
export type Variadic = (operands: readonly unknown[], frame: Frame) => unknown;

export interface Implementation {
  readonly unary?: Unary;
  readonly binary?: Binary;
  /** For the numbers of operands in `arities`. */
  readonly variadic?: Variadic;
  readonly arities?: readonly number[];
}

function unary(run: Unary): Implementation {
  return { unary: run };
}
function binary(run: Binary): Implementation {
  return { binary: run };
}
function variadic(run: Variadic, ...arities: readonly number[]): Implementation {
  return { variadic: run, arities };
}

function comparison(name: string, holds: (order: number) => boolean): Implementation {
  return binary((a, b, frame) => {
    const found = order(a, b, frame);
    return found === undefined ? noOverload(name, a, b) : holds(found);
  });
}

function not(a: unknown): unknown {
  return typeof a === "boolean" ? !a : noOverload("!_", a);
}

export function size(value: unknown, frame: Frame): unknown {
  const count = countOf(value, frame);
  return typeof count === "number" ? BigInt(count) : count;
}

/** `size()` as a number. */
export function countOf(value: unknown, frame: Frame): number | Failure {
  if (typeof value === "string") return charge(frame, sizeOf(value)) ? codePointLength(value) : OUT_OF_WORK;
  if (Array.isArray(value) || value instanceof Uint8Array) return value.length;
  return value instanceof Map ? value.size : noOverload("size", value);
}

type TextTest = (text: string, part: string) => boolean;

function textTest(name: string, test: TextTest): Implementation {
  return binary((text, part, frame) => {
    if (typeof text !== "string" || typeof part !== "string") return noOverload(name, text, part);
    return charge(frame, sizeOf(text)) ? test(text, part) : OUT_OF_WORK;
  });
}

function reverse(value: unknown, frame: Frame): unknown {
  if (typeof value === "string") return reverseText(value, frame);
  return Array.isArray(value) ? reverseList(value, frame) : noOverload("reverse", value);
}

function encode(bytes: unknown, frame: Frame): unknown {
  if (!(bytes instanceof Uint8Array)) return noOverload("base64.encode", bytes);
  return charge(frame, sizeOf(bytes)) ? Buffer.from(bytes).toString("base64") : OUT_OF_WORK;
}

const NO_BASE64 = new CelError("the text is no base64");

/** With or without padding. */
function decode(text: unknown, frame: Frame): unknown {
  if (typeof text !== "string") return noOverload("base64.decode", text);
  if (!charge(frame, sizeOf(text))) return OUT_OF_WORK;
  const bare = text.replace(/={1,2}$/, "");
  const padded = bare.length === text.length || text.length % 4 === 0;
  if (!padded || bare.length % 4 === 1 || !/^[A-Za-z0-9+/]*$/.test(bare)) return NO_BASE64;
  return Uint8Array.from(Buffer.from(bare, "base64"));
}

export const REPEATED_KEY = new CelError("a map has a key twice");
export const NO_KEY = new CelError("a key of a map is a string, int, uint or bool");

/** Adds an entry to a map that is being made. */
export function putEntry(map: UintKeyMap, key: unknown, value: unknown): Failure | undefined {
  if (key instanceof Failure) return key;
  if (value instanceof Failure) return value;
  const plain: MapKey | undefined =
    typeof key === "string" || typeof key === "bigint" || typeof key === "boolean"
      ? key
      : key instanceof Uint
        ? key.value
        : undefined;
  if (plain === undefined) return NO_KEY;
  if (map.has(plain)) return REPEATED_KEY;
  map.set(plain, value);
  if (key instanceof Uint) map.uints.add(key.value);
  return undefined;
}

export const IMPLEMENTATIONS: ReadonlyMap<string, Implementation> = new Map<string, Implementation>([
  ["!_", unary(not)],
  ["-_", unary(negate)],
  ["_+_", binary(add)],
  ["_-_", binary(subtract)],
  ["_*_", binary(multiply)],
  ["_/_", binary(divide)],
  ["_%_", binary(modulo)],
  ["_==_", binary(equals)],
  [
    "_!=_",
    binary((a, b, frame) => {
      const same = equals(a, b, frame);
      return typeof same === "boolean" ? !same : same;
    }),
  ],
  ["_<_", comparison("_<_", (found) => found < 0)],
  ["_<=_", comparison("_<=_", (found) => found <= 0)],
  ["_>_", comparison("_>_", (found) => found > 0)],
  ["_>=_", comparison("_>=_", (found) => found >= 0)],
  ["@in", binary(contains)],
  ["size", unary(size)],
  ["dyn", unary((value) => value)],
  ["bool", unary(toBool)],
  ["bytes", unary(toBytes)],
  ["double", unary(toDouble)],
  ["duration", unary(toDuration)],
  ["int", unary(toInt)],
  ["string", unary(toText)],
  ["timestamp", unary(toTimestamp)],
  ["uint", unary(toUint)],
  ["contains", textTest("contains", (text, part) => text.includes(part))],
  ["startsWith", textTest("startsWith", (text, part) => text.startsWith(part))],
  ["endsWith", textTest("endsWith", (text, part) => text.endsWith(part))],
  ["matches", binary(matches)],
  ...CALENDAR_NAMES.map((name): [string, Implementation] => {
    const part = calendarPart(name);
    return [name, { unary: (value, frame) => part(value, undefined, frame), binary: part }];
  }),
  ["optional.of", unary(some)],
  ["optional.none", variadic(() => NONE, 0)],
  ["optional.ofNonZeroValue", unary(ofNonZeroValue)],
  ["optional.unwrap", unary(unwrap)],
  ["unwrapOpt", unary(unwrap)],
  ["hasValue", unary(hasValue)],
  ["value", unary(valueIn)],
  ["base64.encode", unary(encode)],
  ["base64.decode", unary(decode)],
  ["charAt", binary(charAt)],
  ["indexOf", variadic(indexOf, 2, 3)],
  ["lastIndexOf", variadic(lastIndexOf, 2, 3)],
  ["lowerAscii", unary(lowerAscii)],
  ["upperAscii", unary(upperAscii)],
  ["replace", variadic(replace, 3, 4)],
  ["split", variadic(split, 2, 3)],
  ["substring", variadic(substring, 2, 3)],
  ["trim", unary(trim)],
  ["format", binary(format)],
  ["join", { unary: (list, frame) => join(list, undefined, frame), binary: join }],
  ["strings.quote", unary(quote)],
  ["reverse", unary(reverse)],
  ["slice", variadic(([list, start, end], frame) => slice(list, start, end, frame), 3)],
  ["flatten", { unary: (list, frame) => flatten(list, undefined, frame), binary: flatten }],
  ["distinct", unary(distinct)],
  ["lists.range", unary(range)],
  ["first", unary(first)],
  ["last", unary(last)],
  ["sort", unary(sort)],
  ["@sortByAssociatedKeys", binary(sortByAssociatedKeys)],
  ["math.@max", variadic(extreme("math.greatest", 1), 1, 2)],
  ["math.@min", variadic(extreme("math.least", -1), 1, 2)],
  ["math.ceil", unary(ceil)],
  ["math.floor", unary(floor)],
  ["math.round", unary(round)],
  ["math.trunc", unary(trunc)],
  ["math.sqrt", unary(sqrt)],
  ["math.abs", unary(abs)],
  ["math.sign", unary(sign)],
  ["math.isNaN", unary(isNotANumber)],
  ["math.isInf", unary(isInfinite)],
  ["math.isFinite", unary(isFiniteNumber)],
  ["math.bitAnd", binary(bitwise("math.bitAnd", (a, b) => a & b))],
  ["math.bitOr", binary(bitwise("math.bitOr", (a, b) => a | b))],
  ["math.bitXor", binary(bitwise("math.bitXor", (a, b) => a ^ b))],
  ["math.bitNot", unary(bitNot)],
  ["math.bitShiftLeft", binary(shift("math.bitShiftLeft", (bits, by) => bits << by))],
  ["math.bitShiftRight", binary(shift("math.bitShiftRight", (bits, by) => bits >> by))],
]);
