import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { Restrictions } from "../distribution/index.ts";
import type { Trust } from "../revision/index.ts";
import type { ControlStatus } from "./status.ts";

/** A registry with the metrics of the process itself (CPU, memory, event loop). */
export function createRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return registry;
}

/** Adds what the kill switch of this process holds, read at each scrape. */
export function addRestrictionMetrics(
  registry: Registry,
  restrictions: Pick<Restrictions, "states" | "refused">,
): void {
  new Gauge({
    name: "chancery_restrictions_active",
    help: "Restrictions that are in force in this process.",
    labelNames: ["kind"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { kind, lifted } of restrictions.states()) if (lifted === undefined) this.inc({ kind });
    },
  });
  new Counter({
    name: "chancery_restrictions_refused_total",
    help: "Restrictions and liftings that this process did not take: not covered by the trust file, malformed, or too many.",
    registers: [registry],
    collect() {
      this.reset();
      this.inc(restrictions.refused());
    },
  });
}

/** Adds the keys that this process believes, read at each scrape: newer revisions may bring others. */
export function addKeyMetrics(registry: Registry, trust: Trust, now: () => number): void {
  new Gauge({
    name: "chancery_key_expires_seconds",
    help: "Seconds until the key signs nothing any more that is taken here; negative: since then.",
    labelNames: ["key", "purposes"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { keyId, purposes, notAfter } of trust.keys.values()) {
        this.set({ key: keyId, purposes: [...purposes].join(",") }, (notAfter - now()) / 1_000);
      }
    },
  });
}

/** Adds the fleet's state, read from `status` at each scrape. */
export function addStatusMetrics(registry: Registry, status: () => ControlStatus): void {
  const gauge = <L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    fill: (gauge: Gauge<L>, status: ControlStatus) => void,
  ): void => {
    new Gauge<L>({
      name,
      help,
      labelNames,
      registers: [registry],
      collect() {
        // Nodes and services that are gone leave no series behind.
        this.reset();
        fill(this, status());
      },
    });
  };
  gauge("chancery_revision", "Number of the newest published revision; 0 before the first.", [], (metric, now) =>
    metric.set(now.revision?.number ?? 0),
  );
  gauge("chancery_frozen_scopes", "Scopes whose newest edit was refused.", [], (metric, now) =>
    metric.set(now.frozenScopes.length),
  );
  gauge(
    "chancery_log_entries",
    "Entries of the operational log since it was compacted last; none where there is no log.",
    [],
    (metric, now) => {
      if (now.operationalLog === undefined) metric.remove();
      else metric.set(now.operationalLog.entries);
    },
  );
  gauge(
    "chancery_log_capacity",
    "Entries with which the operational log takes no more until it is compacted.",
    [],
    (metric, now) => {
      if (now.operationalLog === undefined) metric.remove();
      else metric.set(now.operationalLog.capacity);
    },
  );
  gauge(
    "chancery_revision_refused",
    "1 while the process refuses the revision that it was offered last, and keeps its last good one.",
    ["role", "process"],
    (metric, now) => {
      const { decisionServices, xdsServers = [], regions = [] } = now;
      for (const { id, lastError } of decisionServices) metric.set({ role: "authz", process: id }, isError(lastError));
      for (const { id, lastError } of xdsServers) metric.set({ role: "xds", process: id }, isError(lastError));
      for (const { name, lastError } of regions) metric.set({ role: "relay", process: name }, isError(lastError));
    },
  );
  gauge(
    "chancery_restriction_missing",
    "Relays and decision services of which it is not known that they have the restriction.",
    ["id"],
    (metric, now) => {
      for (const { id, missingIn } of now.restrictions) metric.set({ id }, missingIn.length);
    },
  );
  gauge(
    "chancery_node_held_back",
    "Resources that the Envoy is not given since it, or nodes like it, refused them; as many as are reported.",
    ["node", "node_group"],
    (metric, now) => {
      for (const node of now.nodes) metric.set(labelsOf(node), node.heldBack.length);
    },
  );
  gauge("chancery_node_connected", "1 while the Envoy has a stream.", ["node", "node_group"], (metric, now) => {
    for (const node of now.nodes) metric.set(labelsOf(node), node.connected ? 1 : 0);
  });
  gauge(
    "chancery_node_acknowledged_revision",
    "Newest revision of which the Envoy acknowledged every type.",
    ["node", "node_group"],
    (metric, now) => {
      for (const node of now.nodes) metric.set(labelsOf(node), node.acknowledgedRevision);
    },
  );
  gauge(
    "chancery_node_rejected_revision",
    "Revision of the last resource that the Envoy rejected; 0: none.",
    ["node", "node_group"],
    (metric, now) => {
      for (const node of now.nodes) metric.set(labelsOf(node), node.lastRejection?.revision ?? 0);
    },
  );
  gauge(
    "chancery_decision_service_active_revision",
    "Revision by which the decision service decides.",
    ["service"],
    (metric, now) => {
      for (const service of now.decisionServices) metric.set({ service: service.id }, service.activeRevision);
    },
  );
  gauge(
    "chancery_decision_service_decisions",
    "Decisions that the service reported since it started.",
    ["service"],
    (metric, now) => {
      for (const service of now.decisionServices) metric.set({ service: service.id }, service.decisions);
    },
  );
}

function labelsOf(node: { readonly id: string; readonly nodeGroup: string }): { node: string; node_group: string } {
  return { node: node.id, node_group: node.nodeGroup };
}

function isError(text: string): number {
  return text === "" ? 0 : 1;
}
