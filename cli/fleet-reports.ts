import type { DecisionServiceFacts, NodeFacts, RegionFacts, XdsServerFacts } from "../admin/index.ts";
import type { NodeReport } from "../distribution/index.ts";
import { reportedNodeFacts } from "./node-facts.ts";

/** A process that is silent this long (milliseconds) is called stale. */
const STALE_MS = 10_000;
/** And this long: it is gone, and forgotten. */
const GONE_MS = 15 * 60_000;

interface Heard {
  readonly report: NodeReport;
  /** By this process's clock; milliseconds since the epoch. */
  readonly at: number;
}

/** The newest report of each process of the fleet. */
export class FleetReports {
  readonly #heard = new Map<string, Heard>();

  /**
   * @param now  milliseconds since the epoch
   * @returns whether nothing was heard of this process before
   */
  add(report: NodeReport, now: number): boolean {
    const before = this.#heard.get(report.reporter);
    if (before !== undefined && before.report.at === report.at) return false;
    // The first one may have been on the bus for long; later ones come as they are made, whatever the clock there says.
    const at = before === undefined ? Math.min(now, Date.parse(report.at)) : now;
    this.#heard.set(report.reporter, { report, at });
    for (const [reporter, { at: last }] of this.#heard) if (now - last > GONE_MS) this.#heard.delete(reporter);
    return before === undefined;
  }

  decisionServices(now: number): DecisionServiceFacts[] {
    return this.#role("authz").map(({ report, at }) => ({
      id: report.reporter,
      activeRevision: report.active,
      layouts: report.layouts,
      lastReportAt: at,
      decisions: report.decisions,
      lastError: report.error ?? "",
      region: regionOf(report),
      stale: isStale(at, now),
    }));
  }

  xdsServers(now: number): XdsServerFacts[] {
    return this.#role("xds").map(({ report, at }) => ({
      id: report.reporter,
      region: regionOf(report),
      activeRevision: report.active,
      nodes: report.nodeCount ?? 0,
      lastReportAt: at,
      stale: isStale(at, now),
      lastError: report.error ?? "",
    }));
  }

  /** A region may have several relays: what the newest of them have. */
  regions(now: number): RegionFacts[] {
    const regions = Map.groupBy(this.#role("relay"), ({ report }) => regionOf(report));
    return [...regions].map(([name, relays]) => {
      const lastReportAt = Math.max(...relays.map(({ at }) => at));
      const living = relays.filter(({ at }) => !isStale(at, now));
      return {
        name,
        relayedRevision: Math.max(...relays.map(({ report }) => report.active)),
        lastReportAt,
        stale: living.length === 0,
        lastError: relays.find(({ at }) => at === lastReportAt)?.report.error ?? "",
      };
    });
  }

  /** An Envoy that moved from one xDS server to another is told of by the one that it is connected to. */
  nodes(now: number): NodeFacts[] {
    const nodes = new Map<string, NodeFacts>();
    for (const { report, at } of this.#role("xds")) {
      for (const node of report.nodes ?? []) {
        const where = { xdsServer: report.reporter, region: regionOf(report), stale: isStale(at, now) };
        const facts = reportedNodeFacts(node, where);
        const key = JSON.stringify([facts.region, node.group, node.id]);
        const other = nodes.get(key);
        if (other === undefined || isBetter(facts, other)) nodes.set(key, facts);
      }
    }
    return [...nodes.values()].sort((one, other) => compare(one.region, other.region) || compare(one.id, other.id));
  }

  /** Processes that take restrictions, and have not told that they have this one: also those that are silent. */
  without(restriction: string): readonly string[] {
    const heard = [...this.#heard.values()].filter(
      ({ report }) => report.restrictions?.includes(restriction) === false,
    );
    return heard.map(({ report }) => report.reporter).sort(compare);
  }

  #role(role: NodeReport["role"]): readonly Heard[] {
    return [...this.#heard.values()]
      .filter(({ report }) => report.role === role)
      .sort((one, other) => compare(one.report.reporter, other.report.reporter));
  }
}

function isBetter(one: NodeFacts, other: NodeFacts): boolean {
  if (one.stale !== other.stale) return other.stale;
  if (one.connected !== other.connected) return one.connected;
  return one.lastSeenAt > other.lastSeenAt;
}

/** Empty: at the hub. */
function regionOf({ reporter }: NodeReport): string {
  return reporter.includes("/") ? reporter.slice(0, reporter.lastIndexOf("/")) : "";
}

function isStale(at: number, now: number): boolean {
  return now - at > STALE_MS;
}

function compare(one: string, other: string): number {
  if (one === other) return 0;
  return one < other ? -1 : 1;
}
