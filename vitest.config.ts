import { configDefaults, defineConfig } from "vitest/config";

const e2e = (name: string): string => `test/e2e/${name}.test.ts`;

/**
 * Tests that ask real processes, Envoys among them, what they answer: none puts a load on them, measures time, or uses a
 * port or file that another could. Two at a time, since most of what they do is to wait for processes to start.
 */
const FUNCTIONAL = [
  "**/envoy.test.ts",
  ...["endpoints", "false-decisions", "grpc-xds", "identity", "mutual-tls", "older-envoys", "paths"].map(e2e),
  ...["reduced-plan", "splits", "spoofing", "tls", "two-tables"].map(e2e),
  "test/resilience/nats-deploy.test.ts",
  "test/resilience/refused-revisions.test.ts",
];
/** Tests that run many processes and look at how they behave under load, or while some of them fail. */
const WHOLE_MACHINE = [
  "test/e2e/**/*.test.ts",
  "test/resilience/**/*.test.ts",
  "cli/start.test.ts",
  "examples/quickstart/start.test.ts",
];
const NEVER = [...configDefaults.exclude, ".tools/**", ".chancery/**", "dist/**"];

export default defineConfig({
  test: {
    testTimeout: 30_000,
    // A hook starts a whole fleet, on a machine that may be busy.
    hookTimeout: 120_000,
    projects: [
      {
        extends: true,
        test: {
          name: "units",
          include: ["**/*.test.ts"],
          exclude: [...NEVER, ...FUNCTIONAL, ...WHOLE_MACHINE],
          // Loading Envoy's whole API again for each file takes longer than the tests. What a test leaves behind in a
          // module is met by the next one: modules keep caches, nothing else.
          isolate: false,
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: "functional",
          include: FUNCTIONAL,
          exclude: NEVER,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        // One at a time and after the others: two loads on one small machine would measure each other.
        test: {
          name: "whole",
          include: WHOLE_MACHINE,
          exclude: [...NEVER, ...FUNCTIONAL],
          maxWorkers: 1,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
