import { describe, expect, test } from "vitest";
import type { DecisionInput, Verdict } from "./decision.ts";
import { DecisionMemo } from "./decision-memo.ts";
import { TestedField, WholeField } from "./dependency.ts";
import { FieldSource, fieldOf } from "./fields.ts";
import { application, input, modelTarget, NOW, program } from "./fixtures.ts";
import { instantsOf } from "./instants.ts";
import { atOnce } from "./steps.ts";

const field = fieldOf(["request", "url_path"]);
if (field === undefined) throw new Error("there is no such field");
const BASE = input();

function at(url_path: string, changes: Partial<DecisionInput> = {}): DecisionInput {
  return { ...BASE, request: { ...BASE.request, url_path }, ...changes };
}

function verdict(rule: string): Verdict {
  const explanation = { considered: [], removed: [], rerouted: [], errors: [], shadow: [] };
  return { effect: "deny", code: "denied", rule, reason: "", ...explanation };
}

describe("DecisionMemo", () => {
  const path = [new WholeField(field)];

  test("keeps what is asked for, within its bounds", () => {
    const memo = new DecisionMemo([], { nodes: 20, lines: 1_000 });
    for (let index = 0; index < 1_000; index += 1) {
      memo.keep(at(`/${index}`), path, verdict(`${index}`));
      expect(memo.find(at("/0"))?.rule).toBe("0");
      expect(memo.size).toBeLessThanOrEqual(20);
    }
    expect(memo.find(at("/500"))).toBeUndefined();
    expect(memo.find(at("/999"))?.rule).toBe("999");
  });

  test("forgets at the next instant, and when restrictions or the application are others", () => {
    const memo = new DecisionMemo([NOW - 10, NOW + 10]);
    const kept = () => memo.find(at("/a", { now: NOW + 9 })) !== undefined;
    memo.keep(at("/a"), path, verdict("a"));
    expect(kept()).toBe(true);
    expect(memo.find(at("/a", { application: { ...BASE.application } }))).toBeUndefined();
    expect(kept()).toBe(true);
    for (const change of [{ now: NOW + 10 }, { now: NOW - 11 }, { restrictions: [] }]) {
      memo.keep(at("/a"), path, verdict("a"));
      expect(memo.find(at("/a", change))).toBeUndefined();
      expect(kept()).toBe(false);
    }
  });

  test("ends what it keeps with a restriction", () => {
    const memo = new DecisionMemo([]);
    const until = new Date(NOW + 5).toISOString();
    const restrictions = [{ id: "stop", kind: "model", value: "m", reason: "harm", until }] as const;
    memo.keep(at("/a", { restrictions }), path, verdict("a"));
    expect(memo.find(at("/a", { restrictions, now: NOW + 4 }))).toBeDefined();
    expect(memo.find(at("/a", { restrictions, now: NOW + 5 }))).toBeUndefined();
  });
});

test("time turns wherever a fact begins or ends, and where a score becomes too old", () => {
  const model = modelTarget("m", 1, {
    certifications: [{ name: "iso", validFrom: "2026-01-01", validUntil: "2027-01-01T00:00:00Z" }],
    scores: [{ metric: "accuracy", slice: "all", value: 1, evaluatedAt: "2026-03-01T00:00:00Z" }],
  });
  const minimumScores = [{ metric: "accuracy", slice: "all", value: 0.5, maxAgeMs: 1_000 }];
  const instants = atOnce(instantsOf(program({ targets: [model], applications: [application({ minimumScores })] })));
  const times = instants.map((instant) => new Date(instant).toISOString());
  for (const day of ["2026-01-01T00:00:00.000Z", "2027-01-01T00:00:00.000Z", "2026-03-01T00:00:01.000Z"]) {
    expect(times).toContain(day);
  }
  expect(times).toEqual(times.toSorted());
});

describe("a field that is only tested", () => {
  const tested = new TestedField(field);
  for (const prefix of [
    "/api/",
    "/api/users/",
    "/a",
    "",
    "/zebra",
    ...Array.from({ length: 600 }, (_, n) => `/n/${n}`),
  ]) {
    tested.add("prefix", prefix);
  }
  tested.add("equals", "/api/users/me");
  const keyOf = (url_path: string) => tested.keyOf(new FieldSource(at(url_path)));

  test.each([
    ["/api/users/17", "/api/users/18", true],
    ["/api/users/17", "/api/users/me", false],
    ["/api/users/", "/api/users/18", true],
    ["/api/users", "/api/orders", true],
    ["/api/users", "/api/users/", false],
    ["/b", "/c", true],
    ["/a", "/b", false],
    ["/n/7x", "/n/7", true],
    ["/n/77", "/n/7", false],
    ["/api/users/17", `/api/users/${"1".repeat(64)}`, false],
  ])("%s and %s are alike: %s", (a, b, alike) => {
    expect(keyOf(a) === keyOf(b)).toBe(alike);
  });
});
