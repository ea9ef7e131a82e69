import { asInt, asUint } from "./arithmetic.ts";
import { charge, type Frame, sizeOf } from "./frame.ts";
import { formatDuration, formatTimestamp, parseDuration, parseTimestamp, timestampOf } from "./time.ts";
import { CelError, Duration, noOverload, OUT_OF_WORK, Timestamp, TypeValue, typeNameOf, Uint } from "./value.ts";

/** bool(), bytes(), double(), duration(), int(), string(), timestamp(), uint(), type(). */

/** Longest text that is read as a number; none that fits a type is longer. */
const NUMBER_TEXT = 512;

function invalid(type: string): CelError {
  return new CelError(`the text is no ${type}`);
}
const NO_BOOL = invalid("bool");
const NO_INT = invalid("int");
const NO_UINT = invalid("uint");
const NO_DOUBLE = invalid("double");
const INT_RANGE = new CelError("the number does not fit an int");
const UINT_RANGE = new CelError("the number does not fit a uint");
const NO_UTF8 = new CelError("the bytes are not UTF-8");

const TEXT_BOOLS: ReadonlyMap<string, boolean> = new Map([
  ...["1", "t", "true", "TRUE", "True"].map((text) => [text, true] as const),
  ...["0", "f", "false", "FALSE", "False"].map((text) => [text, false] as const),
]);

export function toBool(value: unknown): unknown {
  if (typeof value === "boolean") return value;
  return typeof value === "string" ? (TEXT_BOOLS.get(value) ?? NO_BOOL) : noOverload("bool", value);
}

export function toInt(value: unknown): unknown {
  if (typeof value === "bigint") return value;
  if (typeof value === "number") {
    // Also the doubles that are exactly at the ends of the range are refused, as cel-go does.
    return value > -(2 ** 63) && value < 2 ** 63 ? BigInt(Math.trunc(value)) : INT_RANGE;
  }
  if (typeof value === "string") {
    if (value.length > NUMBER_TEXT || !/^[+-]?\d+$/.test(value)) return NO_INT;
    return asInt(BigInt(value.startsWith("+") ? value.slice(1) : value));
  }
  if (value instanceof Uint) return asInt(value.value);
  if (value instanceof Timestamp) return BigInt(value.seconds);
  if (value instanceof Duration) return BigInt(value.seconds) * 1_000_000_000n + BigInt(value.nanos);
  return noOverload("int", value);
}

export function toUint(value: unknown): unknown {
  if (value instanceof Uint) return value;
  if (typeof value === "bigint") return asUint(value);
  if (typeof value === "number") {
    return value >= 0 && value < 2 ** 64 ? new Uint(BigInt(Math.trunc(value))) : UINT_RANGE;
  }
  if (typeof value === "string") {
    return value.length > NUMBER_TEXT || !/^\d+$/.test(value) ? NO_UINT : asUint(BigInt(value));
  }
  return noOverload("uint", value);
}

const DOUBLE_TEXT = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/;
const SPECIAL_DOUBLES: ReadonlyMap<string, number> = new Map([
  ["nan", Number.NaN],
  ["inf", Number.POSITIVE_INFINITY],
  ["+inf", Number.POSITIVE_INFINITY],
  ["-inf", Number.NEGATIVE_INFINITY],
  ["infinity", Number.POSITIVE_INFINITY],
  ["+infinity", Number.POSITIVE_INFINITY],
  ["-infinity", Number.NEGATIVE_INFINITY],
]);

export function toDouble(value: unknown): unknown {
  if (typeof value === "number") return value;
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Uint) return Number(value.value);
  if (typeof value !== "string") return noOverload("double", value);
  if (value.length > NUMBER_TEXT) return NO_DOUBLE;
  if (!DOUBLE_TEXT.test(value)) return SPECIAL_DOUBLES.get(value.toLowerCase()) ?? NO_DOUBLE;
  const number = Number(value);
  return Number.isFinite(number) ? number : NO_DOUBLE;
}

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function textOfBytes(bytes: Uint8Array): string | CelError {
  try {
    return UTF8.decode(bytes);
  } catch {
    // A TypeError for bytes that are not UTF-8.
    return NO_UTF8;
  }
}

export function toText(value: unknown, frame: Frame): unknown {
  switch (typeof value) {
    case "string":
      return value;
    case "number":
      return Object.is(value, -0) ? "-0" : String(value);
    case "boolean":
    case "bigint":
      return String(value);
  }
  if (value instanceof Uint) return String(value.value);
  if (value instanceof Uint8Array) return charge(frame, sizeOf(value)) ? textOfBytes(value) : OUT_OF_WORK;
  if (value instanceof Timestamp) return formatTimestamp(value);
  if (value instanceof Duration) return formatDuration(value);
  return noOverload("string", value);
}

export function toBytes(value: unknown, frame: Frame): unknown {
  if (value instanceof Uint8Array) return value;
  if (typeof value !== "string") return noOverload("bytes", value);
  return charge(frame, sizeOf(value)) ? Uint8Array.from(Buffer.from(value, "utf8")) : OUT_OF_WORK;
}

export function toTimestamp(value: unknown): unknown {
  if (value instanceof Timestamp) return value;
  if (typeof value === "string") return parseTimestamp(value);
  // Number() rounds what is far out of range, and never into it.
  return typeof value === "bigint" ? timestampOf(Number(value), 0) : noOverload("timestamp", value);
}

export function toDuration(value: unknown): unknown {
  if (value instanceof Duration) return value;
  return typeof value === "string" ? parseDuration(value) : noOverload("duration", value);
}

const TYPES = new Map<string, TypeValue>();

export function typeValue(name: string): TypeValue {
  let type = TYPES.get(name);
  if (type === undefined) {
    type = new TypeValue(name);
    // The few names of the language are kept; those of records are as many as there are records.
    if (TYPES.size < 64) TYPES.set(name, type);
  }
  return type;
}

export function toType(value: unknown): TypeValue {
  return typeValue(typeNameOf(value));
}
