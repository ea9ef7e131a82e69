import type { Key } from "../resources/index.ts";
import type { ApplicationFacts, ApprovalFacts } from "./program.ts";
import { STEP, type Steps } from "./steps.ts";

/** Start and end in milliseconds since the epoch. */
export interface Validity {
  readonly from: number;
  readonly until: number;
}

/** RFC 3339 bounds; an absent one does not bound, one that is not a time makes the whole never valid. */
export function validity(from: string | undefined, until: string | undefined): Validity {
  const start = from === undefined ? Number.NEGATIVE_INFINITY : Date.parse(from);
  const end = until === undefined ? Number.POSITIVE_INFINITY : Date.parse(until);
  return { from: start, until: end };
}

/** From the first millisecond on, up to the last one exclusively. False where a bound is not a time. */
export function validAt(period: Validity, now: number): boolean {
  return now >= period.from && now < period.until;
}

/** Whether `outer` holds whenever `inner` does. */
export function covers(outer: Validity, inner: Validity): boolean {
  return outer.from <= inner.from && outer.until >= inner.until;
}

/** Answers whether a version is approved for an application now. */
export type Approvals = (version: Key, application: ApplicationFacts, now: number) => boolean;

/**
 * An approval that names jurisdictions must name all of the application's; for an application that names none, where it
 * works is not known, and only an approval for every jurisdiction will do.
 */
export function* approvalsOf(facts: readonly ApprovalFacts[]): Steps<Approvals> {
  const byPair = new Map<string, { readonly period: Validity; readonly jurisdictions: ReadonlySet<string> }[]>();
  for (const [place, approval] of facts.entries()) {
    const pair = pairOf(approval.version, approval.application);
    const entry = {
      period: validity(approval.validFrom, approval.validUntil),
      jurisdictions: new Set(approval.jurisdictions),
    };
    const known = byPair.get(pair);
    if (known === undefined) byPair.set(pair, [entry]);
    else known.push(entry);
    if (place % STEP === 0) yield;
  }
  return (version, application, now) => {
    const entries = byPair.get(pairOf(version, application.key)) ?? [];
    return entries.some(({ period, jurisdictions }) => {
      if (!validAt(period, now)) return false;
      if (jurisdictions.size === 0) return true;
      return (
        application.jurisdictions.length > 0 && application.jurisdictions.every((place) => jurisdictions.has(place))
      );
    });
  };
}

function pairOf(version: Key, application: Key): string {
  return `${version}\n${application}`;
}
