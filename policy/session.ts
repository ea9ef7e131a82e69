import type { Key } from "../resources/index.ts";
import type { ApprovalStanding } from "./approval-standing.ts";
import type { Approvals } from "./approvals.ts";
import type { DecisionInput, DenyCode, RuleResult } from "./decision.ts";
import type { DecisionMemo, Recorder } from "./decision-memo.ts";
import { isUnknown, type Unknown, type Value } from "./expression.ts";
import { identityOf, keyOf, type Memo } from "./memo.ts";
import type { Processing } from "./processing.ts";
import type { ModelFacts, Target } from "./program.ts";
import type { Restrictions } from "./restrictions.ts";
import type { FieldValues, RuleGroup } from "./rule-group.ts";
import type { CompiledRule, RuleExpression, RuleIndex, RuleSet } from "./rules.ts";
import type { SplitIndex } from "./split-index.ts";
import type { CertificationPeriod, ScoreFacts } from "./standing.ts";
import type { Trace } from "./trace.ts";
import { validAt } from "./validity.ts";
import { ModelView, type RequestFacts, RuleContext, type TargetView } from "./views.ts";

/** What a program is compiled to. Immutable but for its caches. */
export interface CompiledProgram {
  readonly rules: RuleIndex;
  readonly models: ReadonlyMap<Key, ModelFacts>;
  /** Version → its model and its place among that model's versions. */
  readonly versions: ReadonlyMap<Key, { readonly model: Key; readonly age: number }>;
  readonly approvals: Approvals;
  /** Conditions of approvals that do not compile. */
  readonly approvalProblems: readonly { readonly rule: string; readonly message: string }[];
  readonly observedGateways: ReadonlySet<Key>;
  /** Authored ones. */
  readonly restrictions: Restrictions;
  merits(target: Target): Merits;
  /** Answers of expressions about a target, by what they read. */
  readonly memo: Memo;
  /** Verdicts, by what they were made from. */
  readonly verdicts: DecisionMemo;
  readonly splits: SplitIndex;
}

/** What a target's version has to show, worked out once. */
export interface Merits {
  readonly scores: ScoreFacts | undefined;
  readonly processing: Processing | undefined;
  readonly certifications: readonly CertificationPeriod[];
  /** Answers of expressions that read nothing but the target. */
  readonly answers: Answers;
}

type Answers = Map<RuleExpression, Value | Unknown>;

/** One decision in the making. */
export interface Session {
  readonly program: CompiledProgram;
  readonly input: DecisionInput;
  readonly facts: RequestFacts;
  /** What rules are found by. */
  readonly fields: FieldValues;
  readonly restrictions: Restrictions;
  readonly trace: Trace;
  /** Answers of expressions that read neither model nor target. */
  readonly answers: Answers;
  readonly frames: Map<Key | undefined, Frame>;
  /** What was asked of approvals so far. */
  readonly approvals: Map<Target, ApprovalStanding>;
  /** Notes what the decision looks at; undefined where it is not to be kept. */
  readonly recorder: Recorder | undefined;
}

/** A decision as seen while a certain model is asked for: its rules, and what depends on `model`. */
export interface Frame {
  readonly model: Key | undefined;
  readonly rules: RuleSet;
  readonly view: ModelView;
  readonly context: RuleContext;
  readonly answers: Answers;
  /** Set when first asked for. */
  gate?: Gate;
}

export interface Refusal {
  readonly code: DenyCode;
  readonly rule: string;
  readonly reason: string;
}

/** Whether the caller may ask for the model of a frame (or use a plain route) at all: deny rules, then allow rules. */
export type Gate =
  | { readonly open: true; readonly rule: string; readonly reason: string; readonly shadow: readonly string[] }
  | { readonly open: false; readonly refusal: Refusal; readonly shadow: readonly string[] };

/** A candidate, with what depends on it. */
export interface Candidate {
  readonly target: Target;
  /** While what is asked for it is judged. */
  readonly frame: Frame;
  readonly view: TargetView;
  readonly answers: Answers;
}

export interface Answer {
  readonly result: RuleResult;
  readonly error?: string;
}

const TRUE: Answer = { result: "true" };
const FALSE: Answer = { result: "false" };

