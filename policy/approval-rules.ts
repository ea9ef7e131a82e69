import type { Key, Scope } from "../resources/index.ts";
import { type ConditionProblem, checkCondition } from "./approval-conditions.ts";
import { compileExpression } from "./cel.ts";
import type { DecisionInput } from "./decision.ts";
import type { Expression } from "./expression.ts";
import type { ExpressionChecks } from "./expression-checks.ts";
import type { ApplicationFacts, ApprovalFacts, ModelTarget } from "./program.ts";
import { certificationsOf, scoresOf, validCertifications } from "./standing.ts";
import { validity } from "./validity.ts";
import { ModelView, RequestFacts, RuleContext, TargetView } from "./views.ts";

/** What is known of a version wherever it runs. */
export type VersionFacts = Pick<
  ModelTarget,
  | "model"
  | "version"
  | "versionName"
  | "age"
  | "provider"
  | "digest"
  | "owner"
  | "generalPurpose"
  | "documentation"
  | "maturity"
  | "trainingData"
  | "certifications"
  | "scores"
> & { readonly labels: Readonly<Record<string, string>> };

/** A rule with all versions and applications that it may approve. Times are RFC 3339. */
export interface ApprovalRuleFacts {
  readonly key: Key;
  readonly scope: Scope;
  readonly versions: readonly VersionFacts[];
  readonly applications: readonly ApplicationFacts[];
  readonly jurisdictions: readonly string[];
  readonly when: string;
  /** Of every approval by the rule. */
  readonly conditions: readonly string[];
  readonly validForMs: number;
  readonly validFrom?: string;
  readonly validUntil: string;
}

/** Conditions that one rule may ask: versions × applications × times at which a version's facts change. */
export const MOST_CONDITIONS = 50_000;

export interface ApprovalRuleProblem extends Omit<ConditionProblem, "code"> {
  readonly code: ConditionProblem["code"] | "invalid-value";
}

/** What is wrong with the condition of a rule, or with how much it asks. */
export function checkApprovalRule(rule: ApprovalRuleFacts, checks?: ExpressionChecks): readonly ApprovalRuleProblem[] {
  const problems = checkCondition(rule.when, "approval", checks);
  if (problems.some(({ severity }) => severity === "error")) return problems;
  const conditions = conditionsOf(rule);
  if (conditions > MOST_CONDITIONS) {
    const message = `It would be asked ${conditions} times, and at most ${MOST_CONDITIONS} are taken`;
    const hint = "write several rules about fewer versions and applications";
    return [{ severity: "error", code: "invalid-value", message, hint, offset: 0 }];
  }
  return problems;
}

/**
 * The approvals that a rule gives: one for each version, application and unbroken period in which its condition is true.
 * The facts that change by time alone are scores (each counts for `validForMs` after its evaluation) and certifications;
 * between two of their dates the condition has one value, so no clock is needed. Unknown does not approve. Nothing where
 * `checkApprovalRule` has an error.
 */
export function approvalsByRule(rule: ApprovalRuleFacts): readonly ApprovalFacts[] {
  const compiled = compileExpression(rule.when, "approval", "bool");
  if (!compiled.ok || conditionsOf(rule) > MOST_CONDITIONS) return [];
  const requests = rule.applications.map((application) => new RequestFacts({ ...NO_REQUEST, application }));
  return rule.versions.flatMap((version) => {
    const times = timesOf(rule, version);
    const views = times.slice(0, -1).map((time) => viewAt(version, time, rule.validForMs));
    return rule.applications.flatMap((application, index): ApprovalFacts[] => {
      const facts = requests[index];
      if (facts === undefined) return [];
      const held = views.map((view) => isTrue(compiled.expression, new RuleContext(facts, NO_MODEL, view)));
      return periods(held, times).map(({ from, until }, nth) => ({
        // Keys of objects have no colon: none of these is the key of an Approval.
        key: `${rule.key}:${version.version}:${application.key}${nth === 0 ? "" : `:${nth + 1}`}`,
        version: version.version,
        application: application.key,
        jurisdictions: rule.jurisdictions,
        ...(rule.conditions.length === 0 ? {} : { conditions: rule.conditions }),
        ...(Number.isFinite(from) ? { validFrom: new Date(from).toISOString() } : {}),
        validUntil: new Date(until).toISOString(),
        rule: rule.key,
      }));
    });
  });
}

