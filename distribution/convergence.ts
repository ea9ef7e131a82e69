import type { NodeReport } from "./bus.ts";
import { addLatency, type LatencyWindow } from "./latency.ts";

const KEPT_REVISIONS = 16;
/** A process that reported within this time (milliseconds) takes part. */
const LIVE_MS = 10_000;
const MAX_NODES = 4_096;
/** What comes later than this (milliseconds) after a revision is of somebody who was away, and no measure of the way. */
const AWAY_MS = 10 * 60_000;

/** What happened to revisions; all times in milliseconds since the epoch. */
export type ConvergenceInput =
  /** `durationMs`: from the save until it was published. */
  | { readonly type: "published"; readonly number: number; readonly at: number; readonly durationMs: number }
  /** An Envoy acknowledged all that a revision changed for it. */
  | { readonly type: "acknowledged"; readonly number: number; readonly node: string; readonly at: number }
  /** `at`: when it came. */
  | { readonly type: "report"; readonly report: NodeReport; readonly at?: number };

export type ConvergenceEvent =
  | { readonly type: "published"; readonly number: number; readonly durationMs: number }
  /** `afterMs`: since it was published. */
  | { readonly type: "acknowledged"; readonly number: number; readonly node: string; readonly afterMs: number }
  /** Every live decision service decides by this revision (or a newer one). */
  | {
      readonly type: "enforced";
      readonly number: number;
      readonly services: readonly string[];
      readonly afterMs: number;
    };

/** Opaque but for its windows; begin with `noConvergence`. Bounded: the newest sixteen revisions are followed. */
export interface ConvergenceState {
  readonly published: ReadonlyMap<number, Published>;
  /** Envoys that acknowledged something; the newest few thousand. */
  readonly nodes: ReadonlySet<string>;
  /** `<number> <node>` of what was told already; of first decisions `<number> <service>`. */
  readonly acknowledged: ReadonlySet<string>;
  readonly decided: ReadonlySet<string>;
  /** Newest report of each live decision service. */
  readonly reports: ReadonlyMap<string, NodeReport>;
  /** From the save to the acknowledgement of each Envoy, to the first decision of each decision service. */
  readonly saveToAcknowledged: LatencyWindow;
  readonly saveToDecision: LatencyWindow;
}

interface Published {
  readonly at: number;
  readonly durationMs: number;
  readonly enforced: boolean;
  /** Envoys and decision services that were there then: of others it says nothing when they came to it. */
  readonly nodes: ReadonlySet<string>;
  readonly services: ReadonlySet<string>;
}

export const noConvergence: ConvergenceState = {
  published: new Map(),
  nodes: new Set(),
  acknowledged: new Set(),
  decided: new Set(),
  reports: new Map(),
  saveToAcknowledged: [],
  saveToDecision: [],
};

interface Step {
  readonly state: ConvergenceState;
  readonly events: readonly ConvergenceEvent[];
}

/**
 * How long a revision takes to be in force everywhere. Pure. Nothing is told of revisions that were not published here
 * since the start.
 */
export function convergence(state: ConvergenceState, input: ConvergenceInput): Step {
  switch (input.type) {
    case "published": {
      const { number, at, durationMs } = input;
      const { nodes } = state;
      const services = new Set(state.reports.keys());
      const published = new Map([
        ...state.published,
        [number, { at, durationMs, enforced: false, nodes, services }] as const,
      ]);
      for (const old of [...published.keys()].slice(0, -KEPT_REVISIONS)) published.delete(old);
      const kept = (told: ReadonlySet<string>): ReadonlySet<string> =>
        new Set([...told].filter((entry) => published.has(Number(entry.split(" ", 1)[0]))));
      const { acknowledged, decided } = state;
      const told = { type: "published", number, durationMs } as const;
      const next = enforced({ ...state, published, acknowledged: kept(acknowledged), decided: kept(decided) });
      return { state: next.state, events: [told, ...next.events] };
    }
    case "acknowledged":
      return acknowledged(state, input.number, input.node, input.at);
    case "report":
      return input.report.role === "authz" ? serviceReport(state, input) : nodesReport(state, input);
  }
}

