import type { Restriction } from "../policy/index.ts";
import type { Digest } from "../revision/index.ts";
import { MAX_RESTRICTION_MS, RESTRICTION_SKEW_MS } from "./bus-limits.ts";
import type { LiftStatement, RestrictionEntry, RestrictStatement } from "./restriction-statement.ts";

/**
 * Restrictions and their liftings as a grow-only set: merging is union, so that what every process holds in the end does
 * not depend on the order or on how often entries arrive. A lifting is a tombstone for an id: it holds against every
 * restriction with that id, also one that comes later.
 */
export type RestrictionSet = ReadonlyMap<Digest, RestrictionEntry>;

/** A restriction as people are shown it. */
export interface RestrictionState {
  readonly id: string;
  readonly kind: Restriction["kind"];
  readonly value: string;
  readonly reason: string;
  readonly by: string;
  /** RFC 3339: of the newest renewal. */
  readonly at: string;
  readonly until: string;
  readonly signedBy: readonly string[];
  /** Set where it was lifted before its end. */
  readonly lifted?: {
    readonly at: string;
    readonly by: string;
    readonly reason: string;
    /** Of every lifting of it. */
    readonly signedBy: readonly string[];
  };
}

/**
 * Without entries that cannot change anything any more: restrictions that have ended, and liftings of which everything
 * that they could end has ended. What is in force does not depend on when this was done.
 *
 * @param now  milliseconds since the epoch
 */
export function pruneRestrictions(set: RestrictionSet, now: number): RestrictionSet {
  return new Map([...set].filter(([, entry]) => now < endOf(entry)));
}

function endOf({ statement }: RestrictionEntry): number {
  if (statement.type === "restrict") return Date.parse(statement.until);
  // What was signed before the lifting ends by then; who signs the same id anew after it means it.
  return Date.parse(statement.at) + MAX_RESTRICTION_MS + 2 * RESTRICTION_SKEW_MS;
}

/** What is in force, for decisions: one entry for each id and target, with its latest end, ordered by id. */
export function activeRestrictions(set: RestrictionSet, now: number): readonly Restriction[] {
  return restrictionStates(set, now)
    .filter(({ lifted }) => lifted === undefined)
    .map(({ id, kind, value, reason, until }) => ({ id, kind, value, reason, until }));
}

/** What has not ended by itself, lifted or not, ordered by id. */
export function restrictionStates(set: RestrictionSet, now: number): readonly RestrictionState[] {
  const lifts = new Map<string, LiftStatement>();
  const lifters = new Map<string, Set<string>>();
  const newest = new Map<string, { readonly statement: RestrictStatement; readonly entry: RestrictionEntry }>();
  for (const entry of pruneRestrictions(set, now).values()) {
    const { statement } = entry;
    if (statement.type === "lift") {
      const known = lifts.get(statement.id);
      lifters.set(statement.id, new Set([...(lifters.get(statement.id) ?? []), ...entry.signedBy]));
      if (known === undefined || isBefore(statement, known)) lifts.set(statement.id, statement);
    } else {
      const key = `${statement.id}\n${statement.kind}\n${statement.value}`;
      const known = newest.get(key);
      if (known === undefined || endsLater(entry, statement, known)) newest.set(key, { statement, entry });
    }
  }
  const states = [...newest].map(([key, { statement, entry }]): [string, RestrictionState] => {
    const { id, kind, value, reason, by, at, until } = statement;
    const lift = lifts.get(id);
    const lifted =
      lift === undefined
        ? {}
        : { lifted: { at: lift.at, by: lift.by, reason: lift.reason, signedBy: [...(lifters.get(id) ?? [])].sort() } };
    return [key, { id, kind, value, reason, by, at, until, signedBy: entry.signedBy, ...lifted }];
  });
  return states.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, state]) => state);
}

/** The earliest lifting is the one that is shown; of two at a time the smaller text, so that all show the same. */
function isBefore(one: LiftStatement, other: LiftStatement): boolean {
  const [a, b] = [Date.parse(one.at), Date.parse(other.at)];
  return a === b ? JSON.stringify(one) < JSON.stringify(other) : a < b;
}

function endsLater(
  entry: RestrictionEntry,
  statement: RestrictStatement,
  known: { readonly statement: RestrictStatement; readonly entry: RestrictionEntry },
): boolean {
  const [a, b] = [Date.parse(statement.until), Date.parse(known.statement.until)];
  return a === b ? entry.digest < known.entry.digest : a > b;
}
