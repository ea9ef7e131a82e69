import { formatDuration, formatTimestamp } from "./time.ts";
import { Duration, keyIn, Optional, Timestamp, TypeValue, typeNameOf, Uint } from "./value.ts";

/** A value as it would be written in an expression. For people; not bounded beyond the value itself. */
export function displayValue(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value);
    case "number":
      return Number.isInteger(value) && Math.abs(value) < 1e21 ? value.toFixed(1) : String(value);
    case "object":
      return displayObject(value);
    default:
      return String(value);
  }
}

function displayObject(value: object | null): string {
  if (value === null) return "null";
  if (value instanceof Uint) return `${value.value}u`;
  if (value instanceof Uint8Array) {
    const bytes = Array.from(value, (byte) => `\\x${byte.toString(16).padStart(2, "0")}`);
    return `b"${bytes.join("")}"`;
  }
  if (value instanceof Timestamp) return `timestamp("${formatTimestamp(value)}")`;
  if (value instanceof Duration) return `duration("${formatDuration(value)}")`;
  if (value instanceof TypeValue) return value.name;
  if (value instanceof Optional) {
    return value.value === undefined ? "optional.none()" : `optional.of(${displayValue(value.value)})`;
  }
  if (Array.isArray(value)) return `[${value.map(displayValue).join(", ")}]`;
  if (!(value instanceof Map)) return typeNameOf(value);
  const entries = [...value].map(([key, held]) => `${displayValue(keyIn(value, key))}: ${displayValue(held)}`);
  return `{${entries.join(", ")}}`;
}
