import type { Key } from "../resources/index.ts";
import type { HeldApproval } from "./decision.ts";
import type { ApplicationFacts, ApprovalFacts } from "./program.ts";
import { type ExpressionCache, type RuleExpression, unknownFor } from "./rules.ts";
import type { Steps } from "./steps.ts";
import { type Validity, validAt, validity } from "./validity.ts";

/** An approval with its conditions ready to be asked. */
export interface CompiledApproval {
  readonly held: HeldApproval;
  readonly conditions: readonly ApprovalCondition[];
}

export interface ApprovalCondition {
  readonly text: string;
  readonly expression: RuleExpression;
}

/** Approvals of a version for an application that are valid now and where it works, in the order of the program. */
export type Approvals = (version: Key, application: ApplicationFacts, now: number) => readonly CompiledApproval[];

export interface ApprovalIndex {
  readonly approvals: Approvals;
  /** Conditions of all approvals. */
  readonly conditions: readonly RuleExpression[];
  /** Conditions that do not compile; they are unknown for every request. */
  readonly problems: readonly { readonly rule: string; readonly message: string }[];
}

/** Rests after so many approvals: each has dates to be read. */
const AT_A_TIME = 32;

/**
 * An approval that names jurisdictions must name all of the application's; for an application that names none, where it
 * works is not known, and only an approval for every jurisdiction will do.
 */
export function* indexApprovals(facts: readonly ApprovalFacts[], cache: ExpressionCache): Steps<ApprovalIndex> {
  const byPair = new Map<string, Entry[]>();
  const conditions = new Set<RuleExpression>();
  const problems: { readonly rule: string; readonly message: string }[] = [];
  for (const [place, approval] of facts.entries()) {
    const ready: ApprovalCondition[] = [];
    for (const text of approval.conditions ?? []) {
      const result = yield* cache.compile(text, "condition", "bool");
      let expression: RuleExpression;
      if (result.ok) expression = result.expression;
      else {
        const message = `condition does not compile: ${result.errors[0]?.message ?? "no reason given"}`;
        problems.push({ rule: approvalId(approval.key), message });
        expression = unknownFor(message);
      }
      conditions.add(expression);
      ready.push({ text, expression });
    }
    const entry = {
      approval: { held: heldBy(approval), conditions: ready },
      period: validity(approval.validFrom, approval.validUntil),
      jurisdictions: new Set(approval.jurisdictions),
    };
    const pair = pairOf(approval.version, approval.application);
    const known = byPair.get(pair);
    if (known === undefined) byPair.set(pair, [entry]);
    else known.push(entry);
    if (place % AT_A_TIME === 0) yield;
  }
  const approvals: Approvals = (version, application, now) => {
    const entries = byPair.get(pairOf(version, application.key)) ?? [];
    return entries
      .filter(({ period, jurisdictions }) => validAt(period, now) && holdsWhere(jurisdictions, application))
      .map(({ approval }) => approval);
  };
  return { approvals, conditions: [...conditions], problems };
}

function heldBy({ key, version, rule, conditions = [] }: ApprovalFacts): HeldApproval {
  return {
    approval: key,
    version,
    ...(rule === undefined ? {} : { rule }),
    ...(conditions.length === 0 ? {} : { conditions: conditions.map(shortened) }),
  };
}

/** Characters of a condition that verdicts and records hold; those that go through the API are no longer. */
const SHOWN = 256;

export function shortened(condition: string): string {
  return condition.length > SHOWN ? `${condition.slice(0, SHOWN)}…` : condition;
}

interface Entry {
  readonly approval: CompiledApproval;
  readonly period: Validity;
  readonly jurisdictions: ReadonlySet<string>;
}

function holdsWhere(jurisdictions: ReadonlySet<string>, application: ApplicationFacts): boolean {
  if (jurisdictions.size === 0) return true;
  return application.jurisdictions.length > 0 && application.jurisdictions.every((place) => jurisdictions.has(place));
}

/** How errors and explanations name it beside rules. */
export function approvalId(key: Key): string {
  return `approval/${key}`;
}

function pairOf(version: Key, application: Key): string {
  return `${version}\n${application}`;
}
