import type { Key } from "../resources/index.ts";
import { heldApprovals } from "./approval-standing.ts";
import { type ApprovalIndex, indexApprovals } from "./approvals.ts";
import { candidateOf, REMOVED, restricted, selectLegal } from "./candidates.ts";
import { chainOf } from "./chain.ts";
import { changedInput } from "./changed-input.ts";
import type { DecisionInput, HeldApproval, Policy, Removal, Requested, Verdict } from "./decision.ts";
import { DecisionMemo, Recorder } from "./decision-memo.ts";
import { FieldSource } from "./fields.ts";
import { gateOf } from "./gate.ts";
import { instantsOf } from "./instants.ts";
import { Memo } from "./memo.ts";
import { mirrorOf } from "./mirrors.ts";
import { processingOf } from "./processing.ts";
import type { ModelFacts, PolicyProgram, Target } from "./program.ts";
import { followReroutes, type Rerouted } from "./reroute.ts";
import { bothRestrictions, restrictionsOf } from "./restrictions.ts";
import { FieldValues } from "./rule-group.ts";
import { ExpressionCache, indexRules, type RuleIndex } from "./rules.ts";
import { type CompiledProgram, frameOf, type Merits, type Refusal, type Session } from "./session.ts";
import { indexSplits, type SplitIndex } from "./split-index.ts";
import { certificationsOf, scoresOf } from "./standing.ts";
import { atOnce, STEP, type Steps } from "./steps.ts";
import { newTrace, type Trace } from "./trace.ts";
import { RequestFacts } from "./views.ts";

/** Makes a program ready to decide. Rules that do not compile are unknown for every request, and listed. */
export function compilePolicy(program: PolicyProgram): Policy {
  return atOnce(policySteps(program, new ExpressionCache()));
}

/** As `compilePolicy`, in steps of well under a millisecond (but for an expression that takes longer by itself). */
export function* policySteps(program: PolicyProgram, cache: ExpressionCache): Steps<Policy> {
  const compiled = yield* programSteps(program, cache);
  const decide = (input: DecisionInput) => decideSafely(compiled, input, undefined);
  return {
    decide,
    decideAgain: (input) => decideAgain(compiled, input),
    basisOf: (input) => (isKept(input) ? compiled.verdicts.basisOf(input) : undefined),
    usableModels: (input) => input.models.filter((model) => decide(asking(input, model)).effect === "allow"),
    problems: [...compiled.rules.problems, ...compiled.splits.problems, ...compiled.approvalProblems],
  };
}

/** A program with all that its decisions are made from, for who looks inside them. */
export function* programSteps(program: PolicyProgram, cache: ExpressionCache): Steps<CompiledProgram> {
  const splits = yield* indexSplits(program, cache);
  const approvals = yield* indexApprovals(program.approvals, cache);
  const rules = yield* indexRules(program, cache, [...splits.conditions, ...approvals.conditions]);
  yield* cache.trim();
  const instants = Float64Array.from([...(yield* instantsOf(program)), ...rules.instants]).sort();
  yield;
  return yield* compileProgram(program, { rules, splits, approvals, instants: [...instants] });
}

/** The same request, as if it asked for the model. */
function asking(input: DecisionInput, model: Key): DecisionInput {
  return changedInput(input, { requested: { modelName: model, model, stream: input.requested.stream } });
}

/** Answers kept by what they were read from; some hundred bytes each. */
const MEMO_CAPACITY = 65_536;

interface Indexes {
  readonly rules: RuleIndex;
  readonly splits: SplitIndex;
  readonly approvals: ApprovalIndex;
  /** Ascending, in milliseconds since the epoch. */
  readonly instants: readonly number[];
}