export function frameOf(session: Session, model: Key | undefined): Frame {
  let frame = session.frames.get(model);
  if (frame === undefined) {
    const { application, gateway, httpRoute } = session.input;
    const known = model === undefined ? undefined : session.program.models.get(model);
    // A model that the program does not describe still has its name.
    const view = new ModelView(model === undefined ? undefined : (known ?? { key: model, names: [], labels: {} }));
    frame = {
      model,
      rules: session.program.rules.rulesFor(application.scope, gateway, httpRoute, model),
      view,
      context: new RuleContext(session.facts, view),
      answers: new Map(),
    };
    session.frames.set(model, frame);
  }
  return frame;
}

/** The rules of some groups that can hold while the frame's model is asked for. */
export function candidatesOf(groups: readonly RuleGroup[], session: Session, frame: Frame): readonly CompiledRule[] {
  const [only, second] = groups;
  if (only === undefined) return [];
  if (second === undefined) return only.candidates(session.fields, frame.model);
  return groups.flatMap((group) => group.candidates(session.fields, frame.model));
}

/** Whether the rule is in force and its `when` holds. Counts and explains; an expression is evaluated once per what it reads. */
export function whenHolds(session: Session, rule: CompiledRule, frame: Frame, candidate?: Candidate): Answer {
  if (rule.period !== undefined && !validAt(rule.period, session.input.now)) {
    session.trace.consider(rule, "false", "not in force at this time", candidate?.target.pool);
    return FALSE;
  }
  const answer = rule.when === undefined ? TRUE : ask(session, rule, rule.when, frame, candidate);
  session.trace.consider(rule, answer.result, answer.error, candidate?.target.pool);
  return answer;
}

/** Three-valued answer of one of the rule's boolean expressions. */
export function ask(
  session: Session,
  rule: CompiledRule,
  expression: RuleExpression,
  frame: Frame,
  candidate?: Candidate,
): Answer {
  const value = valueFor(session, expression, frame, candidate);
  if (value === true) return TRUE;
  if (value === false) return FALSE;
  const error = isUnknown(value) ? value.unknown : `the result is ${value}, not a bool`;
  session.trace.fail(rule.rule.id, error);
  return { result: "unknown", error };
}

/** The rule's score for a candidate; undefined where it has none. */
export function scoreOf(session: Session, rule: CompiledRule, frame: Frame, candidate: Candidate): number | undefined {
  if (rule.score === undefined) return undefined;
  const value = valueFor(session, rule.score, frame, candidate);
  if (typeof value === "number") return value;
  const error = isUnknown(value) ? value.unknown : `the result is ${value}, not a number`;
  session.trace.fail(rule.rule.id, error);
  session.trace.consider(rule, "unknown", error, candidate.target.pool);
  return undefined;
}

/** The value of an expression for a frame and, where it is about one, a candidate; each worked out once. */
export function valueFor(
  session: Session,
  expression: RuleExpression,
  frame: Frame,
  candidate?: Candidate,
): Value | Unknown {
  if (candidate !== undefined && expression.reads.has("target")) {
    return aboutTarget(session, expression, frame, candidate);
  }
  const answers = expression.reads.has("model") ? frame.answers : session.answers;
  let value = answers.get(expression);
  if (value === undefined) {
    noteReads(session, expression);
    value = expression.evaluate(frame.context);
    answers.set(expression, value);
  }
  return value;
}

function noteReads({ recorder, program }: Session, expression: RuleExpression): void {
  if (recorder === undefined) return;
  const dependencies = program.rules.dependenciesOf(expression);
  if (dependencies === undefined) recorder.note(undefined);
  else for (const dependency of dependencies) recorder.note(dependency);
}

function aboutTarget(
  session: Session,
  expression: RuleExpression,
  frame: Frame,
  candidate: Candidate,
): Value | Unknown {
  let value = candidate.answers.get(expression);
  if (value !== undefined) return value;
  noteReads(session, expression);
  const { memo } = expression;
  const fixed = memo !== undefined && !memo.application && !memo.model && memo.fields.length === 0;
  const constants = fixed ? session.program.merits(candidate.target).answers : undefined;
  value = constants?.get(expression);
  if (value === undefined) {
    const asked = { application: session.input.application, model: frame.model };
    const read = memo === undefined || fixed ? undefined : keyOf(memo, session.fields, asked);
    const key = read === undefined ? "" : `${identityOf(expression)} ${identityOf(candidate.target)} ${read}`;
    if (key !== "") value = session.program.memo.get(key);
    if (value === undefined) {
      value = expression.evaluate(new RuleContext(session.facts, frame.view, candidate.view));
      if (key !== "") session.program.memo.set(key, value);
      constants?.set(expression, value);
    }
  }
  candidate.answers.set(expression, value);
  return value;
}
