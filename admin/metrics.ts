import { collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { ControlStatus } from "./status.ts";

/** A registry with the metrics of the process itself (CPU, memory, event loop). */
export function createRegistry(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return registry;
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
