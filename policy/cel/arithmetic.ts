import { charge, type Frame, sizeOf } from "./frame.ts";
import {
  addDurations,
  addToTimestamp,
  betweenTimestamps,
  negated as negatedDuration,
  subtractDurations,
} from "./time.ts";
import {
  CelError,
  Duration,
  type Failure,
  INT_OVERFLOW,
  noOverload,
  OUT_OF_WORK,
  Timestamp,
  UINT_OVERFLOW,
  Uint,
} from "./value.ts";

/** + - * / % and unary minus. Integers are exact; what does not fit 64 bits is an error. */

const INT_MIN = -(2n ** 63n);
const INT_MAX = 2n ** 63n - 1n;
const UINT_MAX = 2n ** 64n - 1n;
const DIVIDED_BY_ZERO = new CelError("division by zero");
const MODULO_ZERO = new CelError("modulus by zero");

export function asInt(value: bigint): bigint | Failure {
  return value > INT_MAX || value < INT_MIN ? INT_OVERFLOW : value;
}

export function asUint(value: bigint): Uint | Failure {
  return value > UINT_MAX || value < 0n ? UINT_OVERFLOW : new Uint(value);
}

export function add(a: unknown, b: unknown, frame: Frame): unknown {
  if (typeof a === "bigint" && typeof b === "bigint") return asInt(a + b);
  if (typeof a === "number" && typeof b === "number") return a + b;
  if (typeof a === "string" && typeof b === "string") {
    return charge(frame, (a.length + b.length) >> 6) ? a + b : OUT_OF_WORK;
  }
  if (a instanceof Uint && b instanceof Uint) return asUint(a.value + b.value);
  if (Array.isArray(a) && Array.isArray(b)) {
    return charge(frame, sizeOf(a) + sizeOf(b)) ? [...a, ...b] : OUT_OF_WORK;
  }
  if (a instanceof Uint8Array && b instanceof Uint8Array) {
    return charge(frame, sizeOf(a) + sizeOf(b)) ? joined(a, b) : OUT_OF_WORK;
  }
  if (a instanceof Timestamp && b instanceof Duration) return addToTimestamp(a, b);
  if (a instanceof Duration && b instanceof Timestamp) return addToTimestamp(b, a);
  if (a instanceof Duration && b instanceof Duration) return addDurations(a, b);
  return noOverload("_+_", a, b);
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(a.length + b.length);
  bytes.set(a);
  bytes.set(b, a.length);
  return bytes;
}

export function subtract(a: unknown, b: unknown): unknown {
  if (typeof a === "bigint" && typeof b === "bigint") return asInt(a - b);
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (a instanceof Uint && b instanceof Uint) return asUint(a.value - b.value);
  if (a instanceof Timestamp && b instanceof Timestamp) return betweenTimestamps(a, b);
  if (a instanceof Timestamp && b instanceof Duration) return addToTimestamp(a, negatedDuration(b));
  if (a instanceof Duration && b instanceof Duration) return subtractDurations(a, b);
  return noOverload("_-_", a, b);
}

export function multiply(a: unknown, b: unknown): unknown {
  if (typeof a === "bigint" && typeof b === "bigint") return asInt(a * b);
  if (typeof a === "number" && typeof b === "number") return a * b;
  if (a instanceof Uint && b instanceof Uint) return asUint(a.value * b.value);
  return noOverload("_*_", a, b);
}

export function divide(a: unknown, b: unknown): unknown {
  if (typeof a === "bigint" && typeof b === "bigint") return b === 0n ? DIVIDED_BY_ZERO : asInt(a / b);
  if (typeof a === "number" && typeof b === "number") return a / b;
  if (a instanceof Uint && b instanceof Uint) return b.value === 0n ? DIVIDED_BY_ZERO : new Uint(a.value / b.value);
  return noOverload("_/_", a, b);
}

export function modulo(a: unknown, b: unknown): unknown {
  // cel-go answers an overflow for the least int modulo -1, as for its quotient.
  if (typeof a === "bigint" && typeof b === "bigint") {
    if (b === 0n) return MODULO_ZERO;
    return a === INT_MIN && b === -1n ? INT_OVERFLOW : a % b;
  }
  if (a instanceof Uint && b instanceof Uint) return b.value === 0n ? MODULO_ZERO : new Uint(a.value % b.value);
  return noOverload("_%_", a, b);
}

export function negate(a: unknown): unknown {
  if (typeof a === "bigint") return asInt(-a);
  if (typeof a === "number") return -a;
  return noOverload("-_", a);
}
