import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type ServerDuplexStream, status } from "@grpc/grpc-js";
import {
  type LoadStatsRequest,
  type LoadStatsResponse,
  LoadStatsResponseSchema,
} from "../protos/gen/envoy/service/load_stats/v3/lrs_pb.ts";
import type { Clock } from "./clock.ts";
import type { LoadIncrease, LoadTable } from "./load-table.ts";
import { type IdentitySettings, identityOf, type NodeIdentity, namingProblem } from "./node-identity.ts";
import { createRequestPace, type RequestPaceSettings } from "./request-pace.ts";

export interface LoadReportSettings {
  /** How often nodes report the load of their clusters, ms. */
  readonly loadReportMs: number;
  /** Clusters by locality that loads are kept of. */
  readonly maxLoads: number;
}

export interface LoadReportOptions {
  readonly table: LoadTable;
  readonly clock: Clock;
  readonly settings: LoadReportSettings & IdentitySettings & RequestPaceSettings & { readonly maxStreams: number };
  /** Names of the clusters of a group. */
  readonly clusters: (group: string) => { has(name: string): boolean; keys(): Iterable<string> } | undefined;
  /** Why a node may not use its certificate; undefined: it may. */
  readonly misuse: (call: LoadCall, node: NodeIdentity) => string | undefined;
  readonly onLoad: (increases: readonly LoadIncrease[]) => void;
}

export type LoadCall = ServerDuplexStream<LoadStatsRequest, LoadStatsResponse>;

/** Clients that have it can be told to report all clusters; others are told which (lrs.proto). */
const SENDS_ALL = "envoy.lrs.supports_send_all_clusters";

/** LoadReportingService as grpc-js takes it: nodes report what their clusters do, and nothing follows from it here. */
export function loadReportService(options: LoadReportOptions) {
  const { table, clock, settings } = options;
  let open = 0;

  function serve(call: LoadCall): void {
    if (open >= settings.maxStreams) {
      call.emit("error", { code: status.UNAVAILABLE, details: "too many streams of load reports" });
      return;
    }
    open += 1;
    const pace = createRequestPace(settings, clock.now());
    let node: NodeIdentity | undefined;
    let cancelPause = () => {};
    let over = false;
    const end = () => {
      if (over) return;
      over = true;
      open -= 1;
      cancelPause();
      if (node !== undefined) table.gone(node);
    };
    const refuse = (code: status, details: string) => {
      end();
      call.emit("error", { code, details });
    };

    call.on("data", (request: LoadStatsRequest) => {
      if (over) return;
      const waitMs = pace.taken(clock.now());
      if (waitMs > 0) {
        call.pause();
        cancelPause();
        cancelPause = clock.after(waitMs, () => call.resume());
      }
      if (node === undefined) {
        if (request.node === undefined || request.node.id === "") {
          refuse(status.INVALID_ARGUMENT, "the first report of a stream must carry the node with its id");
          return;
        }
        const identity = identityOf(request.node, settings);
        const unusable = namingProblem(identity);
        if (unusable !== undefined) {
          refuse(status.INVALID_ARGUMENT, unusable);
          return;
        }
        const misused = options.misuse(call, identity);
        if (misused !== undefined) {
          refuse(status.PERMISSION_DENIED, misused);
          return;
        }
        node = identity;
        call.write(demand(request.node.clientFeatures.includes(SENDS_ALL), identity.group));
      }
      const known = options.clusters(node.group);
      options.onLoad(table.report(node, request.clusterStats, (name) => known?.has(name) === true, clock.now()));
    });
    call.on("end", () => {
      end();
      call.end();
    });
    call.on("cancelled", end);
    // The client is gone; there is nobody to tell.
    call.on("error", end);
  }

  function demand(all: boolean, group: string): LoadStatsResponse {
    return create(LoadStatsResponseSchema, {
      sendAllClusters: all,
      clusters: all ? [] : [...(options.clusters(group)?.keys() ?? [])].slice(0, settings.maxLoads),
      loadReportingInterval: durationFromMs(settings.loadReportMs),
    });
  }

  return { streamLoadStats: serve };
}
