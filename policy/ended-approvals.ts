import type { PolicyProgram } from "./program.ts";

const DAY = 86_400_000;

/**
 * The program without approvals that were over at a time. For a decision service whose clock is behind: what had ended when
 * its revision was made does not hold again there.
 *
 * @param at  milliseconds since the epoch; not a number: nothing is known to be over
 * @returns the same program where it has none, so that what was compiled of it can be used again
 */
export function withoutEnded(program: PolicyProgram, at: number): PolicyProgram {
  if (Number.isNaN(at)) return program;
  // Offsets are less than a day: later texts need not be read, and most are later.
  const later = new Date(at + 2 * DAY).toISOString().slice(0, 10);
  const approvals = program.approvals.filter(
    ({ validUntil }) => validUntil === undefined || validUntil > later || !(Date.parse(validUntil) <= at),
  );
  return approvals.length === program.approvals.length ? program : { ...program, approvals };
}
