import fc from "fast-check";
import { afterEach, expect, test, vi } from "vitest";
import type { NodeReport } from "./bus.ts";
import { LayoutGate, layoutGate, type WaitingLayouts } from "./layout-gate.ts";

const NOW = Date.parse("2026-05-01T00:00:00Z");
const WAITING: WaitingLayouts = { number: 7, layouts: ["a", "b"], since: NOW };
const DEADLINE = { timeout: 15_000, interval: 5 };

const gates: LayoutGate[] = [];
afterEach(() => {
  for (const gate of gates.splice(0)) gate.close();
});

function report(reporter: string, change: Partial<NodeReport> & { readonly ageMs?: number } = {}): NodeReport {
  const { ageMs = 0, ...rest } = change;
  return {
    reporter,
    role: "authz",
    at: new Date(NOW - ageMs).toISOString(),
    prepared: 6,
    active: 6,
    layouts: ["a"],
    firstDecisions: {},
    activeSince: {},
    decisions: 0,
    ...rest,
  };
}

test.each<[string, NodeReport[], "open" | "closed" | "superseded"]>([
  ["all have prepared the revision", [report("1", { prepared: 7 }), report("2", { prepared: 7 })], "open"],
  [
    "one is ahead and knows the layouts",
    [report("1", { prepared: 7 }), report("2", { prepared: 8, layouts: ["a", "b"] })],
    "open",
  ],
  [
    "one skipped the revision for a newer one",
    [report("1", { prepared: 7 }), report("2", { prepared: 8 })],
    "superseded",
  ],
  ["one skipped it, and one lags", [report("1", { prepared: 8 }), report("2")], "superseded"],
  ["all know the layouts already", [report("1", { layouts: ["b", "a", "c"] })], "open"],
  ["one has not", [report("1", { prepared: 7 }), report("2")], "closed"],
  ["one knows only some of the layouts", [report("1", { layouts: ["b"] })], "closed"],
  [
    "the one that has not was silent for too long",
    [report("1", { prepared: 7 }), report("2", { ageMs: 10_001 })],
    "open",
  ],
  ["xDS servers are not asked", [report("1", { prepared: 7 }), report("x", { role: "xds" })], "open"],
  ["nobody is there", [], "closed"],
  ["only xDS servers are there", [report("x", { role: "xds", prepared: 7 })], "closed"],
])("%s: %#", (_, reports, state) => {
  expect(layoutGate(WAITING, reports, NOW, 8).state).toBe(state);
});

test("after the longest wait it is overdue, and names who is missing", () => {
  const reports = [report("1", { prepared: 7 }), report("2"), report("3")];
  expect(layoutGate(WAITING, reports, NOW + 1_999, 7)).toEqual({
    state: "closed",
    missing: ["2", "3"],
    until: NOW + 2_000,
  });
  expect(layoutGate(WAITING, reports, NOW + 2_000, 7)).toEqual({ state: "overdue", missing: ["2", "3"] });
  expect(layoutGate(WAITING, [], NOW + 2_000, 7)).toEqual({ state: "overdue", missing: [] });
});

test("a service that speaks of a newer revision that the bus never announces is overdue in the end", () => {
  const reports = [report("1", { prepared: 7 }), report("2", { prepared: Number.MAX_SAFE_INTEGER })];
  const seen = (ms: number, newest: number) => {
    const still = reports.map((each) => ({ ...each, at: new Date(NOW + ms).toISOString() }));
    return layoutGate(WAITING, still, NOW + ms, newest);
  };
  expect(seen(9_999, 7)).toEqual({ state: "closed", missing: ["2"], until: NOW + 10_000 });
  expect(seen(9_999, 8)).toEqual({ state: "superseded" });
  expect(seen(10_000, 7)).toEqual({ state: "overdue", missing: ["2"] });
});

test("it never opens while a live decision service has neither the revision nor the layouts", () => {
  const arbitrary = fc.array(
    fc.record({
      prepared: fc.nat(9),
      layouts: fc.subarray(["a", "b", "c"]),
      ageMs: fc.integer({ min: 0, max: 20_000 }),
      role: fc.constantFrom("authz" as const, "xds" as const),
    }),
    { maxLength: 5 },
  );
  fc.assert(
    fc.property(arbitrary, (services) => {
      const reports = services.map((service, index) => report(String(index), service));
      const unready = services.some(
        ({ role, ageMs, prepared, layouts }) =>
          role === "authz" && ageMs <= 10_000 && prepared !== 7 && !(layouts.includes("a") && layouts.includes("b")),
      );
      if (unready) expect(layoutGate(WAITING, reports, NOW, 8).state).not.toBe("open");
    }),
  );
});

function gate(maximumWaitMs: number): { readonly gate: LayoutGate; readonly overdue: (readonly string[])[] } {
  const overdue: (readonly string[])[] = [];
  const made = new LayoutGate({ now: Date.now, maximumWaitMs, onOverdue: (_, missing) => overdue.push(missing) });
  gates.push(made);
  return { gate: made, overdue };
}

const now = () => new Date().toISOString();
const REVISION = { number: 7, layouts: [{ hash: "a" }, { hash: "b" }] };

test("the gate opens with the report of the last that was missing", async () => {
  const { gate: subject, overdue } = gate(3_600_000);
  subject.report(report("1", { at: now(), prepared: 7 }));
  subject.report(report("2", { at: now() }));
  let opened = false;
  const opening = subject.opened(REVISION).then((result) => {
    opened = result;
  });
  subject.report(report("1", { at: now(), prepared: 7 }));
  await new Promise(setImmediate);
  expect(opened).toBe(false);
  subject.report(report("2", { at: now(), prepared: 7 }));
  await opening;
  expect(opened).toBe(true);
  expect(overdue).toEqual([]);
  expect(await subject.opened(REVISION)).toBe(true);
});

test("the gate lets nothing through that a decision service skipped for a newer revision", async () => {
  const { gate: subject, overdue } = gate(3_600_000);
  subject.report(report("1", { at: now() }));
  const opened = subject.opened(REVISION);
  subject.report(report("1", { at: now(), prepared: 8 }));
  subject.head(8);
  expect(await opened).toBe(false);
  expect(overdue).toEqual([]);
});

test("the gate opens loudly after the longest wait", async () => {
  const { gate: subject, overdue } = gate(20);
  subject.report(report("2", { at: now() }));
  expect(await subject.opened(REVISION)).toBe(true);
  expect(overdue).toEqual([["2"]]);
});

test("a gate that is closed lets nothing through, and closing twice is safe", async () => {
  const { gate: subject } = gate(3_600_000);
  const results: boolean[] = [];
  void subject.opened(REVISION).then((result) => results.push(result));
  subject.close();
  subject.close();
  void subject.opened(REVISION).then((result) => results.push(result));
  await vi.waitFor(() => expect(results).toEqual([false, false]), DEADLINE);
});