function* compileProgram(
  program: PolicyProgram,
  { rules, splits, approvals: { approvals, problems: approvalProblems }, instants }: Indexes,
): Steps<CompiledProgram> {
  const merits = new WeakMap<Target, Merits>();
  const models = new Map<Key, ModelFacts>();
  for (const [place, model] of program.models.entries()) {
    models.set(model.key, model);
    if (place % STEP === 0) yield;
  }
  const versions = new Map<Key, { readonly model: Key; readonly age: number }>();
  for (const [place, { model }] of program.targets.entries()) {
    if (model !== undefined) versions.set(model.version, { model: model.model, age: model.age });
    if (place % STEP === 0) yield;
  }
  return {
    rules,
    models,
    versions,
    approvals,
    approvalProblems,
    observedGateways: new Set(program.observedGateways),
    restrictions: restrictionsOf(program.restrictions),
    memo: new Memo(MEMO_CAPACITY),
    verdicts: new DecisionMemo(instants),
    splits,
    merits(target) {
      let known = merits.get(target);
      if (known === undefined) {
        const { model } = target;
        known =
          model === undefined
            ? { scores: undefined, processing: undefined, certifications: [], answers: new Map() }
            : {
                scores: scoresOf(model),
                processing: processingOf(model, program.adequate ?? []),
                certifications: certificationsOf(model),
                answers: new Map(),
              };
        merits.set(target, known);
      }
      return known;
    },
  };
}

/** Of names that stand for nothing here there are as many as clients send. */
function isKept({ explain, models, requested }: DecisionInput): boolean {
  return explain !== true && models.length > 0 === (requested.model !== undefined);
}

function decideAgain(program: CompiledProgram, input: DecisionInput): Verdict {
  if (!isKept(input)) return decideSafely(program, input, undefined);
  const known = program.verdicts.find(input);
  if (known !== undefined) return exposedAnew(program, input, known);
  const recorder = new Recorder();
  const verdict = decideSafely(program, input, recorder);
  const { path } = recorder;
  const unknownModel = verdict.effect === "deny" && verdict.code === "model_not_found";
  if (path !== undefined && !unknownModel) program.verdicts.keep(input, path, verdict);
  return verdict;
}

/** A kept verdict was made for another unit of the same arm: the pseudonym on record is this one's. */
function exposedAnew({ splits }: CompiledProgram, input: DecisionInput, verdict: Verdict): Verdict {
  if (verdict.effect === "deny" || verdict.exposure?.unit === undefined) return verdict;
  const unit = splits.pseudonymOf(verdict.exposure.split, input);
  return unit === undefined ? verdict : { ...verdict, exposure: { ...verdict.exposure, unit } };
}

function decideSafely(program: CompiledProgram, input: DecisionInput, recorder: Recorder | undefined): Verdict {
  return decideIn(newSession(program, input, recorder));
}

export function newSession(program: CompiledProgram, input: DecisionInput, recorder: Recorder | undefined): Session {
  return {
    program,
    input,
    trace: newTrace(),
    facts: new RequestFacts(input),
    fields: new FieldValues(new FieldSource(input), input.explain === true, recorder),
    restrictions: bothRestrictions(restrictionsOf(input.restrictions), program.restrictions),
    answers: new Map(),
    frames: new Map(),
    approvals: new Map(),
    recorder,
  };
}

/** Nothing here should throw; if it does, that is a denial like any other. */
export function decideIn(session: Session): Verdict {
  try {
    return decide(session);
  } catch (error) {
    const { trace, recorder } = session;
    recorder?.note(undefined);
    trace.fail("chancery:decide", error instanceof Error ? error.message : String(error));
    const reason = "The policy could not be evaluated for this request";
    return denied(trace, { code: "evaluation_error", rule: "chancery:evaluation-error", reason });
  }
}

function decide(session: Session): Verdict {
  const { input, trace, restrictions } = session;
  const { application, requested } = input;
  const blocked = restrictions.onApplication(application.key, input.now);
  if (blocked !== undefined) return denied(trace, { code: "denied", rule: blocked.id, reason: blocked.reason });
  const observe =
    input.observe === true || application.mode === "observe" || session.program.observedGateways.has(input.gateway);
  const modelRoute = input.models.length > 0;
  const known = !modelRoute || (requested.model !== undefined && input.models.includes(requested.model));
  let observed: Refusal | undefined;
  if (known) {
    const gate = gateOf(session, frameOf(session, requested.model));
    for (const line of gate.shadow) trace.wouldHave(line);
    if (!gate.open) {
      if (!observe) return denied(trace, gate.refusal);
      observed = gate.refusal;
    }
  }

  // A name that stands for no model here has no rules of its own; a reroute may still give it one, with its rules.
  const rerouted = followReroutes(session, known ? requested : { stream: requested.stream });
  if (rerouted.refusal !== undefined) {
    const { hard, ...refusal } = rerouted.refusal;
    if (hard || !observe) return denied(trace, refusal);
    observed ??= refusal;
  } else if (modelRoute && rerouted.wanted.model === undefined) {
    return denied(trace, modelNotFound(requested));
  }

  const chain = legalChain(session, rerouted);
  // A redirect, say, has nothing to choose from.
  const needsTarget = input.candidates.length > 0 || modelRoute;
  if (chain.length > 0 || !needsTarget) {
    return allowed(session, chain, rerouted, observed, heldApprovals(session, chain));
  }

  const refusal = noLegalTarget(trace.removed);
  if (!observe) return denied(trace, refusal);
  const fallback = everyTarget(session);
  if (fallback.length === 0) return denied(trace, refusal);
  return allowed(session, fallback, rerouted, observed ?? refusal, []);
}

