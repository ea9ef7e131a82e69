import { createHash } from "node:crypto";
import { compilePolicy } from "./decide.ts";
import { allowed, modelInput, modelTarget, program, SUBJECT } from "./fixtures.ts";
import type { SplitFacts } from "./program.ts";

/**
 * Which arm each of many units is decided into: for tests. Run as a program it prints the digest of all arms, so that
 * another process can be held to the same.
 */

const TARGETS = [0, 1, 2].map((age) => modelTarget("atlas", age));
const MODELS = ["atlas"];
export const UNITS = 100_000;

export const EXPERIMENT: SplitFacts = {
  kind: "Experiment",
  key: "tone",
  scope: ".",
  model: "atlas",
  arms: [
    { name: "control", version: "atlas@0", weight: 50 },
    { name: "warm", version: "atlas@1", weight: 30 },
    { name: "cold", version: "atlas@2", weight: 20 },
  ],
  share: 100,
  salt: "tone",
  holdout: 0,
};

export function rolloutAt(share: number): SplitFacts {
  const shared = { key: "to-2", scope: ".", model: "atlas", salt: "to-2", holdout: 0 };
  return { kind: "Rollout", ...shared, to: "atlas@2", share, segments: [] };
}

/** `arms[n]` is that of "user-n". */
export function armsOfUnits(split: SplitFacts, count = UNITS): readonly string[] {
  const policy = compilePolicy(program({ targets: TARGETS, splits: [split] }));
  return Array.from({ length: count }, (_, index) => {
    const subject = { ...SUBJECT, id: `user-${index}` };
    return allowed(policy.decideAgain(modelInput("atlas", TARGETS, { subject, models: MODELS }))).exposure?.arm ?? "";
  });
}

export function digestOf(arms: readonly string[]): string {
  return createHash("sha256").update(arms.join("\n")).digest("hex");
}

if (process.argv[1] === import.meta.filename) {
  process.stdout.write(`${digestOf(armsOfUnits(EXPERIMENT))} ${digestOf(armsOfUnits(rolloutAt(10)))}\n`);
}
