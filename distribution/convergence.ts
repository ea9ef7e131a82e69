import type { NodeReport } from "./bus.ts";

const KEPT_REVISIONS = 16;
/** A decision service that reported within this time (milliseconds) takes part. */
const LIVE_MS = 10_000;

/** What happened to revisions; all times in milliseconds since the epoch. */
export type ConvergenceInput =
  | { readonly type: "published"; readonly number: number; readonly at: number; readonly durationMs: number }
  /** An Envoy acknowledged all that a revision changed for it. */
  | { readonly type: "acknowledged"; readonly number: number; readonly node: string; readonly at: number }
  | { readonly type: "report"; readonly report: NodeReport };

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

/** Opaque; begin with `noConvergence`. Bounded: the newest sixteen revisions are followed. */
export interface ConvergenceState {
  readonly published: ReadonlyMap<number, { readonly at: number; readonly enforced: boolean }>;
  /** `<number> <node>` of what was told already. */
  readonly acknowledged: ReadonlySet<string>;
  /** Newest report of each live decision service. */
  readonly reports: ReadonlyMap<string, NodeReport>;
}

export const noConvergence: ConvergenceState = { published: new Map(), acknowledged: new Set(), reports: new Map() };

/**
 * How long a revision takes to be in force everywhere. Pure. Nothing is told of revisions that were not published here
 * since the start.
 */
export function convergence(
  state: ConvergenceState,
  input: ConvergenceInput,
): { readonly state: ConvergenceState; readonly events: readonly ConvergenceEvent[] } {
  switch (input.type) {
    case "published": {
      const published = new Map([...state.published, [input.number, { at: input.at, enforced: false }] as const]);
      for (const number of [...published.keys()].slice(0, -KEPT_REVISIONS)) published.delete(number);
      const kept = [...state.acknowledged].filter((entry) => published.has(Number(entry.split(" ", 1)[0])));
      const told = { type: "published", number: input.number, durationMs: input.durationMs } as const;
      const next = enforced({ ...state, published, acknowledged: new Set(kept) });
      return { state: next.state, events: [told, ...next.events] };
    }
    case "acknowledged": {
      const published = state.published.get(input.number);
      const id = `${input.number} ${input.node}`;
      if (published === undefined || state.acknowledged.has(id)) return { state, events: [] };
      const { number, node, at } = input;
      const event = { type: "acknowledged", number, node, afterMs: Math.max(0, at - published.at) } as const;
      return { state: { ...state, acknowledged: new Set([...state.acknowledged, id]) }, events: [event] };
    }
    case "report": {
      if (input.report.role !== "authz") return { state, events: [] };
      const newest = Date.parse(input.report.at);
      const reports = new Map([...state.reports, [input.report.reporter, input.report]]);
      for (const [reporter, { at }] of reports) if (newest - Date.parse(at) > LIVE_MS) reports.delete(reporter);
      return enforced({ ...state, reports });
    }
  }
}

function enforced(state: ConvergenceState): { state: ConvergenceState; events: readonly ConvergenceEvent[] } {
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
