import type { Environment, RecordType } from "./environment.ts";
import { CelError, Failure, lookupKey, NONE, noOverload, Optional, Uint } from "./value.ts";

/** Fields of maps, records and optionals, elements of lists. */

/** Finds the record type of a value that is known as dyn only. */
export type RecordOf = (value: object) => { readonly name: string; readonly type: RecordType } | undefined;

const finders = new WeakMap<Environment, RecordOf>();

export function recordFinder(environment: Environment): RecordOf {
  let finder = finders.get(environment);
  if (finder === undefined) {
    finder = newRecordFinder(environment);
    finders.set(environment, finder);
  }
  return finder;
}

function newRecordFinder({ records }: Environment): RecordOf {
  const byClass = new Map<unknown, { readonly name: string; readonly type: RecordType }>();
  for (const [name, type] of records) {
    if (type.view !== undefined) byClass.set(type.view.prototype, { name, type });
  }
  return (value) => byClass.get(Object.getPrototypeOf(value));
}

/** The value of a field; undefined where there is none. */
function fieldIn(value: unknown, field: string, recordOf: RecordOf): unknown {
  if (value instanceof Map) return value.get(field);
  if (typeof value === "object" && value !== null && !(value instanceof Failure)) {
    const record = recordOf(value);
    if (record !== undefined) return record.type.fields.get(field)?.read(value);
  }
  return value instanceof Failure ? value : noOverload(`.${field}`, value);
}

/** `value.field`; undefined where there is none. */
export function select(value: unknown, field: string, recordOf: RecordOf): unknown {
  return value instanceof Optional ? optionalField(value, field, recordOf) : fieldIn(value, field, recordOf);
}

/** `value.?field`, and `.field` of an optional */
export function optionalField(value: unknown, field: string, recordOf: RecordOf): unknown {
  const inner = value instanceof Optional ? value.value : value;
  if (value instanceof Optional && inner === undefined) return NONE;
  return optionally(fieldIn(inner, field, recordOf));
}

/** `has(value.field)` */
export function hasField(value: unknown, field: string, recordOf: RecordOf): unknown {
  if (value instanceof Map) return value.has(field);
  const inner = value instanceof Optional ? value.value : value;
  if (value instanceof Optional && inner === undefined) return false;
  if (inner instanceof Map) return inner.has(field);
  const record = typeof inner === "object" && inner !== null ? recordOf(inner) : undefined;
  if (record !== undefined) return record.type.fields.get(field)?.read(inner) !== undefined;
  return noOverload(`has(.${field})`, inner);
}

function optionally(found: unknown): unknown {
  if (found === undefined) return NONE;
  return found instanceof Failure ? found : new Optional(found);
}

function indexOf(index: unknown): number | undefined {
  if (typeof index === "bigint") return Number(index);
  if (typeof index === "number") return Number.isInteger(index) ? index : undefined;
  return index instanceof Uint ? Number(index.value) : undefined;
}

/** An element; undefined where there is none. */
function elementIn(value: unknown, index: unknown): unknown {
  if (index instanceof Failure) return noOverload("_[_]", value, index);
  if (value instanceof Map) {
    const key = lookupKey(index);
    return key === undefined ? undefined : value.get(key);
  }
  if (!Array.isArray(value)) return noOverload("_[_]", value, index);
  const place = indexOf(index);
  return place === undefined ? noOverload("_[_]", value, index) : place < 0 ? undefined : value[place];
}

/** `value[index]` */
export function element(value: unknown, index: unknown): unknown {
  if (value instanceof Optional) return optionalElement(value, index);
  const found = elementIn(value, index);
  if (found !== undefined) return found;
  return new CelError(Array.isArray(value) ? `index out of range: ${String(indexOf(index))}` : "no such key");
}

/** `value[?index]`, and `[index]` of an optional */
export function optionalElement(value: unknown, index: unknown): unknown {
  const inner = value instanceof Optional ? value.value : value;
  if (index instanceof Failure) return noOverload("_[?_]", value, index);
  if (value instanceof Optional && inner === undefined) return NONE;
  return optionally(elementIn(inner, index));
}
