import { type CompiledSplit, type SplitReader, stickyKeyOf } from "./assignments.ts";
import { isUnknown } from "./expression.ts";
import { FieldSource } from "./fields.ts";
import { type Frame, type Session, valueFor } from "./session.ts";
import { defaultUnit, type StickyKey } from "./sticky-key.ts";

/** Reads what splits ask of the request of a session. Errors are counted against the split. */
export function splitReader(session: Session, frame: Frame): SplitReader {
  const { input, trace, recorder } = session;
  return {
    scope: input.application.scope,
    now: input.now,
    holds({ id }, condition) {
      const value = valueFor(session, condition, frame);
      if (typeof value === "boolean") return value;
      trace.fail(id, isUnknown(value) ? value.unknown : `the result is ${value}, not a bool`);
      return undefined;
    },
    unit(split) {
      const key = stickyKeyOf(split, input);
      // Of the unit itself only its arm is noted: else each would have verdicts of its own.
      recorder?.note(split.part);
      const unit = key === undefined ? defaultUnit(input) : unitBy(session, split, key, frame);
      return unit === "" ? undefined : unit;
    },
  };
}

function unitBy(session: Session, split: CompiledSplit, key: StickyKey, frame: Frame): string | undefined {
  const read = key.read(new FieldSource(session.input));
  if (read === undefined) session.recorder?.note(undefined);
  if (typeof read === "string") return read;
  const value = key.expression.evaluate(frame.context);
  if (typeof value === "string") return value;
  const message = isUnknown(value) ? value.unknown : `the result is ${value}, not a string`;
  session.trace.fail(split.id, `stickyKey: ${message}`);
  return undefined;
}
