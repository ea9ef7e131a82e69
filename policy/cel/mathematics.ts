import { asInt } from "./arithmetic.ts";
import { order } from "./compare.ts";
import { charge, type Frame, sizeOf } from "./frame.ts";
import { CelError, Failure, noOverload, OUT_OF_WORK, Uint } from "./value.ts";

/** math.* (cel-go ext/math, version 2). */

const EMPTY = new CelError("math.greatest() and math.least() need a list that is not empty");
const UNORDERED = new CelError("NaN is neither greater nor less than anything");
const NEGATIVE_SHIFT = new CelError("negative offset of a shift");
const ALL_BITS = 2n ** 64n - 1n;

function isNumber(value: unknown): boolean {
  return typeof value === "bigint" || typeof value === "number" || value instanceof Uint;
}

/** math.@max and math.@min, of one number, two, or a list. */
export function extreme(name: string, sign: 1 | -1): (operands: readonly unknown[], frame: Frame) => unknown {
  return (operands, frame) => {
    const [only] = operands;
    const values = operands.length === 1 && Array.isArray(only) ? only : operands;
    if (!charge(frame, sizeOf(values))) return OUT_OF_WORK;
    if (values.length === 0) return EMPTY;
    let best: unknown = values[0];
    for (const [index, value] of values.entries()) {
      if (!isNumber(value)) return noOverload(name, value);
      if (index === 0) continue;
      const found = order(value, best, frame) ?? 0;
      if (Number.isNaN(found)) return UNORDERED;
      if (sign * found > 0) best = value;
    }
    return best;
  };
}

function ofDouble(name: string, compute: (value: number) => number | boolean): (value: unknown) => unknown {
  return (value) => (typeof value === "number" ? compute(value) : noOverload(name, value));
}

export const ceil = ofDouble("math.ceil", Math.ceil);
export const floor = ofDouble("math.floor", Math.floor);
/** Halves go away from zero. */
export const round = ofDouble("math.round", (value) => Math.sign(value) * Math.round(Math.abs(value)));
export const trunc = ofDouble("math.trunc", Math.trunc);
export const isNotANumber = ofDouble("math.isNaN", Number.isNaN);
export const isInfinite = ofDouble("math.isInf", (value) => value === Infinity || value === -Infinity);
export const isFiniteNumber = ofDouble("math.isFinite", Number.isFinite);

export function sqrt(value: unknown): unknown {
  if (typeof value === "number") return Math.sqrt(value);
  if (typeof value === "bigint") return Math.sqrt(Number(value));
  return value instanceof Uint ? Math.sqrt(Number(value.value)) : noOverload("math.sqrt", value);
}

export function abs(value: unknown): unknown {
  if (typeof value === "bigint") return value < 0n ? asInt(-value) : value;
  if (typeof value === "number") return Math.abs(value);
  return value instanceof Uint ? value : noOverload("math.abs", value);
}

export function sign(value: unknown): unknown {
  if (typeof value === "bigint") return value > 0n ? 1n : value < 0n ? -1n : 0n;
  // Both zeros have the sign 0.0, as in cel-go.
  if (typeof value === "number") return value === 0 ? 0 : Math.sign(value);
  return value instanceof Uint ? new Uint(value.value === 0n ? 0n : 1n) : noOverload("math.sign", value);
}

export function bitwise(name: string, compute: (a: bigint, b: bigint) => bigint): (a: unknown, b: unknown) => unknown {
  return (a, b) => {
    if (typeof a === "bigint" && typeof b === "bigint") return compute(a, b);
    return a instanceof Uint && b instanceof Uint ? new Uint(compute(a.value, b.value)) : noOverload(name, a, b);
  };
}

export function bitNot(value: unknown): unknown {
  if (typeof value === "bigint") return ~value;
  return value instanceof Uint ? new Uint(value.value ^ ALL_BITS) : noOverload("math.bitNot", value);
}

/** Shifts of 64 bits without a sign: what leaves them is gone, and zeros come in. */
export function shift(
  name: string,
  compute: (bits: bigint, by: bigint) => bigint,
): (a: unknown, by: unknown) => unknown {
  return (value, by) => {
    if (value instanceof Failure || typeof by !== "bigint") return noOverload(name, value, by);
    const bits =
      typeof value === "bigint" ? BigInt.asUintN(64, value) : value instanceof Uint ? value.value : undefined;
    if (bits === undefined) return noOverload(name, value, by);
    if (by < 0n) return NEGATIVE_SHIFT;
    const shifted = by > 63n ? 0n : BigInt.asUintN(64, compute(bits, by));
    return typeof value === "bigint" ? BigInt.asIntN(64, shifted) : new Uint(shifted);
  };
}
