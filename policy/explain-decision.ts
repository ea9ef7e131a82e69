import type { Atom, Guard } from "./atoms.ts";
import { candidateOf } from "./candidates.ts";
import { traceExpression } from "./cel.ts";
import { changedInput } from "./changed-input.ts";
import { decideIn, newSession, programSteps } from "./decide.ts";
import type { Considered, DecisionInput, HeldApproval, RuleResult, Verdict } from "./decision.ts";
import type { ExpressionTrace } from "./expression-trace.ts";
import { ABSENT, type FieldValue, UNREAD } from "./fields.ts";
import type { PolicyProgram, ProgramRule } from "./program.ts";
import { canHold } from "./rule-group.ts";
import { type CompiledRule, ExpressionCache, expressionsOf } from "./rules.ts";
import { candidatesOf, type Frame, frameOf, type Session } from "./session.ts";
import { atOnce } from "./steps.ts";
import { RuleContext } from "./views.ts";

/** How a decision came about, down to the parts of each expression. Plain data that survives JSON. */
export interface DecisionExplanation {
  readonly verdict: Verdict;
  /** What of the request rules were found by, each field once. */
  readonly atoms: readonly AtomReading[];
  /** Rules that bind this caller, route and model, in the order in which they are written; 1,000 at most. */
  readonly rules: readonly RuleExplanation[];
  /** Approvals that are valid now and were asked, each for each target; 100 at most. */
  readonly approvals: readonly ApprovalExplanation[];
  /** Rules beyond those. */
  readonly moreRules: number;
  /** Rules of other scopes, routes, gateways and models, and rules that are off. */
  readonly elsewhere: number;
}

export interface AtomReading {
  /** "subject.claims.roles" */
  readonly field: string;
  /** The text or texts; "missing"; "unreadable", where only evaluation can tell. */
  readonly value: string | readonly string[] | { readonly is: "missing" | "unreadable" };
}

export interface RuleExplanation {
  readonly rule: string;
  readonly effect: ProgramRule["effect"];
  readonly mode: "enforce" | "shadow";
  readonly reason: string;
  readonly attachedTo: string;
  /**
   * `consulted`: found and asked. `notFound`: what the request says makes it false. `notReached`: the decision was made
   * before.
   */
  readonly status: "consulted" | "notFound" | "notReached";
  /** Of a rule that was not found: tests that are false, one of which it needs to be true. */
  readonly falseTests: readonly string[];
  /** What `when` came to, for each pool where it is about one. */
  readonly results: readonly { readonly result: RuleResult; readonly pool?: string; readonly error?: string }[];
  readonly expressions: readonly ExpressionExplanation[];
  /** Pools that it took away. */
  readonly removed: readonly string[];
  /** What it made of the request, where it rerouted it. */
  readonly reroutedTo?: string;
  /** A shadow rule: what it would have done. */
  readonly wouldHave: readonly string[];
}

export interface ApprovalExplanation extends HeldApproval {
  readonly pool: string;
  readonly holds: boolean;
  /** What each condition and its parts came to. */
  readonly traces: readonly ExpressionTrace[];
}

export interface ExpressionExplanation {
  readonly field: "when" | "require" | "score";
  /** The model that was asked for when it was asked; absent on plain routes. */
  readonly model?: string;
  readonly pool?: string;
  readonly trace: ExpressionTrace;
}

const MOST_RULES = 1_000;
const MOST_APPROVALS = 100;
/** Traces of one rule: an expression for each of so many models and pools. */
const MOST_TRACES = 32;

/**
 * Decides as `compilePolicy` does, and says how. Compiles the program and every expression it shows: for people who ask,
 * and not for the request path. Values of credentials are left out, by the names they are read under.
 */
export function explainDecision(program: PolicyProgram, input: DecisionInput): DecisionExplanation {
  const compiled = atOnce(programSteps(program, new ExpressionCache()));
  const session = newSession(compiled, changedInput(input, { explain: false }), undefined);
  const verdict = decideIn(session);
  const order = new Map(program.rules.map((rule, index) => [rule.id, index]));
  const rules = rulesInPlace(session).toSorted((a, b) => (order.get(a.rule.id) ?? 0) - (order.get(b.rule.id) ?? 0));
  const found = rulesFound(session);
  const considered = Map.groupBy(verdict.considered, ({ rule }) => rule);
  return {
    verdict,
    atoms: readingsOf(session, rules),
    rules: rules
      .slice(0, MOST_RULES)
      .map((rule) => explainRule(session, rule, verdict, considered.get(rule.rule.id) ?? [], found.has(rule))),
    approvals: explainApprovals(session),
    moreRules: Math.max(0, rules.length - MOST_RULES),
    elsewhere: program.rules.length - rules.length,
  };
}

const EFFECTS = ["deny", "restrict", "prefer", "reroute"] as const;

function groupsOf({ rules }: Frame) {
  return [...EFFECTS.flatMap((effect) => rules[effect]), ...rules.levels.map(({ group }) => group)];
}

function rulesInPlace(session: Session): readonly CompiledRule[] {
  const models = session.input.candidates.flatMap(({ model }) => (model === undefined ? [] : [model.model]));
  const onTargets = [...new Set(models)].flatMap((model) => session.program.rules.restrictionsOn(model));
  frameOf(session, session.input.requested.model);
  const groups = [...[...session.frames.values()].flatMap(groupsOf), ...onTargets];
  return [...new Set(groups.flatMap(({ rules }) => rules))];
}