function modelNotFound({ modelName }: Requested): Refusal {
  const reason =
    modelName === undefined ? "The request names no model" : `There is no model "${modelName.slice(0, 200)}" here`;
  return { code: "model_not_found", rule: "chancery:model-not-found", reason };
}

function legalChain(session: Session, rerouted: Rerouted): readonly Target[] {
  if (rerouted.refusal?.code === "no_legal_target") return [];
  const legal = selectLegal(session, rerouted);
  const frame = rerouted.frames.at(-1) ?? frameOf(session, rerouted.wanted.model);
  return chainOf(session, legal, rerouted.wanted, frame);
}

/** Observe mode, nothing legal: all that the request as it stands could reach, but for the kill switch. */
function everyTarget(session: Session): readonly Target[] {
  const { model, version } = session.input.requested;
  const wanted = { ...(model === undefined ? {} : { model }), ...(version === undefined ? {} : { version }) };
  const targets = session.input.candidates.filter(
    (target) => target.model?.model === model && restricted(session, target) === undefined,
  );
  const frame = frameOf(session, model);
  const candidates = targets.map((target) => candidateOf(session, target, frame));
  return chainOf(session, candidates, wanted, frame);
}

/** Removals that are worth naming in a reason. */
const NAMED_REMOVALS = 5;

function noLegalTarget(removed: readonly Removal[]): Refusal {
  const relevant = removed.filter(({ rule }) => rule !== REMOVED.model);
  const named = relevant.slice(0, NAMED_REMOVALS).map(({ pool, rule, reason }) => `${pool}: ${reason} (${rule})`);
  const more = relevant.length > NAMED_REMOVALS ? ` and ${relevant.length - NAMED_REMOVALS} more` : "";
  const why = named.length === 0 ? "this route has none for what is asked" : `${named.join("; ")}${more}`;
  return { code: "no_legal_target", rule: "chancery:no-legal-target", reason: `No target may answer: ${why}` };
}

function allowed(
  session: Session,
  targets: readonly Target[],
  rerouted: Rerouted,
  observed: Refusal | undefined,
  approvals: readonly HeldApproval[],
): Verdict {
  const last = rerouted.frames.at(-1) ?? frameOf(session, rerouted.wanted.model);
  // What only observe mode lets through is not sent anywhere else.
  const mirror = observed === undefined ? mirrorOf(session, rerouted, targets) : undefined;
  const gate = gateOf(session, last);
  const { rule, reason } = gate.open ? gate : { rule: "chancery:observe", reason: "Let through in observe mode" };
  return {
    effect: "allow",
    targets,
    rule,
    reason,
    ...(observed === undefined ? {} : { observed: { rule: observed.rule, reason: observed.reason } }),
    ...(approvals.length === 0 ? {} : { approvals }),
    ...(session.trace.preferred ? { preferred: true as const } : {}),
    ...(session.trace.exposure === undefined ? {} : { exposure: session.trace.exposure }),
    ...(mirror === undefined ? {} : { mirror }),
    ...explanation(session.trace),
  };
}

function denied(trace: Trace, { code, rule, reason }: Refusal): Verdict {
  return { effect: "deny", code, rule, reason, ...explanation(trace) };
}

function explanation({ considered, removed, rerouted, errors, shadow }: Trace) {
  return { considered, removed, rerouted, errors, shadow };
}
