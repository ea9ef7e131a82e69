import { inForce } from "./assignments.ts";
import { mirrorProblem, REMOVED } from "./candidates.ts";
import type { Mirror, Removal } from "./decision.ts";
import type { Target } from "./program.ts";
import type { Rerouted } from "./reroute.ts";
import { type Frame, frameOf, type Session } from "./session.ts";
import { splitReader } from "./split-reader.ts";

/**
 * Where a copy of the request may go: on plain routes what the route's filter names, for a model what the first of its
 * rollouts says that has a mirror and binds the request. Requests that name a version are not copied.
 *
 * @param answering  the chain that answers
 */
export function mirrorOf(session: Session, rerouted: Rerouted, answering: readonly Target[]): Mirror | undefined {
  const { input, program } = session;
  const { model, version } = rerouted.wanted;
  const [head] = answering;
  if (head === undefined) return undefined;
  if (model === undefined) {
    const { mirror } = input;
    return mirror === undefined ? undefined : judged(session, rerouted, mirror, [mirror.target], head);
  }
  const rollouts = version === undefined ? program.splits.mirroringOf(model) : [];
  if (rollouts.length === 0) return undefined;
  const frame: Frame = rerouted.frames.at(-1) ?? frameOf(session, model);
  for (const { id, facts } of inForce(rollouts, splitReader(session, frame))) {
    if (facts.mirror === undefined) continue;
    const { version: copied, share } = facts.mirror;
    const targets = input.candidates.filter((target) => target.model?.version === copied);
    return judged(session, rerouted, { by: id, share }, targets, head);
  }
  return undefined;
}

function judged(
  session: Session,
  rerouted: Rerouted,
  { by, share }: Pick<Mirror, "by" | "share">,
  candidates: readonly Target[],
  head: Target,
): Mirror {
  const targets: Target[] = [];
  const removed: Removal[] = [];
  for (const target of candidates) {
    const reason =
      target.model?.api === head.model?.api
        ? mirrorProblem(session, target, rerouted)
        : { rule: REMOVED.api, reason: "it speaks another API than what answers" };
    if (reason === undefined) targets.push(target);
    else removed.push({ pool: target.pool, ...reason });
  }
  return { by, share, targets, removed };
}
