import { configDefaults, defineConfig } from "vitest/config";

/** Tests that run many processes, real Envoys among them, and look at how they behave under load. */
const WHOLE_MACHINE = [
  "test/e2e/**/*.test.ts",
  "test/resilience/**/*.test.ts",
  "**/envoy.test.ts",
  "cli/start.test.ts",
  "examples/quickstart/start.test.ts",
];
const NEVER = [...configDefaults.exclude, ".tools/**", ".chancery/**", "dist/**"];

export default defineConfig({
  test: {
    testTimeout: 30_000,
    hookTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: "units",
          include: ["**/*.test.ts"],
          exclude: [...NEVER, ...WHOLE_MACHINE],
          // Loading Envoy's whole API again for each file takes longer than the tests. What a test leaves behind in a
          // module is met by the next one: modules keep caches, nothing else.
          isolate: false,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        // One at a time and after the others: two loads on one small machine would measure each other.
        test: {
          name: "whole",
          include: WHOLE_MACHINE,
          exclude: NEVER,
          maxWorkers: 1,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
