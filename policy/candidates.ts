import type { Key } from "../resources/index.ts";
import { approvalStanding } from "./approval-standing.ts";
import type { Removal } from "./decision.ts";
import { gateOf } from "./gate.ts";
import type { ModelTarget, Target } from "./program.ts";
import type { Rerouted, Wanted } from "./reroute.ts";
import type { CompiledRule } from "./rules.ts";
import { ask, type Candidate, candidatesOf, type Frame, frameOf, type Session, whenHolds } from "./session.ts";
import { maturityProblem, mirrorMaturityProblem, scoreProblem, validCertifications } from "./standing.ts";
import { TargetView } from "./views.ts";

/** Reasons of our own for a removal, beside rule and restriction ids. */
export const REMOVED = {
  /** Not the model or version asked for, nor an older version of it, nor a substitute. */
  model: "chancery:model",
  approval: "chancery:approval",
  maturity: "chancery:maturity",
  scores: "chancery:scores",
  /** Another provider API, or another kind of credential, than the head of the chain. */
  api: "chancery:api",
} as const;

type Reason = Omit<Removal, "pool">;

/** Sorts the candidates into those that may answer and those that may not, the latter with why (in the trace). */
export function selectLegal(session: Session, { wanted, frames }: Rerouted): readonly Candidate[] {
  const frame = frames.at(-1) ?? frameOf(session, wanted.model);
  const guards = guardsOf(session, frames, frame);
  const legal: Candidate[] = [];
  for (const target of session.input.candidates) {
    const candidate = candidateOf(session, target, frame);
    const reason =
      restricted(session, target) ??
      notWanted(session, target, wanted) ??
      closedSubstitute(session, target, frames) ??
      unfit(session, candidate) ??
      forbidden(session, candidate, frame, guards(target));
    if (reason === undefined) legal.push(candidate);
    else session.trace.remove({ pool: target.pool, ...reason });
  }
  return legal;
}

/**
 * Why a target must not get a copy of the request. It answers nobody, so it needs no approval and no scores; what is said
 * about where the request may go binds it as it binds any target.
 */
export function mirrorProblem(session: Session, target: Target, { wanted, frames }: Rerouted): Reason | undefined {
  const frame = frames.at(-1) ?? frameOf(session, wanted.model);
  const restriction = restricted(session, target);
  if (restriction !== undefined) return restriction;
  const immature = target.model === undefined ? undefined : mirrorMaturityProblem(target.model.maturity);
  if (immature !== undefined) return { rule: REMOVED.maturity, reason: immature };
  const guards = guardsOf(session, frames, frame);
  return forbidden(session, candidateOf(session, target, frame), frame, guards(target));
}

export function candidateOf(session: Session, target: Target, frame: Frame): Candidate {
  const { model } = target;
  const { now } = session.input;
  const merits = session.program.merits(target);
  const standing = {
    approved: () => (model === undefined ? undefined : approvalStanding(session, candidate, model).holds),
    certifications: model === undefined ? undefined : validCertifications(merits.certifications, now),
    scores: merits.scores,
    processing: merits.processing,
    now,
  };
  const candidate: Candidate = { target, frame, view: new TargetView(target, standing), answers: new Map() };
  return candidate;
}

export function restricted(session: Session, target: Target): Reason | undefined {
  const restriction = session.restrictions.onTarget(target, session.input.now);
  return restriction === undefined ? undefined : { rule: restriction.id, reason: restriction.reason };
}

function notWanted(session: Session, target: Target, wanted: Wanted): Reason | undefined {
  if (wanted.upstream !== undefined && target.upstream !== wanted.upstream) {
    return { rule: REMOVED.model, reason: `the request goes to ${wanted.upstream}` };
  }
  if (wanted.model === undefined) {
    if (target.model === undefined) return undefined;
    return { rule: REMOVED.model, reason: "a model cannot answer on a plain route" };
  }
  const { model } = target;
  if (model?.model !== wanted.model) {
    if (model !== undefined && session.input.application.substitutes.includes(model.model)) return undefined;
    return {
      rule: REMOVED.model,
      reason: `${wanted.model} is asked for, and the application accepts no such substitute`,
    };
  }
  if (wanted.version === undefined || model.version === wanted.version) return undefined;
  const asked = session.program.versions.get(wanted.version);
  if (asked !== undefined && model.age < asked.age) return undefined;
  return { rule: REMOVED.model, reason: `${wanted.version} is asked for, and this version is not an older one` };
}

