import { typeValue } from "./conversions.ts";
import { putEntry } from "./functions.ts";
import { formatDuration, formatTimestamp, parseDuration, parseTimestamp } from "./time.ts";
import { DYN, listOf, mapOf, NAMED_TYPES, NULL, type Primitive, parametersOf, type Type, typeOf } from "./type.ts";
import { CelError, Duration, Failure, keyIn, Optional, Timestamp, TypeValue, Uint, UintKeyMap } from "./value.ts";

/** Values and types as proto JSON of cel.expr.Value (value.proto) and cel.expr.Type (checked.proto). */

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
export type JsonObject = { readonly [name: string]: Json };

/** Nesting of a value or type that is read or written. */
const MAX_DEPTH = 200;

/** What does not have the form; does not leave the functions that read. */
export class FormProblem extends Error {}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function objectIn(value: unknown, what: string): JsonObject {
  if (!isObject(value)) throw new FormProblem(`${what} is no object`);
  return value;
}

/** A field by its JSON name or its name in the .proto file. */
export function fieldOf(object: JsonObject, name: string): Json | undefined {
  if (Object.hasOwn(object, name)) return object[name];
  const original = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.hasOwn(object, original) ? object[original] : undefined;
}

export function listIn(value: Json | undefined, what: string): readonly Json[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new FormProblem(`${what} is no list`);
  return value;
}

export function textIn(value: Json | undefined, what: string): string {
  if (value === undefined || value === null) return "";
  if (typeof value !== "string") throw new FormProblem(`${what} is no string`);
  return value;
}

/** false where there is none. */
export function flagIn(value: Json | undefined, what: string): boolean {
  if (value === undefined || value === null) return false;
  if (typeof value !== "boolean") throw new FormProblem(`${what} is no bool`);
  return value;
}

/** Also with an exponent or a fraction of zero, as proto JSON takes them. */
function integer(value: Json, what: string): bigint {
  const text = typeof value === "number" ? String(value) : value;
  if (typeof text === "string" && /^-?\d{1,20}$/.test(text)) return BigInt(text);
  if (typeof text === "string" && /^-?\d{1,20}(?:\.\d{1,20})?(?:[eE][+-]?\d{1,3})?$/.test(text)) {
    const number = Number(text);
    if (Number.isSafeInteger(number)) return BigInt(number);
  }
  throw new FormProblem(`${what} is no integer`);
}

function double(value: Json): number {
  if (typeof value === "number") return value;
  if (value === "NaN" || value === "Infinity" || value === "-Infinity") return Number(value);
  if (typeof value === "string" && value.trim() !== "" && !Number.isNaN(Number(value))) return Number(value);
  throw new FormProblem("doubleValue is no number");
}

function bytes(value: Json): Uint8Array {
  if (typeof value !== "string" || !/^[A-Za-z0-9+/_-]*={0,2}$/.test(value))
    throw new FormProblem("bytesValue is no base64");
  return Uint8Array.from(Buffer.from(value, "base64"));
}

function boolean(value: Json): boolean {
  if (typeof value !== "boolean") throw new FormProblem("boolValue is no bool");
  return value;
}

function ranged<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new FormProblem(`${what} is out of range`);
  return value;
}

function int64(value: Json): bigint {
  const number = integer(value, "int64Value");
  return ranged(BigInt.asIntN(64, number) === number ? number : undefined, "int64Value");
}

function uint64(value: Json): Uint {
  const number = integer(value, "uint64Value");
  return ranged(BigInt.asUintN(64, number) === number ? new Uint(number) : undefined, "uint64Value");
}

/** @throws FormProblem */
export function valueFromJson(json: unknown, depth = 0): unknown {
  if (depth > MAX_DEPTH) throw new FormProblem("the value is nested too deep");
  const object = objectIn(json, "a value");
  const [name, ...others] = Object.keys(object);
  const held = name === undefined ? undefined : object[name];
  if (name === undefined || held === undefined || others.length > 0) throw new FormProblem("a value has one kind");
  switch (name.replace(/_[a-z]/g, (part) => part.slice(1).toUpperCase())) {
    case "nullValue":
      return null;
    case "boolValue":
      return boolean(held);
    case "int64Value":
      return int64(held);
    case "uint64Value":
      return uint64(held);
    case "doubleValue":
      return double(held);
    case "stringValue":
      return textIn(held, "stringValue");
    case "bytesValue":
      return bytes(held);
    case "typeValue":
      return typeValue(textIn(held, "typeValue"));
    case "listValue":
      return listIn(fieldOf(objectIn(held, "listValue"), "values"), "values").map((each) =>
        valueFromJson(each, depth + 1),
      );
    case "mapValue":
      return mapFromJson(objectIn(held, "mapValue"), depth);
    case "enumValue":
      return int64(fieldOf(objectIn(held, "enumValue"), "value") ?? 0);
    case "objectValue":
      return messageFromJson(objectIn(held, "objectValue"), depth);
    default:
      throw new FormProblem(`"${name}" is no kind of value that is read`);
  }
}