function acknowledged(state: ConvergenceState, number: number, node: string, at: number): Step {
  const published = state.published.get(number);
  const id = `${number} ${node}`;
  const nodes = withNode(state.nodes, node);
  if (published === undefined || state.acknowledged.has(id)) return { state: { ...state, nodes }, events: [] };
  const afterMs = Math.max(0, at - published.at);
  const event = { type: "acknowledged", number, node, afterMs } as const;
  const saveToAcknowledged = published.nodes.has(node)
    ? sampled(state.saveToAcknowledged, afterMs, published.durationMs)
    : state.saveToAcknowledged;
  const told = new Set([...state.acknowledged, id]);
  return { state: { ...state, nodes, acknowledged: told, saveToAcknowledged }, events: [event] };
}

function withNode(nodes: ReadonlySet<string>, node: string): ReadonlySet<string> {
  return nodes.has(node) ? nodes : new Set([...[...nodes].slice(1 - MAX_NODES), node]);
}

function sampled(window: LatencyWindow, afterMs: number, durationMs: number): LatencyWindow {
  return afterMs > AWAY_MS ? window : addLatency(window, afterMs + durationMs);
}

/** What an xDS server tells of its Envoys. */
function nodesReport(state: ConvergenceState, input: Extract<ConvergenceInput, { type: "report" }>): Step {
  const events: ConvergenceEvent[] = [];
  let next = state;
  for (const node of input.report.nodes ?? []) {
    if (node.acknowledgedAt === undefined) continue;
    const step = acknowledged(next, node.acknowledged, node.id, heard(node.acknowledgedAt, input.at));
    next = step.state;
    events.push(...step.events);
  }
  return { state: next, events };
}

function serviceReport(state: ConvergenceState, input: Extract<ConvergenceInput, { type: "report" }>): Step {
  const { report } = input;
  const newest = Date.parse(report.at);
  const reports = new Map([...state.reports, [report.reporter, report]]);
  for (const [reporter, { at }] of reports) if (newest - Date.parse(at) > LIVE_MS) reports.delete(reporter);
  const decided = new Set(state.decided);
  let { saveToDecision } = state;
  for (const [revision, since] of Object.entries(report.decidedSince ?? {})) {
    const published = state.published.get(Number(revision));
    const id = `${revision} ${report.reporter}`;
    if (published === undefined || decided.has(id)) continue;
    decided.add(id);
    const afterMs = Math.max(0, heard(since, input.at) - published.at);
    if (!published.services.has(report.reporter)) continue;
    saveToDecision = sampled(saveToDecision, afterMs, published.durationMs);
  }
  return enforced({ ...state, reports, decided, saveToDecision });
}

/** A time by another machine's clock: it was not after its report came. */
function heard(time: string, cameAt = Number.POSITIVE_INFINITY): number {
  return Math.min(Date.parse(time), cameAt);
}

function enforced(state: ConvergenceState): Step {
  const reports = [...state.reports.values()];
  if (reports.length === 0) return { state, events: [] };
  const published = new Map(state.published);
  const events: ConvergenceEvent[] = [];
  for (const [number, entry] of state.published) {
    if (entry.enforced || reports.some((report) => report.active < number)) continue;
    published.set(number, { ...entry, enforced: true });
    const last = Math.max(...reports.map((report) => activeSince(report, number)));
    const services = reports.map((report) => report.reporter).sort();
    events.push({ type: "enforced", number, services, afterMs: Math.max(0, last - entry.at) });
  }
  return { state: { ...state, published }, events };
}

/** When a service began to decide by a revision; by a newer one where it skipped this. */
function activeSince(report: NodeReport, number: number): number {
  const times = Object.entries(report.activeSince)
    .filter(([since]) => Number(since) >= number)
    .map(([, at]) => Date.parse(at))
    .filter((at) => !Number.isNaN(at));
  return times.length > 0 ? Math.min(...times) : Date.parse(report.at);
}

/** One line for people: `revision 7: acknowledged by edge-1 after 120 ms`. */
export function formatConvergence(event: ConvergenceEvent): string {
  const revision = `revision ${event.number}`;
  switch (event.type) {
    case "published":
      return `${revision}: published in ${Math.round(event.durationMs)} ms`;
    case "acknowledged":
      return `${revision}: acknowledged by ${event.node} after ${Math.round(event.afterMs)} ms`;
    case "enforced":
      return `${revision}: enforced by ${event.services.join(", ")} after ${Math.round(event.afterMs)} ms`;
  }
}
