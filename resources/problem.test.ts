import { expect, test } from "vitest";
import { formatProblem } from "./problem.ts";

test("what stands in a file name or a key forges no line and no colour", () => {
  const lines = formatProblem({
    severity: "error",
    code: "unknown-field",
    message: 'unknown field "x\u001b[31m\nother.yaml:1:1: error: forged"',
    hint: "did you mean \u202etxet?",
    scope: ".",
    at: { file: "a\u0007\nb.yaml", line: 3, column: 1 },
  });
  expect(lines).toBe(
    'a\\u0007\\u000ab.yaml:3:1: error: unknown field "x\\u001b[31m\\u000aother.yaml:1:1: error: forged" [unknown-field]\n' +
      "    hint: did you mean \\u202etxet?",
  );
});