/** A cel.expr.Constant (syntax.proto): a value, or a time in a field of its own. @throws FormProblem */
export function constantFromJson(json: JsonObject): unknown {
  const duration = fieldOf(json, "durationValue");
  if (duration !== undefined) return timeFromJson("google.protobuf.Duration", duration);
  const timestamp = fieldOf(json, "timestampValue");
  return timestamp === undefined ? valueFromJson(json) : timeFromJson("google.protobuf.Timestamp", timestamp);
}

function timeFromJson(name: "google.protobuf.Duration" | "google.protobuf.Timestamp", json: Json | undefined): unknown {
  const text = textIn(json, name);
  const read = name === "google.protobuf.Timestamp" ? parseTimestamp(text) : parseDuration(text);
  if (read instanceof Failure) throw new FormProblem(read.message);
  return read;
}

function mapFromJson(json: JsonObject, depth: number): UintKeyMap {
  const map = new UintKeyMap();
  for (const each of listIn(fieldOf(json, "entries"), "entries")) {
    const entry = objectIn(each, "an entry");
    const key = valueFromJson(entry.key, depth + 1);
    const failure = putEntry(map, key, valueFromJson(entry.value, depth + 1));
    if (failure !== undefined) throw new FormProblem(failure.message);
  }
  return map;
}

