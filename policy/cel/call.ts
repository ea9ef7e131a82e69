import type { RecordOf } from "./access.ts";
import { toType, typeValue } from "./conversions.ts";
import type { Implementation } from "./functions.ts";
import { located, type Run } from "./run.ts";
import { Failure, noOverload } from "./value.ts";

/** Calls of functions that evaluate all their operands. */

export function apply(
  name: string,
  { unary, binary, variadic, arities }: Implementation,
  operands: readonly Run[],
  offset: number,
): Run {
  const [first, second] = operands;
  if (unary !== undefined && operands.length === 1 && first !== undefined) {
    return (frame) => located(unary(first(frame), frame), offset);
  }
  if (binary !== undefined && operands.length === 2 && first !== undefined && second !== undefined) {
    return (frame) => located(binary(first(frame), second(frame), frame), offset);
  }
  if (variadic !== undefined && arities?.includes(operands.length) === true) {
    return (frame) =>
      located(
        variadic(
          operands.map((run) => run(frame)),
          frame,
        ),
        offset,
      );
  }
  return (frame) => located(noOverload(name, ...operands.map((run) => run(frame))), offset);
}

/** `type(x)`, which knows the records of the environment as well. */
export function typeCall(operand: Run, recordOf: RecordOf): Run {
  return (frame) => {
    const value = operand(frame);
    if (value instanceof Failure) return value;
    const record = typeof value === "object" && value !== null ? recordOf(value) : undefined;
    return record === undefined ? toType(value) : typeValue(record.name);
  };
}
