import { expect, test } from "vitest";
import { createInProcessBus, type NodeReport, type NodeSummary } from "../distribution/index.ts";
import type { NodeState } from "../xds-server/index.ts";
import { FleetReports } from "./fleet-reports.ts";
import { createNodeReports } from "./node-reports.ts";

const START = Date.parse("2026-11-21T10:00:00.000Z");
const iso = (ms: number): string => new Date(START + ms).toISOString();

function report(role: NodeReport["role"], reporter: string, ms: number, more: Partial<NodeReport> = {}): NodeReport {
  const none = { layouts: [], firstDecisions: {}, activeSince: {}, decisions: 0 };
  return { ...none, reporter, role, at: iso(ms), prepared: 7, active: 7, ...more };
}

function summary(id: string, more: Partial<NodeSummary> = {}): NodeSummary {
  const known = { group: "edge", knownGroup: true, envoyVersion: "1.40.0", plan: "full", connected: true };
  return { ...known, id, lastSeen: iso(0), acknowledged: 7, layout: "abc", ...more };
}

test("tells what each region, xDS server, Envoy and decision service runs", () => {
  const reports = new FleetReports();
  reports.add(report("relay", "eu/relay", 0), START);
  reports.add(report("xds", "eu/xds-1", 0, { nodes: [summary("edge-1")], nodeCount: 5 }), START);
  reports.add(report("authz", "authz-1", 0, { error: "no" }), START);
  expect(reports.regions(START)).toMatchObject([{ name: "eu", relayedRevision: 7, stale: false }]);
  expect(reports.xdsServers(START)).toMatchObject([{ id: "eu/xds-1", region: "eu", nodes: 5 }]);
  expect(reports.nodes(START)).toMatchObject([{ id: "edge-1", region: "eu", xdsServer: "eu/xds-1", stale: false }]);
  expect(reports.decisionServices(START)).toMatchObject([{ id: "authz-1", region: "", lastError: "no" }]);
});

test("calls a process stale that is silent, by this clock, and forgets it in the end", () => {
  const reports = new FleetReports();
  // Its clock is a minute behind.
  reports.add(report("authz", "authz-1", -60_000), START);
  reports.add(report("authz", "authz-1", -58_000), START + 2_000);
  expect(reports.decisionServices(START + 3_000)).toMatchObject([{ stale: false, lastReportAt: START + 2_000 }]);
  // The same one again is no sign of life.
  reports.add(report("authz", "authz-1", -58_000), START + 12_500);
  expect(reports.decisionServices(START + 12_500)).toMatchObject([{ stale: true }]);
  reports.add(report("authz", "authz-2", 20 * 60_000), START + 20 * 60_000);
  expect(reports.decisionServices(START + 20 * 60_000).map(({ id }) => id)).toEqual(["authz-2"]);
});

test("a region with a relay that lives is not stale, and has what its newest relay has", () => {
  const reports = new FleetReports();
  reports.add(report("relay", "eu/relay-1", 0, { active: 6 }), START);
  reports.add(report("relay", "eu/relay-2", 60_000, { active: 7 }), START + 60_000);
  expect(reports.regions(START + 60_000)).toMatchObject([{ relayedRevision: 7, stale: false }]);
  expect(reports.regions(START + 80_000)).toMatchObject([{ stale: true }]);
});

test("an Envoy that moved is told of once, by the xDS server that it is connected to", () => {
  const reports = new FleetReports();
  reports.add(report("xds", "xds-1", 0, { nodes: [summary("edge-1", { connected: false })] }), START);
  reports.add(report("xds", "xds-2", 0, { nodes: [summary("edge-1")] }), START);
  expect(reports.nodes(START)).toMatchObject([{ connected: true, xdsServer: "xds-2" }]);
});

function state(id: string, more: Partial<NodeState> = {}): NodeState {
  return {
    id,
    group: "edge",
    knownGroup: true,
    envoyVersion: "1.40.0",
    build: "1.40.0",
    plan: "full",
    missingExtensions: [],
    heldBack: [],
    connected: true,
    streams: 1,
    watches: 4,
    lastSeen: iso(0),
    types: [],
    acknowledgedRevision: 7,
    acknowledgedLayout: "abc",
    ...more,
  };
}

test("an xDS server tells first of Envoys that need attention, and of how many it has", () => {
  const nodeReports = createNodeReports(() => START);
  const nack = { typeUrl: "t", resources: ["r"], message: "m".repeat(10_000), at: iso(0), revision: 8, standing: true };
  const held = {
    typeUrl: "t",
    name: "r".repeat(200),
    revision: 8,
    message: "m",
    scope: "build",
    since: iso(0),
  } as const;
  const nodes = [
    ...Array.from({ length: 1_000 }, (_, index) => state(`well-${index}`)),
    state("gone", { connected: false }),
    state("behind", { acknowledgedRevision: 6 }),
    state("refusing", { acknowledgedRevision: 6, lastNack: nack, heldBack: [held, held, held] }),
  ];
  const told = nodeReports.summaries(nodes);
  expect(told.nodeCount).toBe(1_003);
  expect(told.nodes.slice(0, 4).map(({ id }) => id)).toEqual(["refusing", "behind", "gone", "well-0"]);
  expect(told.nodes[0]?.rejection?.message).toHaveLength(400);
  const heldBack = { typeUrl: "t", name: "r".repeat(128), revision: 8, scope: "build", since: iso(0) };
  expect(told.nodes[0]?.heldBack).toEqual([heldBack, heldBack]);
  expect(JSON.stringify(told).length).toBeLessThan(150_000);
});

test("what is told of Envoys fits in a report, whatever their names are", async () => {
  const long = "ü".repeat(500);
  const nack = { typeUrl: "t".repeat(200), resources: Array.from({ length: 9 }, () => long), message: long };
  const nodes = Array.from({ length: 500 }, (_, index) =>
    state(`${index}${long}`, {
      ...{ group: long, envoyVersion: long },
      lastNack: { ...nack, at: iso(0), revision: 8, standing: true },
      heldBack: [{ typeUrl: "t", name: long, revision: 8, message: long, scope: "node", since: iso(0) }],
    }),
  );
  const told = createNodeReports(() => START).summaries(nodes);
  expect(told.nodeCount).toBe(500);
  expect(told.nodes.length).toBeGreaterThan(32);
  await createInProcessBus().report(report("xds", "eu/xds-1", 0, told));
});

test("an acknowledgement has its time as long as it is the newest", () => {
  const nodeReports = createNodeReports(() => START + 5);
  const node = {
    ...{ id: "edge-1", group: "edge", version: "1.40.0", build: "1.40.0", isEnvoy: true },
    ...({ plan: "full", missingExtensions: [] } as const),
  };
  nodeReports.onEvent({ kind: "acknowledged", node, revision: 7, layout: "abc", milliseconds: 1 });
  expect(nodeReports.summaries([state("edge-1")]).nodes[0]).toMatchObject({ acknowledged: 7, acknowledgedAt: iso(5) });
  const later = nodeReports.summaries([state("edge-1", { acknowledgedRevision: 8 })]).nodes[0];
  expect(later).toMatchObject({ acknowledged: 8 });
  expect(later).not.toHaveProperty("acknowledgedAt");
});
