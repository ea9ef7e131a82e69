import { approvalId, type CompiledApproval, shortened } from "./approvals.ts";
import type { HeldApproval } from "./decision.ts";
import { isUnknown } from "./expression.ts";
import type { ModelTarget, Target } from "./program.ts";
import { type Candidate, type Session, valueFor } from "./session.ts";

/** What approvals say of a version, for one request. */
export type ApprovalStanding =
  | { readonly holds: true; readonly held: HeldApproval }
  | {
      readonly holds: false;
      /** Which conditions of approvals that are valid now do not hold; empty: there is none that is valid. */
      readonly unmet: readonly string[];
    };

/** The first approval whose conditions are all true holds. Asked once for each target. */
export function approvalStanding(session: Session, candidate: Candidate, model: ModelTarget): ApprovalStanding {
  const { target } = candidate;
  const known = session.approvals.get(target);
  if (known !== undefined) return known;
  const standing = standingOf(session, candidate, model);
  session.approvals.set(target, standing);
  return standing;
}

function standingOf(session: Session, candidate: Candidate, model: ModelTarget): ApprovalStanding {
  const { application, now } = session.input;
  const unmet: string[] = [];
  for (const approval of session.program.approvals(model.version, application, now)) {
    const problem = unmetCondition(session, candidate, approval);
    if (problem === undefined) return { holds: true, held: approval.held };
    unmet.push(problem);
  }
  return { holds: false, unmet };
}

/** The first condition that is not true, in words. One that cannot be evaluated does not hold. */
function unmetCondition(
  session: Session,
  candidate: Candidate,
  { held, conditions }: CompiledApproval,
): string | undefined {
  const id = approvalId(held.approval);
  for (const { text, expression } of conditions) {
    const value = valueFor(session, expression, candidate.frame, candidate);
    if (value === true) continue;
    if (value === false) return `${id}: ${shortened(text)} is false`;
    const error = isUnknown(value) ? value.unknown : `the result is ${value}, not a bool`;
    session.trace.fail(id, error);
    return `${id}: ${shortened(text)} is unknown: ${error}`;
  }
  return undefined;
}

/** The approvals that a decision for some targets rests on, each once: those that were asked, and hold. */
export function heldApprovals(session: Session, targets: readonly Target[]): readonly HeldApproval[] {
  const held = new Map<string, HeldApproval>();
  for (const target of targets) {
    const standing = session.approvals.get(target);
    if (standing?.holds === true) held.set(standing.held.approval, standing.held);
  }
  return [...held.values()];
}
