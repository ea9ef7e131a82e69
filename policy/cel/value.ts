/**
 * The values of CEL in JavaScript:
 *
 * | CEL | JavaScript |
 * |---|---|
 * | bool, string, null, bytes | boolean, string, null, Uint8Array |
 * | int | bigint within 64 bits, so that it is told from a double without a box |
 * | uint | `Uint` |
 * | double | number |
 * | list | array |
 * | map | `Map` with keys string, boolean and bigint; `UintKeyMap` where a key is a uint |
 * | timestamp, duration | `Timestamp`, `Duration` |
 * | type, optional | `TypeValue`, `Optional` |
 *
 * Errors and unknowns are values as well (`Failure`), and nothing is thrown. Values are never written to once made.
 */

/** No value: an error, or something that is not known. */
export abstract class Failure {
  readonly message: string;
  /** Where in the source, in UTF-16 units; undefined until an operator has passed it on. */
  readonly offset: number | undefined;

  constructor(message: string, offset?: number) {
    this.message = message;
    this.offset = offset;
  }

  /** The same at `offset`, unless it has a place. */
  abstract at(offset: number): Failure;
}

export class CelError extends Failure {
  at(offset: number): CelError {
    return this.offset === undefined ? new CelError(this.message, offset) : this;
  }
}

/** Something is there and cannot be read. Stronger than an error: it may be anything. */
export class Unknown extends Failure {
  at(offset: number): Unknown {
    return this.offset === undefined ? new Unknown(this.message, offset) : this;
  }
}

export const OUT_OF_WORK = new CelError("the expression costs more than is allowed");
export const INT_OVERFLOW = new CelError("integer overflow");
export const UINT_OVERFLOW = new CelError("unsigned integer overflow");

export class Uint {
  readonly value: bigint;

  constructor(value: bigint) {
    this.value = value;
  }
}

export class TypeValue {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

export class Optional {
  /** undefined: there is none. */
  readonly value: unknown;

  constructor(value: unknown) {
    this.value = value;
  }
}

export const NONE = new Optional(undefined);

/** A point in time. `nanos` is in [0, 999999999] and counts forward, also before 1970. */
export class Timestamp {
  /** Since 1970-01-01T00:00:00Z. */
  readonly seconds: number;
  readonly nanos: number;

  constructor(seconds: number, nanos: number) {
    this.seconds = seconds;
    this.nanos = nanos;
  }
}

/** A span of time: `seconds` + `nanos` / 10⁹, with `nanos` in [0, 999999999] also where `seconds` is below 0. */
export class Duration {
  readonly seconds: number;
  readonly nanos: number;

  constructor(seconds: number, nanos: number) {
    this.seconds = seconds;
    this.nanos = nanos;
  }
}

export type MapKey = string | boolean | bigint;

/** A map some of whose keys are of type uint. They are bigint inside, because 1 and 1u are one key. */
export class UintKeyMap extends Map<MapKey, unknown> {
  readonly uints = new Set<bigint>();
}

/** The key as CEL sees it. */
export function keyIn(map: ReadonlyMap<unknown, unknown>, key: unknown): unknown {
  return typeof key === "bigint" && map instanceof UintKeyMap && map.uints.has(key) ? new Uint(key) : key;
}

/** The key as a `Map` holds it: numbers that are equal are one key. Undefined for what is no key of any map. */
export function lookupKey(key: unknown): MapKey | undefined {
  switch (typeof key) {
    case "string":
    case "boolean":
    case "bigint":
      return key;
    case "number":
      return Number.isInteger(key) ? BigInt(key) : undefined;
    default:
      return key instanceof Uint ? key.value : undefined;
  }
}

/** Name of the type of a value, as `type(value)` has it. */
export function typeNameOf(value: unknown): string {
  switch (typeof value) {
    case "boolean":
      return "bool";
    case "bigint":
      return "int";
    case "number":
      return "double";
    case "string":
      return "string";
    case "object":
      return objectTypeName(value);
    default:
      return typeof value;
  }
}

function objectTypeName(value: object | null): string {
  if (value === null) return "null_type";
  if (Array.isArray(value)) return "list";
  if (value instanceof Map) return "map";
  if (value instanceof Uint) return "uint";
  if (value instanceof Uint8Array) return "bytes";
  if (value instanceof Timestamp) return "google.protobuf.Timestamp";
  if (value instanceof Duration) return "google.protobuf.Duration";
  if (value instanceof TypeValue) return "type";
  if (value instanceof Optional) return "optional_type";
  return "object";
}

/** No function of this name takes these operands; or what is wrong with the first of them that is a failure. */
export function noOverload(name: string, ...operands: readonly unknown[]): Failure {
  let failure: Failure | undefined;
  for (const operand of operands) {
    if (operand instanceof Unknown) return operand;
    if (operand instanceof Failure) failure ??= operand;
  }
  return failure ?? new CelError(`no such overload: ${name}(${operands.map(typeNameOf).join(", ")})`);
}
