import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  LoadReportingService,
  type LoadStatsRequest,
  LoadStatsRequestSchema,
  type LoadStatsResponse,
  LoadStatsResponseSchema,
} from "../protos/gen/envoy/service/load_stats/v3/lrs_pb.ts";
import { ChanceryError } from "../resources/index.ts";
import type { Clock } from "./clock.ts";
import { GRPC_STATUS, type GrpcCall } from "./grpc-call.ts";
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
  readonly misuse: (call: GrpcCall, node: NodeIdentity) => string | undefined;
  readonly onLoad: (increases: readonly LoadIncrease[]) => void;
}

/** Clients that have it can be told to report all clusters; others are told which (lrs.proto). */
const SENDS_ALL = "envoy.lrs.supports_send_all_clusters";

/** LoadReportingService by path: nodes report what their clusters do, and nothing follows from it here. */
export function loadReportMethod(options: LoadReportOptions): [path: string, serve: (call: GrpcCall) => void] {
  const { table, clock, settings } = options;
  let open = 0;

  function serve(call: GrpcCall): void {
    if (open >= settings.maxStreams) {
      call.end({ code: GRPC_STATUS.unavailable, details: "too many streams of load reports" });
      return;
    }
    open += 1;
    const pace = createRequestPace(settings, clock.now());
    let node: NodeIdentity | undefined;
    let cancelPause = () => {};
    const refuse = (code: number, details: string) => call.end({ code, details });

    const message = (bytes: Buffer) => {
      const waitMs = pace.taken(clock.now());
      if (waitMs > 0) {
        call.pause();
        cancelPause();
        cancelPause = clock.after(waitMs, () => call.resume());
      }
      let request: LoadStatsRequest;
      try {
        request = fromBinary(LoadStatsRequestSchema, bytes);
      } catch (error) {
        const { message } = ChanceryError.from(error);
        refuse(GRPC_STATUS.invalidArgument, `the report cannot be decoded: ${message}`);
        return;
      }
      if (node === undefined) {
        if (request.node === undefined || request.node.id === "") {
          refuse(GRPC_STATUS.invalidArgument, "the first report of a stream must carry the node with its id");
          return;
        }
        const identity = identityOf(request.node, settings);
        const unusable = namingProblem(identity);
        if (unusable !== undefined) {
          refuse(GRPC_STATUS.invalidArgument, unusable);
          return;
        }
        const misused = options.misuse(call, identity);
        if (misused !== undefined) {
          refuse(GRPC_STATUS.permissionDenied, misused);
          return;
        }
        node = identity;
        const response = demand(request.node.clientFeatures.includes(SENDS_ALL), identity.group);
        call.write([toBinary(LoadStatsResponseSchema, response)], () => {});
      }
      const known = options.clusters(node.group);
      options.onLoad(table.report(node, request.clusterStats, (name) => known?.has(name) === true, clock.now()));
    };
    call.onOver(() => {
      open -= 1;
      cancelPause();
      if (node !== undefined) table.gone(node);
    });
    call.start({ message, ended: () => call.end() });
  }

  function demand(all: boolean, group: string): LoadStatsResponse {
    return create(LoadStatsResponseSchema, {
      sendAllClusters: all,
      clusters: all ? [] : [...(options.clusters(group)?.keys() ?? [])].slice(0, settings.maxLoads),
      loadReportingInterval: durationFromMs(settings.loadReportMs),
    });
  }

  const { typeName, method } = LoadReportingService;
  return [`/${typeName}/${method.streamLoadStats.name}`, serve];
}
