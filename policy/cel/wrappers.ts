import { CelError, Failure, noOverload, Uint } from "./value.ts";

/** google.protobuf.Int32Value{value: 1} and its kin: a number, string and so on like any other, or null. */

interface Wrapper {
  readonly zero: unknown;
  /** The value as it is held; undefined for one of another type. */
  readonly hold: (value: unknown) => unknown;
}

const RANGE = new CelError("the value does not fit the field");

function bounded(low: bigint, high: bigint): (value: unknown) => unknown {
  return (value) => {
    if (typeof value !== "bigint") return undefined;
    return value < low || value > high ? RANGE : value;
  };
}

function boundedUint(high: bigint): (value: unknown) => unknown {
  return (value) => {
    if (!(value instanceof Uint)) return undefined;
    return value.value > high ? RANGE : value;
  };
}

const WRAPPERS: ReadonlyMap<string, Wrapper> = new Map<string, Wrapper>([
  ["BoolValue", { zero: false, hold: (value) => (typeof value === "boolean" ? value : undefined) }],
  ["BytesValue", { zero: new Uint8Array(), hold: (value) => (value instanceof Uint8Array ? value : undefined) }],
  ["DoubleValue", { zero: 0, hold: (value) => (typeof value === "number" ? value : undefined) }],
  ["FloatValue", { zero: 0, hold: (value) => (typeof value === "number" ? Math.fround(value) : undefined) }],
  ["Int32Value", { zero: 0n, hold: bounded(-(2n ** 31n), 2n ** 31n - 1n) }],
  ["Int64Value", { zero: 0n, hold: bounded(-(2n ** 63n), 2n ** 63n - 1n) }],
  ["StringValue", { zero: "", hold: (value) => (typeof value === "string" ? value : undefined) }],
  ["UInt32Value", { zero: new Uint(0n), hold: boundedUint(2n ** 32n - 1n) }],
  ["UInt64Value", { zero: new Uint(0n), hold: boundedUint(2n ** 64n - 1n) }],
]);

const PREFIX = "google.protobuf.";

/** @param name  full name of the message type */
export function makeWrapper(name: string, fields: ReadonlyMap<string, unknown>): unknown {
  if (name === `${PREFIX}Value` && fields.size === 0) return null;
  const wrapper = name.startsWith(PREFIX) ? WRAPPERS.get(name.slice(PREFIX.length)) : undefined;
  if (wrapper === undefined) return new CelError(`"${name}" is not a message type that can be made`);
  if (fields.size === 0) return wrapper.zero;
  if (fields.size > 1 || !fields.has("value")) return new CelError(`${name} has the field "value" only`);
  const value = fields.get("value");
  if (value instanceof Failure) return value;
  return wrapper.hold(value) ?? noOverload(name, value);
}
