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
    return (activation, frame) => located(unary(first(activation, frame), frame), offset);
  }
  if (binary !== undefined && operands.length === 2 && first !== undefined && second !== undefined) {
    return (activation, frame) => located(binary(first(activation, frame), second(activation, frame), frame), offset);
  }
  if (variadic !== undefined && arities?.includes(operands.length) === true) {
    return (activation, frame) =>
      located(
        variadic(
          operands.map((run) => run(activation, frame)),
          frame,
        ),
        offset,
      );
  }
  return (activation, frame) => located(noOverload(name, ...operands.map((run) => run(activation, frame))), offset);
}

/** `type(x)`, which knows the records of the environment as well. */
export function typeCall(operand: Run, recordOf: RecordOf): Run {
  return (activation, frame) => {
    const value = operand(activation, frame);
    if (value instanceof Failure) return value;
    const record = typeof value === "object" && value !== null ? recordOf(value) : undefined;
    return record === undefined ? toType(value) : typeValue(record.name);
  };
}
