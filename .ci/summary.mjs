// Prints the last line of .ci/run from vitest's JSON report, and fails unless tests ran and everything passed.
import { readFileSync } from "node:fs";

const [file = "", steps = "0"] = process.argv.slice(2);
const { passed, failed, skipped } = count(file, Number(steps));
console.log(`\n${passed} passed, ${failed} failed${skipped === 0 ? "" : `, ${skipped} skipped`}`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;

/**
 * @param {string} path         vitest's JSON report; absent when vitest did not get that far
 * @param {number} failedSteps  among them the test run itself where tests failed
 */
function count(path, failedSteps) {
  try {
    const report = JSON.parse(readFileSync(path, "utf8"));
    const failedTests = report.numFailedTests;
    // A run that failed without a failed test (a file that did not load, an error outside the tests) is one failure.
    const besides = failedTests > 0 ? Math.max(0, failedSteps - 1) : failedSteps;
    return {
      passed: report.numPassedTests,
      failed: failedTests + besides,
      skipped: report.numPendingTests + report.numTodoTests,
    };
  } catch (error) {
    console.log(`No test report: ${error instanceof Error ? error.message : error}`);
    return { passed: 0, failed: Math.max(1, failedSteps), skipped: 0 };
  }
}
