import { expect, test } from "vitest";
import type { NodeReport } from "./bus.ts";
import {
  type ConvergenceEvent,
  type ConvergenceInput,
  type ConvergenceState,
  convergence,
  formatConvergence,
  noConvergence,
} from "./convergence.ts";

const T = Date.parse("2026-05-01T00:00:00Z");

function run(inputs: readonly ConvergenceInput[]): { state: ConvergenceState; events: readonly ConvergenceEvent[] } {
  let state = noConvergence;
  const events: ConvergenceEvent[] = [];
  for (const input of inputs) {
    const next = convergence(state, input);
    state = next.state;
    events.push(...next.events);
  }
  return { state, events };
}

const lines = (inputs: readonly ConvergenceInput[]) => run(inputs).events.map(formatConvergence);

function published(number: number, at = T): ConvergenceInput {
  return { type: "published", number, at, durationMs: 80 };
}

function acknowledged(number: number, node: string, at: number): ConvergenceInput {
  return { type: "acknowledged", number, node, at };
}

/** A report at `at` of a service that decides by `active` since `since`. */
function report(reporter: string, active: number, since: number, at = since, role: "authz" | "xds" = "authz") {
  const activeSince = { [active]: new Date(since).toISOString() };
  const said: NodeReport = {
    reporter,
    role,
    at: new Date(at).toISOString(),
    prepared: active,
    active,
    layouts: [],
    firstDecisions: {},
    activeSince,
    decisions: 0,
  };
  return { type: "report", report: said } as const;
}

test("tells how long a revision took to be published, acknowledged and enforced", () => {
  expect(
    lines([
      report("authz-1", 6, T - 5_000),
      report("authz-2", 6, T - 5_000),
      published(7),
      report("authz-1", 7, T + 60),
      acknowledged(7, "edge-1", T + 120),
      report("authz-2", 7, T + 95, T + 300),
    ]),
  ).toEqual([
    "revision 7: published in 80 ms",
    "revision 7: acknowledged by edge-1 after 120 ms",
    "revision 7: enforced by authz-1, authz-2 after 95 ms",
  ]);
});

test("each is told once", () => {
  const inputs = [published(7), acknowledged(7, "edge-1", T + 1), report("authz-1", 7, T + 2)];
  expect(lines([...inputs, ...inputs.slice(1), ...inputs.slice(1)])).toHaveLength(3);
});

test("it is not enforced while one live service decides by an older revision", () => {
  const { events } = run([report("authz-1", 6, T), report("authz-2", 6, T), published(7), report("authz-1", 7, T + 9)]);
  expect(events.map((event) => event.type)).toEqual(["published"]);
});

test("a service that is silent for ten seconds is not waited for", () => {
  expect(
    lines([
      report("gone", 6, T),
      published(7),
      report("authz-1", 7, T + 9, T + 9_000),
      report("authz-1", 7, T + 9, T + 10_001),
    ]),
  ).toEqual(["revision 7: published in 80 ms", "revision 7: enforced by authz-1 after 9 ms"]);
});

test("a revision that was skipped for a newer one counts as enforced by that", () => {
  expect(lines([published(7), published(8, T + 50), report("authz-1", 8, T + 70)])).toEqual([
    "revision 7: published in 80 ms",
    "revision 8: published in 80 ms",
    "revision 7: enforced by authz-1 after 70 ms",
    "revision 8: enforced by authz-1 after 20 ms",
  ]);
});

test("reports of xDS servers enforce nothing, and what was not published here is not told", () => {
  expect(lines([published(7), report("xds-1", 7, T, T, "xds")])).toHaveLength(1);
  expect(lines([acknowledged(7, "edge-1", T), report("authz-1", 7, T)])).toEqual([]);
});

test("a clock that is behind gives no negative time", () => {
  expect(lines([published(7), acknowledged(7, "e", T - 5), report("a", 7, T - 9)]).slice(1)).toEqual([
    "revision 7: acknowledged by e after 0 ms",
    "revision 7: enforced by a after 0 ms",
  ]);
});

test("only the newest revisions are remembered", () => {
  const inputs = Array.from({ length: 100 }, (_, index) => [
    published(index + 1),
    acknowledged(index + 1, "e", T),
  ]).flat();
  const { state } = run(inputs);
  expect(state.published.size).toBe(16);
  expect(state.acknowledged.size).toBe(16);
});

test("measures from the save to each acknowledgement and first decision, by no clock later than the report", () => {
  const iso = (ms: number): string => new Date(ms).toISOString();
  const base = {
    at: iso(1_500),
    prepared: 1,
    active: 1,
    layouts: [],
    firstDecisions: {},
    activeSince: {},
    decisions: 0,
  };
  const node = {
    ...{ id: "edge-1", group: "edge", knownGroup: true, envoyVersion: "", plan: "full", connected: true },
    ...{ lastSeen: iso(0), acknowledged: 1, layout: "", acknowledgedAt: iso(1_200) },
  };
  const early = { ...node, acknowledged: 0, acknowledgedAt: iso(400) };
  const inputs: ConvergenceInput[] = [
    // Who is there: of others nothing is measured.
    { type: "report", report: { ...base, role: "xds", reporter: "xds", nodes: [early] }, at: 500 },
    { type: "report", report: { ...base, role: "authz", reporter: "a", active: 0 }, at: 500 },
    { type: "report", report: { ...base, role: "authz", reporter: "b", active: 0 }, at: 500 },
    { type: "published", number: 1, at: 1_000, durationMs: 100 },
    { type: "report", report: { ...base, role: "xds", reporter: "xds", nodes: [node] }, at: 1_500 },
    { type: "report", report: { ...base, role: "xds", reporter: "xds", nodes: [node] }, at: 1_600 },
    {
      type: "report",
      report: { ...base, role: "xds", reporter: "xds", nodes: [{ ...node, id: "edge-2" }] },
      at: 1_600,
    },
    // A clock that is ahead.
    { type: "report", report: { ...base, role: "authz", reporter: "a", decidedSince: { 1: iso(9_000) } }, at: 1_700 },
    // Away for an hour: no measure of the way.
    {
      type: "report",
      report: { ...base, role: "authz", reporter: "b", decidedSince: { 1: iso(3_601_000) } },
      at: 3_700_000,
    },
  ];
  let state = noConvergence;
  for (const input of inputs) state = convergence(state, input).state;
  expect(state.saveToAcknowledged).toEqual([300]);
  expect(state.saveToDecision).toEqual([800]);
});
