import { textOfBytes } from "./conversions.ts";
import { charge, type Frame } from "./frame.ts";
import { formatDuration, formatTimestamp } from "./time.ts";
import {
  CelError,
  Duration,
  Failure,
  keyIn,
  noOverload,
  OUT_OF_WORK,
  Timestamp,
  TypeValue,
  typeNameOf,
  Uint,
} from "./value.ts";

/** string.format(list) (cel-go ext/strings "Format"). */

const CLAUSE = /%(?:%|(?:\.(\d+))?(.?))/gs;
/** Most digits after the point. */
const MAX_PRECISION = 100;
const DEFAULT_PRECISION = 6;

export function format(template: unknown, values: unknown, frame: Frame): unknown {
  if (typeof template !== "string" || !Array.isArray(values)) return noOverload("format", template, values);
  let result = "";
  let at = 0;
  let used = 0;
  for (const clause of template.matchAll(CLAUSE)) {
    const before = template.slice(at, clause.index);
    at = clause.index + clause[0].length;
    let text: string | Failure = "%";
    if (clause[0] !== "%%") {
      if (used >= values.length) return new CelError(`format: index ${used} out of range`);
      text = formatClause(clause[2] ?? "", clause[1], values[used], frame);
      used += 1;
    }
    if (typeof text !== "string") return text;
    if (!charge(frame, 1 + ((before.length + text.length) >> 6))) return OUT_OF_WORK;
    result += before + text;
  }
  if (!charge(frame, (template.length - at) >> 6)) return OUT_OF_WORK;
  return result + template.slice(at);
}

function formatClause(letter: string, digits: string | undefined, value: unknown, frame: Frame): string | Failure {
  if (value instanceof Failure) return value;
  const precision = digits === undefined ? DEFAULT_PRECISION : Number(digits);
  if (precision > MAX_PRECISION) return new CelError(`format: at most ${MAX_PRECISION} digits`);
  switch (letter) {
    case "s":
      return display(value, frame);
    case "d":
      return typeof value === "number" ? decimal(value) : inBase(value, 10, letter);
    case "f":
      return fixed(value, precision);
    case "e":
      return scientific(value, precision);
    case "b":
      return typeof value === "boolean" ? (value ? "1" : "0") : inBase(value, 2, letter);
    case "o":
      return inBase(value, 8, letter);
    case "x":
      return hexadecimal(value, frame);
    case "X": {
      const text = hexadecimal(value, frame);
      return typeof text === "string" ? text.toUpperCase() : text;
    }
    default:
      return new CelError(`format: unrecognised clause "%${letter}"`);
  }
}

function unfit(letter: string, value: unknown): CelError {
  return new CelError(`format: %${letter} cannot show a ${typeNameOf(value)}`);
}

function inBase(value: unknown, base: number, letter: string): string | Failure {
  if (typeof value === "bigint") return value.toString(base);
  return value instanceof Uint ? value.value.toString(base) : unfit(letter, value);
}

function hexadecimal(value: unknown, frame: Frame): string | Failure {
  if (typeof value !== "string" && !(value instanceof Uint8Array)) return inBase(value, 16, "x");
  return charge(frame, 1 + (value.length >> 5)) ? Buffer.from(value).toString("hex") : OUT_OF_WORK;
}

function numberOf(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  if (typeof value === "bigint") return Number(value);
  return value instanceof Uint ? Number(value.value) : undefined;
}

/** The shortest digits that are this number and no other, without an exponent. */
function decimal(number: number): string {
  if (Object.is(number, -0)) return "-0";
  const [mantissa = "", exponent] = String(number).split("e");
  if (exponent === undefined) return mantissa;
  const [whole = "", fraction = ""] = mantissa.replace("-", "").split(".");
  const digits = whole + fraction;
  const point = whole.length + Number(exponent);
  const text = point > 0 ? digits.padEnd(point, "0") : `0.${"0".repeat(-point)}${digits}`;
  return number < 0 ? `-${text}` : text;
}

/** Halves go to the even neighbour, as in Go; toFixed() rounds them up. */
function fixed(value: unknown, precision: number): string | Failure {
  const number = numberOf(value);
  if (number === undefined) return unfit("f", value);
  if (!Number.isFinite(number)) return String(number);
  if (Math.abs(number) >= 1e21) return `${BigInt(number)}${precision === 0 ? "" : `.${"0".repeat(precision)}`}`;
  const rounded = number.toFixed(precision);
  const exact = number.toFixed(Math.min(MAX_PRECISION, precision + 60));
  const rest = exact.slice(exact.indexOf(".") + 1 + precision);
  if (!/^50*$/.test(rest) || precision + 60 > MAX_PRECISION) return rounded;
  const down = exact.slice(0, exact.indexOf(".") + (precision === 0 ? 0 : 1 + precision));
  return Number(down.at(-1)) % 2 === 0 ? down : rounded;
}

function scientific(value: unknown, precision: number): string | Failure {
  const number = numberOf(value);
  if (number === undefined) return unfit("e", value);
  if (!Number.isFinite(number)) return String(number);
  const rounded = number.toExponential(precision);
  const [exact = "", exponent = ""] = number.toExponential(MAX_PRECISION).split("e");
  const kept = exact.indexOf(".") + (precision === 0 ? 0 : 1 + precision);
  const down = exact.slice(0, kept);
  const half = /^\.?50*$/.test(exact.slice(kept)) && Number(down.at(-1)) % 2 === 0;
  return (half ? `${down}e${exponent}` : rounded).replace(/e([+-])(\d)$/, "e$10$2");
}

/** A value as %s shows it; maps in the order of their keys' text. */
function display(value: unknown, frame: Frame): string | Failure {
  if (!charge(frame, 1)) return OUT_OF_WORK;
  if (value instanceof Failure) return value;
  if (value === null) return "null";
  if (typeof value === "number") return decimal(value);
  if (typeof value !== "object") return String(value);
  if (value instanceof Uint) return String(value.value);
  if (value instanceof Uint8Array) return textOfBytes(value);
  if (value instanceof Timestamp) return formatTimestamp(value);
  if (value instanceof Duration) return formatDuration(value);
  if (value instanceof TypeValue) return value.name;
  if (Array.isArray(value)) {
    const parts = displayAll(value, frame);
    return Array.isArray(parts) ? `[${parts.join(", ")}]` : parts;
  }
  if (!(value instanceof Map)) return unfit("s", value);
  const keys = displayAll(
    [...value.keys()].map((key) => keyIn(value, key)),
    frame,
  );
  const values = displayAll([...value.values()], frame);
  if (!Array.isArray(keys)) return keys;
  if (!Array.isArray(values)) return values;
  const entries = keys.map((key, index) => [key, values[index] ?? ""] as const);
  entries.sort(([a], [b]) => (a < b ? -1 : Number(a > b)));
  return `{${entries.map(([key, text]) => `${key}: ${text}`).join(", ")}}`;
}

function displayAll(values: readonly unknown[], frame: Frame): string[] | Failure {
  const parts: string[] = [];
  for (const value of values) {
    const text = display(value, frame);
    if (typeof text !== "string") return text;
    if (!charge(frame, text.length >> 6)) return OUT_OF_WORK;
    parts.push(text);
  }
  return parts;
}