/** A google.protobuf.Any of a type that is no message to CEL. */
function messageFromJson(json: JsonObject, depth: number): unknown {
  if (depth > MAX_DEPTH) throw new FormProblem("the value is nested too deep");
  const name = textIn(json["@type"], "@type").replace(/^.*\//, "");
  const { value } = json;
  if (name === "google.protobuf.Any") return messageFromJson(objectIn(value, name), depth + 1);
  if (name === "google.protobuf.Timestamp" || name === "google.protobuf.Duration") {
    return timeFromJson(name, value);
  }
  const type = NAMED_TYPES.get(name);
  if (type?.kind === "wrapper" && value !== undefined) {
    const kind = { bool: "boolValue", int: "int64Value", uint: "uint64Value", double: "doubleValue" };
    const texts = { string: "stringValue", bytes: "bytesValue" };
    return valueFromJson({ [{ ...kind, ...texts }[type.of]]: value });
  }
  if (type !== undefined && value !== undefined) return plainFromJson(value, 0);
  throw new FormProblem(`values of type "${name}" cannot be read`);
}

/** google.protobuf.Value, Struct and ListValue: JSON as it is. */
export function plainFromJson(json: unknown, depth: number): unknown {
  if (depth > MAX_DEPTH) throw new FormProblem("the value is nested too deep");
  if (json === null || typeof json === "boolean" || typeof json === "number" || typeof json === "string") return json;
  if (Array.isArray(json)) return json.map((each) => plainFromJson(each, depth + 1));
  return new Map(
    Object.entries(objectIn(json, "a value")).map(([name, each]) => [name, plainFromJson(each, depth + 1)]),
  );
}

/** How much of a value is written: a list can hold itself many times over. */
class Room {
  /** About what the JSON has in characters. */
  #left = 64 * 1024 * 1024;

  /** Whether there is room for `characters` more. */
  take(characters: number): boolean {
    this.#left -= characters;
    return this.#left >= 0;
  }
}

/** Characters around a value. */
const AROUND = 64;
const TOO_LARGE = new CelError("the value is too large to be written");

/** @returns a CelError for what cel.expr.Value has no form for, and for what is nested too deep or too large */
export function valueToJson(value: unknown, depth = 0, room = new Room()): JsonObject | CelError {
  if (depth > MAX_DEPTH) return new CelError("the value is nested too deep");
  if (!room.take(AROUND)) return TOO_LARGE;
  switch (typeof value) {
    case "boolean":
      return { boolValue: value };
    case "bigint":
      return { int64Value: value.toString() };
    case "number":
      return { doubleValue: Number.isFinite(value) ? value : String(value) };
    case "string":
      return room.take(value.length) ? { stringValue: value } : TOO_LARGE;
  }
  if (value === null) return { nullValue: null };
  if (value instanceof Uint) return { uint64Value: value.value.toString() };
  if (value instanceof Uint8Array) {
    return room.take(value.length) ? { bytesValue: Buffer.from(value).toString("base64") } : TOO_LARGE;
  }
  if (value instanceof TypeValue) return { typeValue: value.name };
  if (value instanceof Timestamp) return anyOf("Timestamp", inThrees(formatTimestamp(value)));
  if (value instanceof Duration) return anyOf("Duration", inThrees(formatDuration(value)));
  if (Array.isArray(value)) {
    const values = allToJson(value, depth, room);
    return values instanceof CelError ? values : { listValue: { values } };
  }
  if (!(value instanceof Map)) {
    return new CelError(`${value instanceof Optional ? "an optional" : "the value"} has no form as a cel.expr.Value`);
  }
  const keys = allToJson(
    [...value.keys()].map((key) => keyIn(value, key)),
    depth,
    room,
  );
  const values = allToJson([...value.values()], depth, room);
  if (keys instanceof CelError) return keys;
  if (values instanceof CelError) return values;
  return { mapValue: { entries: keys.map((key, index) => ({ key, value: values[index] ?? null })) } };
}

/** Proto JSON writes fractions of a second with three, six or nine digits. */
function inThrees(time: string): string {
  return time.replace(
    /\.(\d+)/,
    (_whole, digits: string) => `.${digits.padEnd(Math.ceil(digits.length / 3) * 3, "0")}`,
  );
}

function anyOf(name: string, value: string): JsonObject {
  return { objectValue: { "@type": `type.googleapis.com/google.protobuf.${name}`, value } };
}

function allToJson(values: readonly unknown[], depth: number, room: Room): readonly JsonObject[] | CelError {
  const all: JsonObject[] = [];
  for (const value of values) {
    const json = valueToJson(value, depth + 1, room);
    if (json instanceof CelError) return json;
    all.push(json);
  }
  return all;
}

const PRIMITIVES: ReadonlyMap<Json, Primitive> = new Map<Json, Primitive>([
  ["BOOL", "bool"],
  [1, "bool"],
  ["INT64", "int"],
  [2, "int"],
  ["UINT64", "uint"],
  [3, "uint"],
  ["DOUBLE", "double"],
  [4, "double"],
  ["STRING", "string"],
  [5, "string"],
  ["BYTES", "bytes"],
  [6, "bytes"],
]);
const PRIMITIVE_NAMES: ReadonlyMap<Primitive, string> = new Map(
  [...PRIMITIVES].flatMap(([name, type]) => (typeof name === "string" ? [[type, name] as const] : [])),
);
const WELL_KNOWN: ReadonlyMap<Json, Type> = new Map<Json, Type>([
  ["ANY", { kind: "any" }],
  [1, { kind: "any" }],
  ["TIMESTAMP", { kind: "timestamp" }],
  [2, { kind: "timestamp" }],
  ["DURATION", { kind: "duration" }],
  [3, { kind: "duration" }],
]);

/** @throws FormProblem */
export function typeFromJson(json: unknown, depth = 0): Type {
  if (depth > MAX_DEPTH) throw new FormProblem("the type is nested too deep");
  const object = objectIn(json, "a type");
  const inner = (each: Json | undefined) => (each === undefined ? DYN : typeFromJson(each, depth + 1));
  const [name] = Object.keys(object);
  if (name === undefined) return { kind: "type" };
  const held = object[name] ?? null;
  switch (name.replace(/_[a-z]/g, (part) => part.slice(1).toUpperCase())) {
    case "dyn":
      return DYN;
    case "error":
      return { kind: "error" };
    case "null":
      return NULL;
    case "primitive":
      return { kind: ranged(PRIMITIVES.get(held), "primitive") };
    case "wrapper":
      return { kind: "wrapper", of: ranged(PRIMITIVES.get(held), "wrapper") };
    case "wellKnown":
      return ranged(WELL_KNOWN.get(held), "wellKnown");
    case "listType":
      return listOf(inner(fieldOf(objectIn(held, "listType"), "elemType")));
    case "mapType": {
      const map = objectIn(held, "mapType");
      return mapOf(inner(fieldOf(map, "keyType")), inner(fieldOf(map, "valueType")));
    }
    case "messageType": {
      const type = textIn(held, "messageType");
      return NAMED_TYPES.get(type) ?? { kind: "record", name: type };
    }
    case "typeParam":
      return { kind: "param", name: textIn(held, "typeParam") };
    case "type": {
      const of = objectIn(held, "type");
      return Object.keys(of).length === 0 ? { kind: "type" } : typeOf(inner(of));
    }
    case "abstractType": {
      const type = objectIn(held, "abstractType");
      const parameters = listIn(fieldOf(type, "parameterTypes"), "parameterTypes").map(inner);
      return { kind: "opaque", name: textIn(type.name, "name"), parameters };
    }
    default:
      throw new FormProblem(`"${name}" is no kind of type that is read`);
  }
}

export function typeToJson(type: Type): JsonObject {
  switch (type.kind) {
    case "dyn":
    case "error":
      return { [type.kind]: {} };
    case "null":
      return { null: null };
    case "any":
    case "timestamp":
    case "duration":
      return { wellKnown: type.kind.toUpperCase() };
    case "list":
      return { listType: { elemType: typeToJson(type.element) } };
    case "map":
      return { mapType: { keyType: typeToJson(type.key), valueType: typeToJson(type.value) } };
    case "type":
      return { type: type.of === undefined ? {} : typeToJson(type.of) };
    case "wrapper":
      return { wrapper: PRIMITIVE_NAMES.get(type.of) ?? "" };
    case "param":
      return { typeParam: type.name };
    case "record":
      return { messageType: type.name };
    case "opaque":
      return { abstractType: { name: type.name, parameterTypes: parametersOf(type).map(typeToJson) } };
    default:
      return { primitive: PRIMITIVE_NAMES.get(type.kind) ?? "" };
  }
}
