import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { failureLines } from "../cli/policy-test-report.ts";
import { runPolicyTests } from "../cli/policy-test-run.ts";
import { compileSound } from "../cli/test.ts";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const EXAMPLES = [
  "canary-by-score",
  "eu-residency",
  "health-data",
  "older-version-fallback",
  "plain-microservices",
  "tenant-isolation",
];

describe.each(EXAMPLES)("the example %s", (name) => {
  it("decides as its tests say, and they cover every rule", async () => {
    const run = runPolicyTests(await compileSound(`${HERE}${name}/resources`), { monotonic: () => 0 });
    expect(run.cases.flatMap(failureLines)).toEqual([]);
    expect(run.cases.length).toBeGreaterThan(2);
    expect(run.coverage.rules.filter(({ covered }) => !covered).map(({ rule }) => rule)).toEqual([]);
  });
});

it("lists every example in the README, and tests all but the quick start", async () => {
  const entries = await readdir(HERE, { withFileTypes: true });
  const directories = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  expect(directories.sort()).toEqual([...EXAMPLES, "quickstart"].sort());
  const readme = await readFile(`${HERE}README.md`, "utf8");
  for (const name of directories) expect(readme).toContain(`[\`${name}\`](${name}/`);
});
