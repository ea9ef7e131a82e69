import { element, hasField, optionalElement, optionalField, type RecordOf, select } from "./access.ts";
import type { Variable } from "./environment.ts";
import { interned } from "./interned.ts";
import { type Compiled, located, type Reader, type Run } from "./run.ts";
import { CelError, Failure } from "./value.ts";

/** Reading of variables, fields of records, keys of maps and elements of lists. */

export function readVariable(name: string, { read }: Variable): Run {
  if (read !== undefined) {
    return (activation) => {
      const value = read(activation);
      return value === undefined ? missing(name, undefined) : value;
    };
  }
  return (activation) => {
    const value: unknown = activation instanceof Map ? activation.get(name) : undefined;
    return value === undefined ? missing(name, undefined) : value;
  };
}

function missing(name: string, offset: number | undefined): CelError {
  return new CelError(`"${name}" is missing`, offset);
}

function noSuchKey(key: string, offset: number): CelError {
  return new CelError(`no such key: "${key}"`, offset);
}

/**
 * A field of a record whose type is known.
 *
 * @param name  for errors
 * @param variable  reads the operand, where that is a variable with a reader of its own
 */
export function readField(
  operand: Run,
  variable: Reader | undefined,
  field: Reader,
  name: string,
  offset: number,
): Compiled {
  if (variable === undefined) {
    return {
      run: (activation, frame) => {
        const record = operand(activation, frame);
        const value = field(record);
        if (value !== undefined) return value;
        return record instanceof Failure ? record : missing(name, offset);
      },
    };
  }
  return {
    run: (activation, frame) => {
      const record = variable(activation);
      const value = field(record);
      if (value !== undefined) return value;
      // A reader finds nothing in what is no record: a failure, or a variable that is missing.
      return record === undefined || record instanceof Failure ? operand(activation, frame) : missing(name, offset);
    },
    source: { kind: "field", variable, field },
  };
}

/** `has(record.field)`, where the type of the record is known. */
export function testField(operand: Run, field: Reader): Run {
  return (activation, frame) => {
    const record = operand(activation, frame);
    return record instanceof Failure ? record : field(record) !== undefined;
  };
}

export function testMember(operand: Run, field: string, recordOf: RecordOf, offset: number): Run {
  return (activation, frame) => located(hasField(operand(activation, frame), field, recordOf), offset);
}

/** `operand.field`, and `operand["field"]` of a map; `variable` as for `readField`. */
export function readMember(
  operand: Run,
  variable: Reader | undefined,
  field: string,
  recordOf: RecordOf,
  offset: number,
): Compiled {
  const general: Run = (activation, frame) => {
    const target = operand(activation, frame);
    if (target instanceof Map) {
      const value: unknown = target.get(field);
      return value === undefined ? noSuchKey(field, offset) : value;
    }
    const found = select(target, field, recordOf);
    return found === undefined ? noSuchKey(field, offset) : located(found, offset);
  };
  if (variable === undefined) return { run: general };
  const key = interned(field);
  const run: Run = (activation, frame) => {
    const target = variable(activation);
    if (!(target instanceof Map)) return general(activation, frame);
    const value: unknown = target.get(key);
    return value === undefined ? noSuchKey(key, offset) : value;
  };
  return { run, source: { kind: "key", variable, key } };
}

/** `operand["key"]`, where it is not known that the operand is a map. */
export function readKey(operand: Run, key: string, offset: number): Run {
  return (activation, frame) => {
    const value = operand(activation, frame);
    if (!(value instanceof Map)) return located(element(value, key), offset);
    const found: unknown = value.get(key);
    return found === undefined ? noSuchKey(key, offset) : found;
  };
}

/** `operand[index]` */
export function readElement(operand: Run, index: Run, offset: number): Run {
  return (activation, frame) => located(element(operand(activation, frame), index(activation, frame)), offset);
}

/** `operand[?index]` */
export function readOptionalElement(operand: Run, index: Run, offset: number): Run {
  return (activation, frame) => located(optionalElement(operand(activation, frame), index(activation, frame)), offset);
}

/** `operand.?field` */
export function readOptionalField(operand: Run, field: string, recordOf: RecordOf, offset: number): Run {
  return (activation, frame) => located(optionalField(operand(activation, frame), field, recordOf), offset);
}
