import type { ClusterStats } from "../protos/gen/envoy/config/endpoint/v3/load_report_pb.ts";

/** What nodes of a group report of the endpoints of a cluster in one locality. Counts since this process started. */
export interface ClusterLoad {
  readonly group: string;
  readonly cluster: string;
  readonly region: string;
  readonly zone: string;
  readonly subZone: string;
  readonly successful: number;
  readonly failed: number;
  readonly issued: number;
  /** Under way when the nodes reported last. */
  readonly inProgress: number;
  /** Nodes that report it now. */
  readonly nodes: number;
  /** ms since the epoch. */
  readonly reportedAt: number;
}

/** What one report adds, for whoever counts. */
export interface LoadIncrease {
  readonly cluster: string;
  readonly locality: string;
  readonly successful: number;
  readonly failed: number;
}

export interface LoadTable {
  /** @param known  whether a cluster is one of the group's: of others nothing is kept */
  report(
    node: { readonly id: string; readonly group: string },
    clusters: readonly ClusterStats[],
    known: (cluster: string) => boolean,
    now: number,
  ): LoadIncrease[];
  /** The node reports no more. */
  gone(node: { readonly id: string; readonly group: string }): void;
  loads(): ClusterLoad[];
}

interface Entry {
  load: Omit<ClusterLoad, "inProgress" | "nodes">;
  /** Node id → requests under way. */
  readonly inProgress: Map<string, number>;
}

/** @param maxEntries  clusters by locality; what was reported longest ago is let go */
export function createLoadTable(maxEntries: number): LoadTable {
  /** Most recently reported last. */
  const entries = new Map<string, Entry>();

  return {
    report({ id, group }, clusters, known, now) {
      const increases: LoadIncrease[] = [];
      for (const { clusterName: cluster, upstreamLocalityStats } of clusters) {
        if (!known(cluster)) continue;
        for (const stats of upstreamLocalityStats) {
          const { region = "", zone = "", subZone = "" } = stats.locality ?? {};
          const key = JSON.stringify([group, cluster, region, zone, subZone]);
          const successful = Number(stats.totalSuccessfulRequests);
          const failed = Number(stats.totalErrorRequests);
          const entry = entries.get(key) ?? {
            load: { group, cluster, region, zone, subZone, successful: 0, failed: 0, issued: 0, reportedAt: now },
            inProgress: new Map<string, number>(),
          };
          const { load } = entry;
          entry.load = {
            ...load,
            successful: load.successful + successful,
            failed: load.failed + failed,
            issued: load.issued + Number(stats.totalIssuedRequests),
            reportedAt: now,
          };
          entry.inProgress.set(id, Number(stats.totalRequestsInProgress));
          entries.delete(key);
          entries.set(key, entry);
          increases.push({ cluster, locality: [region, zone, subZone].join("/"), successful, failed });
        }
      }
      for (const oldest of entries.keys()) {
        if (entries.size <= maxEntries) break;
        entries.delete(oldest);
      }
      return increases;
    },
    gone({ id, group }) {
      for (const { load, inProgress } of entries.values()) if (load.group === group) inProgress.delete(id);
    },
    loads() {
      return [...entries.values()].map(({ load, inProgress }) => {
        let sum = 0;
        for (const count of inProgress.values()) sum += count;
        return { ...load, inProgress: sum, nodes: inProgress.size };
      });
    },
  };
}