function rulesFound(session: Session): ReadonlySet<CompiledRule> {
  return new Set([...session.frames.values()].flatMap((frame) => candidatesOf(groupsOf(frame), session, frame)));
}

function readingsOf(session: Session, rules: readonly CompiledRule[]): readonly AtomReading[] {
  const readings = new Map<string, AtomReading>();
  const { model } = session.input.requested;
  for (const { field } of rules.flatMap(({ guards }) => guards.flat())) {
    if (readings.has(field.key)) continue;
    readings.set(field.key, {
      field: nameOf(field.key),
      value: shown(session.fields.readField(field, model), field.key),
    });
  }
  return [...readings.values()];
}

function nameOf(key: string): string {
  return key.replaceAll("\n", ".");
}

function shown(value: FieldValue, key: string): AtomReading["value"] {
  if (value === ABSENT) return { is: "missing" };
  if (value === UNREAD) return { is: "unreadable" };
  if (/authorization|cookie|api-?key|token|secret/i.test(key)) return "(not shown)";
  return typeof value === "string" ? value : value.map(String);
}

function explainRule(
  session: Session,
  compiled: CompiledRule,
  verdict: Verdict,
  considered: readonly Considered[],
  found: boolean,
): RuleExplanation {
  const { rule, mode } = compiled;
  const status = considered.length > 0 ? "consulted" : found ? "notReached" : "notFound";
  const rerouted = verdict.rerouted.find((each) => each.rule === rule.id);
  return {
    rule: rule.id,
    effect: rule.effect,
    mode,
    reason: rule.reason,
    attachedTo: rule.target === undefined ? `scope ${rule.scope}` : `${rule.target.kind} ${rule.target.key}`,
    status,
    falseTests: status === "notFound" ? falseTests(session, compiled.guards) : [],
    results: considered.map(({ result, error, pool }) => ({
      result,
      ...(pool === undefined ? {} : { pool }),
      ...(error === undefined ? {} : { error }),
    })),
    expressions: status === "consulted" ? tracesOf(session, rule, considered) : [],
    removed: verdict.removed.filter((removal) => removal.rule === rule.id).map(({ pool }) => pool),
    ...(rerouted === undefined ? {} : { reroutedTo: rerouted.to }),
    wouldHave: verdict.shadow.filter((line) => line.endsWith(` by ${rule.id}`)),
  };
}

function explainApprovals(session: Session): readonly ApprovalExplanation[] {
  const { application, now } = session.input;
  const frame = lastFrame(session);
  const explained: ApprovalExplanation[] = [];
  for (const target of session.approvals.keys()) {
    const { model, pool } = target;
    if (model === undefined || frame === undefined) continue;
    const context = new RuleContext(session.facts, frame.view, candidateOf(session, target, frame).view);
    for (const { held, conditions } of session.program.approvals(model.version, application, now)) {
      if (explained.length >= MOST_APPROVALS) return explained;
      const traces = conditions.flatMap(({ text }) => traceExpression(text, "condition", context) ?? []);
      const holds = conditions.every(({ expression }) => expression.evaluate(context) === true);
      explained.push({ ...held, pool, holds, traces });
    }
  }
  return explained;
}

/** Rules about a target, and conditions of approvals, are asked while the last model is asked for. */
function lastFrame(session: Session): Frame | undefined {
  const frames = [...session.frames.values()];
  return frames.findLast(({ gate }) => gate !== undefined) ?? frames.at(-1);
}

/** A guard whose tests are all false is why the rule was not found. */
function falseTests(session: Session, guards: readonly Guard[]): readonly string[] {
  for (const frame of session.frames.values()) {
    for (const guard of guards) {
      const fails = (atom: Atom) => !canHold(atom, session.fields.readField(atom.field, frame.model));
      if (guard.every(fails)) return guard.map(testText);
    }
  }
  return [];
}

const TESTS: Readonly<Record<Atom["test"], string>> = {
  equals: "==",
  prefix: "starts with",
  member: "has",
  present: "is there",
};

function testText({ field, test, value }: Atom): string {
  return `${nameOf(field.key)} ${TESTS[test]}${test === "present" ? "" : ` ${JSON.stringify(value)}`}`;
}

function tracesOf(
  session: Session,
  rule: ProgramRule,
  considered: readonly Considered[],
): readonly ExpressionExplanation[] {
  const pools = new Set(considered.flatMap(({ pool }) => (pool === undefined ? [] : [pool])));
  const targets = session.input.candidates.filter(({ pool }) => pools.has(pool));
  const frames = [...session.frames.values()];
  const last = lastFrame(session);
  const traces: ExpressionExplanation[] = [];
  const add = (
    field: ExpressionExplanation["field"],
    trace: ExpressionTrace | undefined,
    frame: Frame,
    pool?: string,
  ) => {
    if (trace === undefined || traces.length >= MOST_TRACES) return;
    const { model } = frame;
    traces.push({ field, ...(model === undefined ? {} : { model }), ...(pool === undefined ? {} : { pool }), trace });
  };
  for (const { field, text, scope } of expressionsOf(rule)) {
    if (scope === "request") {
      for (const frame of frames) add(field, traceExpression(text, scope, frame.context), frame);
      continue;
    }
    if (last === undefined) continue;
    for (const target of targets) {
      const context = new RuleContext(session.facts, last.view, candidateOf(session, target, last).view);
      add(field, traceExpression(text, scope, context), last, target.pool);
    }
  }
  return traces;
}
