import { expect, it } from "vitest";
import { recordName, recordNumber } from "./record.ts";

it.each([1, 42, Number.MAX_SAFE_INTEGER])("finds the number %d in the name of its record", (number) => {
  expect(recordNumber(recordName(number))).toBe(number);
});

it.each([
  recordName(0),
  // Above the largest safe integer.
  "9999999999999999.json",
  "42.json",
  `${recordName(42)}.tmp`,
  ` ${recordName(42)}`,
])("finds no number in %j", (name) => {
  expect(recordNumber(name)).toBeUndefined();
});
