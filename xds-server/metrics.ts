import { Counter, Gauge, Histogram, type Registry } from "prom-client";
import { TYPE_URLS } from "../envoy/index.ts";
import type { LoadIncrease } from "./load-table.ts";
import { type QuarantineEntry, widestScope } from "./quarantine.ts";

export interface XdsMetrics {
  /** @param oversized  it is larger than what a response is to have at most, and could not be sent in parts */
  pushed(typeUrl: string, bytes: number, oversized: boolean): void;
  accepted(typeUrl: string): void;
  rejected(typeUrl: string): void;
  /** @param seconds  from publishing a change to its acknowledgement by one node */
  converged(typeUrl: string, seconds: number): void;
  /** Nodes reported load. */
  loaded(increases: readonly LoadIncrease[]): void;
  /** A stream was turned away. */
  turnedAway(): void;
}

/** Read at each scrape. */
export interface XdsGauges {
  connectedNodes(): number;
  waitingStreams(): number;
  heldBack(): Iterable<QuarantineEntry>;
}

const SHORT_NAMES = new Map(Object.entries(TYPE_URLS).map(([name, typeUrl]) => [typeUrl as string, name]));

/** A label of few values: clients choose type URLs, and must not choose how many series there are. */
function label(typeUrl: string): { type: string } {
  return { type: SHORT_NAMES.get(typeUrl) ?? "other" };
}

export function createXdsMetrics(registry: Registry, gauges: XdsGauges): XdsMetrics {
  const registers = [registry];
  const labelNames = ["type"] as const;
  new Gauge({
    name: "chancery_xds_connected_nodes",
    help: "Nodes with an open xDS stream.",
    registers,
    collect() {
      this.set(gauges.connectedNodes());
    },
  });
  new Gauge({
    name: "chancery_xds_waiting_streams",
    help: "New xDS streams that wait to be let in.",
    registers,
    collect() {
      this.set(gauges.waitingStreams());
    },
  });
  new Gauge({
    name: "chancery_xds_held_back_resources",
    help: "Resources that nodes refused and that are held back from them (node), their build or their group.",
    labelNames: ["type", "scope"],
    registers,
    collect() {
      this.reset();
      for (const entry of gauges.heldBack()) this.inc({ ...label(entry.typeUrl), scope: widestScope(entry) });
    },
  });
  const loads = new Counter({
    name: "chancery_xds_cluster_requests_total",
    help: "Requests that nodes reported (LRS), by cluster, locality (region/zone/sub zone) and outcome.",
    labelNames: ["cluster", "locality", "outcome"],
    registers,
  });
  const turnedAway = new Counter({
    name: "chancery_xds_streams_turned_away_total",
    help: "xDS streams that were not let in: too many at once, or for too long.",
    registers,
  });
  const pushes = new Counter({
    name: "chancery_xds_pushes_total",
    help: "xDS responses sent.",
    labelNames,
    registers,
  });
  const pushBytes = new Counter({
    name: "chancery_xds_push_bytes_total",
    help: "Bytes of xDS responses sent.",
    labelNames,
    registers,
  });
  const oversizedPushes = new Counter({
    name: "chancery_xds_oversized_pushes_total",
    help: "xDS responses larger than --response-bytes: of state of the world, or of one large resource.",
    labelNames,
    registers,
  });
  const acks = new Counter({ name: "chancery_xds_acks_total", help: "xDS responses accepted.", labelNames, registers });
  const nacks = new Counter({
    name: "chancery_xds_nacks_total",
    help: "xDS responses refused.",
    labelNames,
    registers,
  });
  const convergence = new Histogram({
    name: "chancery_xds_convergence_seconds",
    help: "From publishing a change to its acknowledgement by a node.",
    labelNames,
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers,
  });
  return {
    pushed(typeUrl, bytes, oversized) {
      if (oversized) oversizedPushes.inc(label(typeUrl));
      pushes.inc(label(typeUrl));
      pushBytes.inc(label(typeUrl), bytes);
    },
    accepted: (typeUrl) => acks.inc(label(typeUrl)),
    rejected: (typeUrl) => nacks.inc(label(typeUrl)),
    loaded(increases) {
      for (const { cluster, locality, successful, failed } of increases) {
        loads.inc({ cluster, locality, outcome: "successful" }, successful);
        loads.inc({ cluster, locality, outcome: "failed" }, failed);
      }
    },
    turnedAway: () => turnedAway.inc(),
    converged: (typeUrl, seconds) => convergence.observe(label(typeUrl), seconds),
  };
}