function isTrue(condition: Expression, context: RuleContext): boolean {
  return condition.evaluate(context) === true;
}

interface Period {
  readonly from: number;
  readonly until: number;
}

/** `held[i]` is said of the time from `times[i]` to `times[i + 1]`. */
function periods(held: readonly boolean[], times: readonly number[]): readonly Period[] {
  const found: Period[] = [];
  for (const [index, holds] of held.entries()) {
    const [from, until] = [times[index], times[index + 1]];
    if (!holds || from === undefined || until === undefined) continue;
    const last = found.at(-1);
    if (last?.until === from) found[found.length - 1] = { from: last.from, until };
    else found.push({ from, until });
  }
  return found;
}

/** When what is known of a version changes by time alone, from the rule's start to its end; ascending milliseconds. */
function timesOf({ validFrom, validUntil, validForMs }: ApprovalRuleFacts, version: VersionFacts): readonly number[] {
  const { from, until } = validity(validFrom, validUntil);
  // No time that can be read: never valid.
  if (!(from < until)) return [];
  const dates = [
    ...version.scores.flatMap(({ evaluatedAt }) => {
      const at = evaluatedAt === undefined ? Number.NaN : Date.parse(evaluatedAt);
      return [at, at + validForMs];
    }),
    ...certificationsOf(modelOf(version)).flatMap(({ period }) => [period.from, period.until]),
  ];
  const inside = dates.filter((date) => date > from && date < until);
  return [from, ...[...new Set(inside)].sort((a, b) => a - b), until];
}

function conditionsOf(rule: ApprovalRuleFacts): number {
  const spans = rule.versions.reduce((sum, version) => sum + Math.max(0, timesOf(rule, version).length - 1), 0);
  return spans * rule.applications.length;
}

function viewAt(version: VersionFacts, now: number, validForMs: number): TargetView {
  const model = modelOf(version);
  const scores = model.scores.filter(({ evaluatedAt }) => {
    const at = evaluatedAt === undefined ? Number.NaN : Date.parse(evaluatedAt);
    return at <= now && now < at + validForMs;
  });
  const standing = {
    // What is being found out.
    approved: () => undefined,
    certifications: validCertifications(certificationsOf(model), now),
    scores: scoresOf({ ...model, scores }),
    processing: undefined,
    now,
  };
  const { labels } = version;
  return new TargetView({ pool: "", kind: "model", upstream: "", credential: "none", labels, model }, standing);
}

/** A version that runs nowhere: conditions cannot read what is left empty here (`APPROVAL_WORDS`). */
function modelOf({ labels: _, ...version }: VersionFacts): ModelTarget {
  return { ...version, deployment: "", region: "", country: "", api: "other", wireName: "", weight: 0 };
}

const NO_MODEL = new ModelView(undefined);
const NO_PEER = { address: "", port: 0 };
/** Conditions read nothing of it but the application that is put in. */
const NO_REQUEST: Omit<DecisionInput, "application"> = {
  request: {
    method: "",
    scheme: "",
    host: "",
    path: "",
    url_path: "",
    query: "",
    protocol: "",
    id: "",
    size: -1,
    time: 0,
    headers: new Map(),
  },
  source: NO_PEER,
  destination: NO_PEER,
  connection: { mtls: false },
  metadata: {},
  xds: {},
  subject: { kind: "anonymous", id: "", claims: {}, fields: {} },
  gateway: "",
  httpRoute: "",
  requested: { stream: false },
  candidates: [],
  models: [],
  now: 0,
  draw: 0,
};
