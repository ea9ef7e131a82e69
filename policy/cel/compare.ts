import { charge, type Frame, sizeOf } from "./frame.ts";
import {
  Duration,
  Failure,
  lookupKey,
  noOverload,
  Optional,
  OUT_OF_WORK,
  Timestamp,
  TypeValue,
  Uint,
} from "./value.ts";

/** Equality over all types, order over those that have one. Numbers are compared by what they are worth. */

/** A failure only where an operand, or something inside one, is a failure. */
export function equals(a: unknown, b: unknown, frame: Frame): boolean | Failure {
  if (a === b && (typeof a !== "object" || a === null)) return true;
  if (typeof a === "object" && a !== null) return equalsObject(a, b, frame);
  if (typeof b === "object" && b !== null) return equalsObject(b, a, frame);
  if (typeof a === "bigint" && typeof b === "number") return sameNumber(a, b);
  if (typeof a === "number" && typeof b === "bigint") return sameNumber(b, a);
  return false;
}

/** An int and a double are compared as doubles, as the suite "comparisons" wants and cel-go does. */
function sameNumber(a: bigint, b: unknown): boolean {
  return typeof b === "bigint" ? a === b : Number(a) === b;
}

function equalsObject(a: object, b: unknown, frame: Frame): boolean | Failure {
  if (a instanceof Failure) return noOverload("_==_", a, b);
  if (b instanceof Failure) return b;
  if (a instanceof Uint) return sameNumber(a.value, b instanceof Uint ? b.value : b);
  if (typeof b !== "object" || b === null) return false;
  // Never for nothing: lists of lists can hold one another many times over.
  if (!charge(frame, 1 + sizeOf(a) + sizeOf(b))) return OUT_OF_WORK;
  if (Array.isArray(a)) return Array.isArray(b) && equalLists(a, b, frame);
  if (a instanceof Map) return b instanceof Map && equalMaps(a, b, frame);
  if (a instanceof Timestamp) return b instanceof Timestamp && a.seconds === b.seconds && a.nanos === b.nanos;
  if (a instanceof Duration) return b instanceof Duration && a.seconds === b.seconds && a.nanos === b.nanos;
  if (a instanceof Uint8Array) return b instanceof Uint8Array && Buffer.compare(a, b) === 0;
  if (a instanceof TypeValue) return b instanceof TypeValue && a.name === b.name;
  if (a instanceof Optional) {
    if (!(b instanceof Optional)) return false;
    if (a.value === undefined || b.value === undefined) return a.value === b.value;
    return equals(a.value, b.value, frame);
  }
  return a === b;
}

/** Unequal where any pair is; else what could not be compared, if anything. */
function equalLists(a: readonly unknown[], b: readonly unknown[], frame: Frame): boolean | Failure {
  if (a.length !== b.length) return false;
  let failure: Failure | undefined;
  for (let index = 0; index < a.length; index += 1) {
    const same = equals(a[index], b[index], frame);
    if (same === false) return false;
    if (same !== true) failure ??= same;
  }
  return failure ?? true;
}

function equalMaps(
  a: ReadonlyMap<unknown, unknown>,
  b: ReadonlyMap<unknown, unknown>,
  frame: Frame,
): boolean | Failure {
  if (a.size !== b.size) return false;
  let failure: Failure | undefined;
  for (const [key, value] of a) {
    const other = b.get(key);
    if (other === undefined) return false;
    const same = equals(value, other, frame);
    if (same === false) return false;
    if (same !== true) failure ??= same;
  }
  return failure ?? true;
}

/** `element in list`, `key in map` */
export function contains(element: unknown, container: unknown, frame: Frame): boolean | Failure {
  if (container instanceof Map) {
    if (element instanceof Failure) return element;
    const key = lookupKey(element);
    return key !== undefined && container.has(key);
  }
  if (!Array.isArray(container) || element instanceof Failure) return noOverload("@in", element, container);
  if (!charge(frame, container.length >> 2)) return OUT_OF_WORK;
  let failure: Failure | undefined;
  const plain = typeof element === "string" || typeof element === "boolean";
  for (let index = 0; index < container.length; index += 1) {
    const each: unknown = container[index];
    if (plain && typeof each !== "object") {
      if (each === element) return true;
      continue;
    }
    const same = equals(each, element, frame);
    if (same === true) return true;
    if (same !== false) failure ??= same;
  }
  return failure ?? false;
}

/** By code points: UTF-16 units would put U+10000 before U+E000. */
export function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index += 1) {
    const left = a.charCodeAt(index);
    const right = b.charCodeAt(index);
    if (left === right) continue;
    const leftHigh = left >= 0xd800 && left <= 0xdfff;
    const rightHigh = right >= 0xd800 && right <= 0xdfff;
    if (leftHigh !== rightHigh) return leftHigh ? 1 : -1;
    return left - right;
  }
  return a.length - b.length;
}

/**
 * Below, at or above zero as `a` is less than, equal to or greater than `b`; NaN where one of them is NaN; undefined
 * where there is no order.
 */
export function order(a: unknown, b: unknown, frame: Frame): number | undefined {
  if (typeof a === "string") {
    if (typeof b !== "string") return undefined;
    frame.work -= Math.min(a.length, b.length) >> 6;
    return compareText(a, b);
  }
  const left = a instanceof Uint ? a.value : a;
  const right = b instanceof Uint ? b.value : b;
  if (isNumber(left)) return isNumber(right) ? orderNumbers(left, right) : undefined;
  if (typeof a === "boolean") return typeof b === "boolean" ? Number(a) - Number(b) : undefined;
  if ((a instanceof Timestamp && b instanceof Timestamp) || (a instanceof Duration && b instanceof Duration)) {
    return a.seconds === b.seconds ? a.nanos - b.nanos : a.seconds - b.seconds;
  }
  if (a instanceof Uint8Array && b instanceof Uint8Array) {
    frame.work -= Math.min(a.length, b.length) >> 6;
    return Buffer.compare(a, b);
  }
  return undefined;
}

/** Below, at or above zero; NaN where one is NaN. */
export function orderNumbers(left: number | bigint, right: number | bigint): number {
  const mixed = typeof left !== typeof right;
  const a = mixed ? Number(left) : left;
  const b = mixed ? Number(right) : right;
  if (a < b) return -1;
  if (a > b) return 1;
  return Number.isNaN(a) || Number.isNaN(b) ? Number.NaN : 0;
}

export function isNumber(value: unknown): value is number | bigint {
  return typeof value === "number" || typeof value === "bigint";
}
