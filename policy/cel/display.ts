import { formatDuration, formatTimestamp } from "./time.ts";
import { Duration, keyIn, Optional, Timestamp, TypeValue, typeNameOf, Uint } from "./value.ts";

export interface DisplayOptions {
  /** About how many characters: behind them what is left out is an ellipsis. */
  readonly length?: number;
  /** Whether maps inside are shown, or only how many keys they have. */
  readonly maps?: "whole" | "counted";
}

/** A list can hold itself many times over: what is whole on paper need not fit into memory. */
const LONGEST = 1_000_000;

/** A value as it would be written in an expression. For people. */
export function displayValue(value: unknown, { length = LONGEST, maps = "whole" }: DisplayOptions = {}): string {
  return new Display(Math.min(length, LONGEST), maps).text(value);
}

class Display {
  #left: number;
  readonly #maps: "whole" | "counted";

  constructor(length: number, maps: "whole" | "counted") {
    this.#left = length;
    this.#maps = maps;
  }

  text(value: unknown): string {
    if (Array.isArray(value)) return `[${this.#all(value, (each) => this.text(each))}]`;
    if (value instanceof Map) {
      if (this.#maps === "counted") return `a map with ${value.size} keys`;
      return `{${this.#all(value, ([key, held]) => `${this.text(keyIn(value, key))}: ${this.text(held)}`)}}`;
    }
    if (value instanceof Optional) {
      return value.value === undefined ? "optional.none()" : `optional.of(${this.text(value.value)})`;
    }
    const text = scalarText(value);
    this.#left -= text.length;
    return text;
  }

  #all<T>(members: Iterable<T>, show: (member: T) => string): string {
    const parts: string[] = [];
    for (const member of members) {
      // An empty one counts too.
      this.#left -= 1;
      if (this.#left < 0) {
        parts.push("…");
        break;
      }
      parts.push(show(member));
    }
    return parts.join(", ");
  }
}

function scalarText(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value);
    case "number":
      if (Object.is(value, -0)) return "-0.0";
      return Number.isInteger(value) && Math.abs(value) < 1e21 ? value.toFixed(1) : String(value);
    case "object":
      return objectText(value);
    default:
      return String(value);
  }
}

function objectText(value: object | null): string {
  if (value === null) return "null";
  if (value instanceof Uint) return `${value.value}u`;
  if (value instanceof Uint8Array) {
    const bytes = Array.from(value, (byte) => `\\x${byte.toString(16).padStart(2, "0")}`);
    return `b"${bytes.join("")}"`;
  }
  if (value instanceof Timestamp) return `timestamp("${formatTimestamp(value)}")`;
  if (value instanceof Duration) return `duration("${formatDuration(value)}")`;
  return value instanceof TypeValue ? value.name : typeNameOf(value);
}
