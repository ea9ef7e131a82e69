import { expect, test } from "vitest";
import { displayValue } from "./display.ts";
import { evaluateText, readVariables } from "./evaluate.ts";
import { formatType } from "./type.ts";

/** What the suites of cel-spec leave open, as cel-go answers it. */

function answer(source: string): string {
  const result = evaluateText(source, readVariables('{"l": [3, 1, 2], "s": "x"}'));
  return result.ok ? `${displayValue(result.value)} ${formatType(result.type)}` : (result.problems[0]?.message ?? "");
}

test.each([
  // Types where an operand leaves them open: the first overload that can be meant.
  ["math.greatest(1, 2, 3)", "3 int"],
  ["math.least([1.5, 2.5])", "1.5 double"],
  ["math.greatest([1, 2.5])", "2.5 dyn"],
  ["[].sort()", "[] list(int)"],
  ["[].map(e, e + e)", "[] list(bytes)"],
  ["[].map(e, math.sign(e))", "[] list(double)"],
  ["optional_type", "optional_type type(optional_type)"],
  // Numbers.
  ["math.greatest(1.0, 0.0 / 0.0)", "NaN is neither greater nor less than anything"],
  ["math.least(0.0 / 0.0)", "NaN double"],
  ["math.sign(-0.0)", "0.0 double"],
  ["string(-0.0)", '"-0" string'],
  ["'%d|%d|%d'.format([1.5, 1e21, -2.5e-7])", '"1.5|1000000000000000000000|-0.00000025" string'],
  ["'%s %s'.format([1e300 / 1e279, -0.0])", '"1000000000000000000000 -0" string'],
  ["'%.0e %.0e %.1e'.format([2.5, 3.5, 1.25])", '"2e+00 4e+00 1.2e+00" string'],
  ["'%.0f %.0f %.2f'.format([2.5, 3.5, 0.125])", '"2 4 0.12" string'],
  // A number alone does not say of what it is a span.
  ["duration(dyn(5))", "no such overload: duration(int)"],
  // What is left out is still evaluated.
  ["{?string(1 / 0): optional.none()}", "division by zero"],
  ["{?'a': optional.none(), ?'b': optional.of(1)}", '{"b": 1} map(string, int)'],
])("%s is %s", (source, wanted) => {
  expect(answer(source)).toBe(wanted);
});

test.each([
  ["math.greatest([])", "math.greatest() takes numbers, or one list of them"],
  ["duration(5)", 'no such overload: no matching overload for "duration" applied to (int)'],
])("%s is refused by the check", (source, message) => {
  expect(answer(source)).toContain(message);
});

test("a long expression with open types is checked without going over what is known again and again", () => {
  const equalities = `${"dyn(s) == 'x' && ".repeat(3_000)}true`;
  expect(answer(equalities)).toBe("true bool");
  expect(answer(`[${"[], ".repeat(4_000)}[1]].size()`)).toBe("4001 int");
});