/** A substitute must be open to the caller as if it had been asked for. */
function closedSubstitute(session: Session, target: Target, frames: readonly Frame[]): Reason | undefined {
  const model = target.model?.model;
  if (model === undefined || frames.some((frame) => frame.model === model)) return undefined;
  const gate = gateOf(session, frameOf(session, model));
  for (const line of gate.shadow) {
    if (line.startsWith("deny by ")) session.trace.wouldHave(line.replace("deny by ", `removal of ${target.pool} by `));
  }
  return gate.open ? undefined : { rule: gate.refusal.rule, reason: gate.refusal.reason };
}

/** What the application and the model themselves demand of a version. */
function unfit(session: Session, candidate: Candidate): Reason | undefined {
  const { target } = candidate;
  const { model } = target;
  if (model === undefined) return undefined;
  const { application, now } = session.input;
  const unapproved = needsApproval(session, model) ? notApproved(session, candidate, model) : undefined;
  if (unapproved !== undefined) return unapproved;
  const immature = maturityProblem(model.maturity, application.minimumMaturity);
  if (immature !== undefined) return { rule: REMOVED.maturity, reason: immature };
  const { scores } = session.program.merits(target);
  const weak = scores === undefined ? undefined : scoreProblem(scores, application.minimumScores, now);
  return weak === undefined ? undefined : { rule: REMOVED.scores, reason: weak };
}

function notApproved(session: Session, candidate: Candidate, model: ModelTarget): Reason | undefined {
  const standing = approvalStanding(session, candidate, model);
  if (standing.holds) return undefined;
  const { key, jurisdictions } = session.input.application;
  const where = jurisdictions.length === 0 ? "" : ` in ${jurisdictions.join(", ")}`;
  const { unmet } = standing;
  if (unmet.length === 0) {
    return { rule: REMOVED.approval, reason: `${model.version} has no valid approval for ${key}${where}` };
  }
  const reason = `${model.version} is approved for ${key}${where} on conditions that this request does not meet`;
  const more = unmet.length > NAMED_APPROVALS ? ` and ${unmet.length - NAMED_APPROVALS} more` : "";
  return { rule: REMOVED.approval, reason, detail: `${unmet.slice(0, NAMED_APPROVALS).join("; ")}${more}` };
}

/** Approvals whose conditions are named in a removal. */
const NAMED_APPROVALS = 3;

/** A model that the program does not describe needs approval: unknown is not permission. */
function needsApproval(session: Session, model: ModelTarget): boolean {
  return session.program.models.get(model.model)?.approval !== "notRequired";
}

/**
 * The restrict rules that bind a target: those of every model passed through, and those on its own model. `when` is
 * asked while the last model is asked for, so that is what they are found by.
 */
function guardsOf(
  session: Session,
  frames: readonly Frame[],
  frame: Frame,
): (target: Target) => readonly CompiledRule[] {
  const groups = [...new Set(frames.flatMap((passed) => passed.rules.restrict))];
  const common = candidatesOf(groups, session, frame);
  const models = new Set<Key | undefined>(frames.map((passed) => passed.model));
  return (target) => {
    const model = target.model?.model;
    if (model === undefined || models.has(model)) return common;
    const own = session.program.rules.restrictionsOn(model);
    return own.length === 0 ? common : [...common, ...candidatesOf(own, session, frame)];
  };
}

function forbidden(
  session: Session,
  candidate: Candidate,
  frame: Frame,
  rules: readonly CompiledRule[],
): Reason | undefined {
  const rehearsed: string[] = [];
  for (const rule of rules) {
    if (whenHolds(session, rule, frame, candidate).result === "false") continue;
    const answer = rule.require === undefined ? undefined : ask(session, rule, rule.require, frame, candidate);
    if (answer?.result === "true") continue;
    const known = answer === undefined || answer.result === "false";
    if (rule.mode === "enforce") {
      return {
        rule: rule.rule.id,
        reason: known ? rule.rule.reason : `${rule.rule.reason} (not known for this target)`,
      };
    }
    rehearsed.push(rule.rule.id);
  }
  for (const id of rehearsed) session.trace.wouldHave(`removal of ${candidate.target.pool} by ${id}`);
  return undefined;
}
