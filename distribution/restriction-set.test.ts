import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { canonicalJson, digestOf } from "../revision/index.ts";
import { MAX_RESTRICTION_MS } from "./bus-limits.ts";
import { activeRestrictions, pruneRestrictions, type RestrictionSet, restrictionStates } from "./restriction-set.ts";
import type { RestrictionEntry, RestrictionStatement } from "./restriction-statement.ts";

const NOW = Date.parse("2026-05-01T00:00:00Z");
const HOUR = 3_600_000;
const time = (hours: number): string => new Date(NOW + hours * HOUR).toISOString();

function entryOf(statement: RestrictionStatement): RestrictionEntry {
  return { statement, digest: digestOf(canonicalJson(statement)), signedBy: ["k"], bytes: new Uint8Array() };
}

function setOf(...statements: RestrictionStatement[]): RestrictionSet {
  return new Map(statements.map(entryOf).map((entry) => [entry.digest, entry]));
}

/** As any order of taking entries makes it. */
const mergeRestrictions = (one: RestrictionSet, other: RestrictionSet): RestrictionSet => new Map([...one, ...other]);

const ID = "q-0000000000000001";
const restrict = (from: number, until: number, more: object = {}): RestrictionStatement => ({
  ...{ format: 1, type: "restrict", id: ID, kind: "version", value: "atlas-v3", reason: "why", by: "eve" },
  ...{ at: time(from), until: time(until) },
  ...more,
});
const lift = (at: number, more: object = {}): RestrictionStatement => ({
  ...{ format: 1, type: "lift", id: ID, reason: "fixed", by: "eve", at: time(at) },
  ...more,
});

/** Few ids, values and times, so that they meet. */
const statements = fc.oneof(
  fc
    .record({
      id: fc.nat(3),
      kind: fc.constantFrom("version", "region"),
      from: fc.nat(5),
      hours: fc.integer({ min: 1, max: 168 }),
    })
    .map(({ id, kind, from, hours }) => restrict(from, from + hours, { id: `q-000000000000000${id}`, kind })),
  fc.record({ id: fc.nat(3), at: fc.nat(300) }).map(({ id, at }) => lift(at, { id: `q-000000000000000${id}` })),
);
const sets = fc.array(statements, { maxLength: 8 }).map((list) => setOf(...list));
const nows = fc.nat(400).map((hours) => NOW + hours * HOUR);
const keys = (set: RestrictionSet): string[] => [...set.keys()].sort();

describe("merging", () => {
  test("is commutative, associative and idempotent, and so is what is in force", () => {
    fc.assert(
      fc.property(sets, sets, sets, nows, (a, b, c, now) => {
        const [ab, ba] = [mergeRestrictions(a, b), mergeRestrictions(b, a)];
        expect(keys(ab)).toEqual(keys(ba));
        expect(activeRestrictions(ab, now)).toEqual(activeRestrictions(ba, now));
        expect(restrictionStates(ab, now)).toEqual(restrictionStates(ba, now));
        const left = mergeRestrictions(ab, c);
        const right = mergeRestrictions(a, mergeRestrictions(b, c));
        expect(keys(left)).toEqual(keys(right));
        expect(activeRestrictions(left, now)).toEqual(activeRestrictions(right, now));
        expect(keys(mergeRestrictions(a, a))).toEqual(keys(a));
      }),
    );
  });

  test("does not depend on what each has forgotten, at any time", () => {
    fc.assert(
      fc.property(sets, sets, nows, fc.nat(200), (a, b, now, later) => {
        const whole = activeRestrictions(mergeRestrictions(a, b), now + later * HOUR);
        const pruned = mergeRestrictions(pruneRestrictions(a, now), pruneRestrictions(b, now));
        expect(activeRestrictions(pruned, now + later * HOUR)).toEqual(whole);
      }),
    );
  });

  test("more restrictions never put less out of use; a lifting never puts more", () => {
    const targets = (set: RestrictionSet, now: number) =>
      new Set(activeRestrictions(set, now).map(({ id, kind, value }) => `${id} ${kind} ${value}`));
    fc.assert(
      fc.property(sets, statements, nows, (set, statement, now) => {
        const [before, after] = [targets(set, now), targets(mergeRestrictions(set, setOf(statement)), now)];
        if (statement.type === "lift") for (const target of after) expect(before).toContain(target);
        else for (const target of before) expect(after).toContain(target);
      }),
    );
  });
});

test("a restriction is in force until its end, of its newest renewal", () => {
  const set = setOf(restrict(0, 1), restrict(0.5, 2));
  expect(activeRestrictions(set, NOW + 1.5 * HOUR)).toEqual([
    { id: ID, kind: "version", value: "atlas-v3", reason: "why", until: time(2) },
  ]);
  expect(activeRestrictions(set, NOW + 2 * HOUR)).toEqual([]);
});

test("a lifting holds against what comes after it, and is shown", () => {
  const set = setOf(lift(1), restrict(0, 3), restrict(2, 6));
  expect(activeRestrictions(set, NOW + 2.5 * HOUR)).toEqual([]);
  expect(restrictionStates(set, NOW + 2.5 * HOUR)).toMatchObject([
    { id: ID, lifted: { at: time(1), reason: "fixed" } },
  ]);
});

test("what has ended is forgotten, and a lifting once nothing that it could end is left", () => {
  const set = setOf(lift(1), restrict(0, 3));
  expect(pruneRestrictions(set, NOW + 4 * HOUR).size).toBe(1);
  expect(pruneRestrictions(set, NOW + 2 * HOUR + MAX_RESTRICTION_MS).size).toBe(0);
});
