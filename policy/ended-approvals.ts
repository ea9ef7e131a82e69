import type { PolicyProgram } from "./program.ts";

/**
 * The program without approvals that were over at a time. For a decision service whose clock is behind: what had ended when
 * its revision was made does not hold again there.
 *
 * @param at  milliseconds since the epoch; not a number: nothing is known to be over
 */
export function withoutEnded(program: PolicyProgram, at: number): PolicyProgram {
  const approvals = program.approvals.filter(
    ({ validUntil }) => validUntil === undefined || !(Date.parse(validUntil) <= at),
  );
  return approvals.length === program.approvals.length ? program : { ...program, approvals };
}
