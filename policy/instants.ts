import type { PolicyProgram } from "./program.ts";
import { STEP, type Steps } from "./steps.ts";

/**
 * When what a program says may change by time alone, in milliseconds, ascending: wherever a fact begins or ends, and
 * where a score becomes too old for an application. Every date in the program counts, whatever it is for: one too many
 * costs nothing, and one too few would keep a verdict beyond its time.
 */
export function* instantsOf(program: PolicyProgram): Steps<readonly number[]> {
  const instants = new Set<number>();
  const ages = new Set<number>();
  for (const { minimumScores } of program.applications) {
    for (const { maxAgeMs } of minimumScores) if (maxAgeMs !== undefined) ages.add(maxAgeMs);
  }
  const waiting: unknown[] = [
    program.targets,
    program.approvals,
    program.adequate,
    program.models,
    program.splits,
    program.restrictions,
  ];
  for (let seen = 1; waiting.length > 0; seen += 1) {
    const value = waiting.pop();
    if (typeof value === "string") {
      const instant = DATE.test(value) ? Date.parse(value) : Number.NaN;
      if (!Number.isNaN(instant)) {
        instants.add(instant);
        for (const age of ages) instants.add(instant + age);
      }
    } else if (typeof value === "object" && value !== null) {
      for (const member of Object.values(value)) if (typeof member !== "number") waiting.push(member);
    }
    if (seen % STEP === 0) yield;
  }
  return [...Float64Array.from(instants).sort()];
}

const DATE = /^\d{4}-\d{2}/;
