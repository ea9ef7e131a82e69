import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";

const summary = fileURLToPath(new URL("../.ci/summary.mjs", import.meta.url));

async function summarise(report: object | undefined, failedSteps: number) {
  const folder = await mkdtemp(join(tmpdir(), "chancery-summary-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, "report.json");
  if (report !== undefined) await writeFile(file, JSON.stringify(report));
  return new Promise((resolve) => {
    execFile(process.execPath, [summary, file, String(failedSteps)], (error, stdout) => {
      resolve({ green: error === null, last: stdout.trimEnd().split("\n").at(-1) });
    });
  });
}

const report = (passed: number, failed: number, skipped: number) => ({
  numPassedTests: passed,
  numFailedTests: failed,
  numPendingTests: skipped,
  numTodoTests: 0,
});

test.each([
  { what: "all passed", report: report(7, 0, 0), steps: 0, green: true, last: "7 passed, 0 failed" },
  { what: "some skipped", report: report(7, 0, 2), steps: 0, green: true, last: "7 passed, 0 failed, 2 skipped" },
  { what: "a test failed", report: report(6, 1, 0), steps: 1, green: false, last: "6 passed, 1 failed" },
  { what: "a check failed", report: report(7, 0, 0), steps: 1, green: false, last: "7 passed, 1 failed" },
  { what: "a test and a check failed", report: report(6, 1, 0), steps: 2, green: false, last: "6 passed, 2 failed" },
  { what: "no test ran", report: report(0, 0, 3), steps: 0, green: false, last: "0 passed, 0 failed, 3 skipped" },
  { what: "there is no report", report: undefined, steps: 1, green: false, last: "0 passed, 1 failed" },
])("the last line of .ci/run when $what", async ({ report, steps, green, last }) => {
  expect(await summarise(report, steps)).toEqual({ green, last });
});
