import { type PolicyProgram, withoutEnded } from "../policy/index.ts";
import type { ActiveRevision } from "./tables.ts";

/** The clock of whoever made a revision, as far as the revision tells. */

/** Milliseconds that this clock may be behind before it is told. */
const SKEW_MS = 60_000;

/** Approvals that had ended when the revision was made have ended, whatever this clock says. */
export function programOf({ program, createdAt }: ActiveRevision): PolicyProgram {
  return withoutEnded(program, Date.parse(createdAt));
}

/**
 * @param now  of this clock; milliseconds since the epoch
 * @returns milliseconds that this clock is behind; undefined: not by much
 */
export function behindMs({ createdAt }: ActiveRevision, now: number): number | undefined {
  const behind = Date.parse(createdAt) - now;
  return behind > SKEW_MS ? behind : undefined;
}
