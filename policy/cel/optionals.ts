import { charge, type Frame, sizeOf } from "./frame.ts";
import { CelError, Duration, Failure, NONE, noOverload, Optional, OUT_OF_WORK, Timestamp, Uint } from "./value.ts";

/** Optional values (cel-go's optional types, version 2). */

const NO_VALUE = new CelError("optional.none() has no value");

export function some(value: unknown): unknown {
  return value instanceof Failure ? value : new Optional(value);
}

export function ofNonZeroValue(value: unknown): unknown {
  if (value instanceof Failure) return value;
  return isZero(value) ? NONE : new Optional(value);
}

function isZero(value: unknown): boolean {
  if (value === null || value === false || value === 0 || value === 0n || value === "") return true;
  if (typeof value !== "object") return false;
  if (Array.isArray(value) || value instanceof Uint8Array) return value.length === 0;
  if (value instanceof Map) return value.size === 0;
  if (value instanceof Uint) return value.value === 0n;
  if (value instanceof Duration || value instanceof Timestamp) return value.seconds === 0 && value.nanos === 0;
  return value instanceof Optional && value.value === undefined;
}

export function hasValue(optional: unknown): unknown {
  return optional instanceof Optional ? optional.value !== undefined : noOverload("hasValue", optional);
}

export function valueIn(optional: unknown): unknown {
  return optional instanceof Optional ? (optional.value ?? missing(optional)) : noOverload("value", optional);
}

function missing(optional: Optional): unknown {
  return optional.value === undefined ? NO_VALUE : optional.value;
}

/** The values of those that have one. */
export function unwrap(list: unknown, frame: Frame): unknown {
  if (!Array.isArray(list)) return noOverload("unwrap", list);
  if (!charge(frame, sizeOf(list))) return OUT_OF_WORK;
  const values: unknown[] = [];
  for (const optional of list) {
    if (!(optional instanceof Optional)) return noOverload("unwrap", optional);
    if (optional.value !== undefined) values.push(optional.value);
  }
  return values;
}
