import { create, type JsonObject, toJson } from "@bufbuild/protobuf";
import { type Bootstrap, BootstrapSchema } from "../protos/gen/envoy/config/bootstrap/v3/bootstrap_pb.ts";
import { CircuitBreakersSchema } from "../protos/gen/envoy/config/cluster/v3/circuit_breaker_pb.ts";
import {
  type Cluster,
  Cluster_CommonLbConfigSchema,
  Cluster_DiscoveryType,
  ClusterSchema,
} from "../protos/gen/envoy/config/cluster/v3/cluster_pb.ts";
import { OutlierDetectionSchema } from "../protos/gen/envoy/config/cluster/v3/outlier_detection_pb.ts";
import { AddressSchema } from "../protos/gen/envoy/config/core/v3/address_pb.ts";
import { ApiConfigSource_ApiType, ApiVersion } from "../protos/gen/envoy/config/core/v3/config_source_pb.ts";
import { HealthCheckSchema } from "../protos/gen/envoy/config/core/v3/health_check_pb.ts";
import { DownstreamConnectionsConfigSchema } from "../protos/gen/envoy/extensions/resource_monitors/downstream_connections/v3/downstream_connections_pb.ts";
import { HttpProtocolOptionsSchema } from "../protos/gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts";
import { ChanceryError } from "../resources/index.ts";
import { type NodeTls, transportSocketTo } from "./bootstrap-tls.ts";
import { EXT_AUTHZ_CLUSTER, XDS_CLUSTER } from "./names.ts";
import { configured, envoyTypes, pack } from "./registry.ts";
import { validate } from "./validate.ts";
import { duration, fromAds, socketAddress } from "./values.ts";

export interface BootstrapOptions {
  readonly nodeId: string;
  /** Key of the Gateway: the node group. */
  readonly nodeGroup: string;
  /** "host:port" or "unix:/path". */
  readonly xds: readonly string[];
  readonly extAuthz: readonly string[];
  /** "host:port" of Envoy's admin interface. */
  readonly admin: string;
  readonly region?: string;
  readonly zone?: string;
  /** Client connections that the node takes at the same time; 20,000 by default. */
  readonly maxConnections?: number;
  /** Report the load of each cluster to the xDS servers (LRS). */
  readonly loadReports?: boolean;
  /** Mutual TLS towards xDS servers and decision services; Unix sockets go without. */
  readonly tls?: NodeTls;
}

const MAX_CONNECTIONS = 20_000;

/**
 * The bootstrap of a node: who it is, where its xDS servers and decision services are. All else comes over ADS, so it
 * changes only when these addresses do.
 */
export function bootstrap(options: BootstrapOptions): Bootstrap {
  const admin = parseAddress(options.admin);
  const xdsService = { targetSpecifier: { case: "envoyGrpc" as const, value: { clusterName: XDS_CLUSTER } } };
  const result = create(BootstrapSchema, {
    node: {
      id: options.nodeId,
      cluster: options.nodeGroup,
      locality: { region: options.region ?? "", zone: options.zone ?? "" },
    },
    admin: { address: admin },
    // Past this, new connections are refused: an Envoy without memory or descriptors helps nobody.
    overloadManager: {
      resourceMonitors: [
        configured(
          "envoy.resource_monitors.global_downstream_max_connections",
          pack(DownstreamConnectionsConfigSchema, {
            maxActiveDownstreamConnections: BigInt(options.maxConnections ?? MAX_CONNECTIONS),
          }),
        ),
      ],
    },
    ...(options.loadReports === true
      ? {
          clusterManager: {
            loadStatsConfig: {
              apiType: ApiConfigSource_ApiType.GRPC,
              transportApiVersion: ApiVersion.V3,
              grpcServices: [xdsService],
            },
          },
        }
      : {}),
    dynamicResources: {
      adsConfig: {
        apiType: ApiConfigSource_ApiType.DELTA_GRPC,
        transportApiVersion: ApiVersion.V3,
        setNodeOnFirstMessageOnly: true,
        grpcServices: [xdsService],
      },
      cdsConfig: fromAds(),
      ldsConfig: fromAds(),
    },
    staticResources: {
      clusters: [
        // One that is silent is given up within 15 seconds; each Envoy costs its server a ping every ten.
        grpcCluster(
          XDS_CLUSTER,
          options.xds,
          10_000,
          5_000,
          socketOf(options.xds, options.tls, options.tls?.xdsIdentity),
        ),
        // Frozen and killed services are left within a tenth of a second: health checks, outlier detection and the
        // retries of the ext_authz filter work together; none of them does it alone.
        create(ClusterSchema, {
          ...grpcCluster(
            EXT_AUTHZ_CLUSTER,
            options.extAuthz,
            1_000,
            500,
            socketOf(options.extAuthz, options.tls, options.tls?.authzIdentity),
          ),
          // Retries are bounded by what is under way: slow services would else get every request four times, and stay
          // slow. The floor of the budget is what a killed or frozen service needs at hundreds of requests a second.
          circuitBreakers: create(CircuitBreakersSchema, {
            thresholds: [
              {
                maxRequests: 100_000,
                maxPendingRequests: 100_000,
                retryBudget: { budgetPercent: { value: 50 }, minRetryConcurrency: 100 },
              },
            ],
          }),
          // A change of health reaches the workers at once: by default they learn of it up to a second later, and may go
          // on asking the service that is gone, or not yet ask the one that is back.
          commonLbConfig: create(Cluster_CommonLbConfigSchema, { updateMergeWindow: duration(0) }),
          healthChecks: [
            create(HealthCheckSchema, {
              timeout: duration(300),
              interval: duration(500),
              noTrafficInterval: duration(500),
              // Soon back in service: in a rolling restart the next one goes when this one has come.
              unhealthyInterval: duration(100),
              unhealthyThreshold: 1,
              healthyThreshold: 1,
              healthChecker: { case: "grpcHealthCheck", value: {} },
            }),
          ],
          outlierDetection: create(OutlierDetectionSchema, {
            consecutiveGatewayFailure: 3,
            enforcingConsecutiveGatewayFailure: 100,
            consecutiveLocalOriginFailure: 2,
            enforcingConsecutiveLocalOriginFailure: 100,
            splitExternalLocalOriginErrors: true,
            interval: duration(1_000),
            baseEjectionTime: duration(5_000),
            // Where all are ejected, all are asked (panic). With a bound, the last one would go on being asked alone though it
            // is gone, while another that is back is not asked yet.
            maxEjectionPercent: 100,
          }),
        }),
      ],
    },
  });
  const violations = validate(BootstrapSchema, result);
  if (violations.length > 0) {
    const list = violations.map((violation) => `${violation.path}: ${violation.message}`).join("; ");
    throw new ChanceryError("invalid-envoy-resource", `The bootstrap of node ${options.nodeId} is not valid: ${list}`);
  }
  return result;
}

/** As Envoy reads it from a file. */
export function bootstrapJson(options: BootstrapOptions): JsonObject {
  return toJson(BootstrapSchema, bootstrap(options), { registry: envoyTypes, useProtoFieldName: true }) as JsonObject;
}

function socketOf(addresses: readonly string[], tls: NodeTls | undefined, identity: string | undefined) {
  if (tls === undefined) return undefined;
  if (identity !== undefined) return transportSocketTo(identity, tls);
  const remote = addresses.find((address) => !address.startsWith("unix:"));
  if (remote === undefined) return undefined;
  throw new ChanceryError("invalid-argument", `It is not said what the certificate of ${remote} must name.`);
}

function grpcCluster(
  name: string,
  addresses: readonly string[],
  keepaliveMs: number,
  keepaliveTimeoutMs: number,
  transportSocket: ReturnType<typeof transportSocketTo> | undefined,
): Cluster {
  if (addresses.length === 0) throw new ChanceryError("invalid-argument", `No address is given for cluster ${name}.`);
  const named = addresses.some((address) => !isNumeric(address));
  const onSockets = addresses.every((address) => address.startsWith("unix:"));
  if (transportSocket !== undefined && !onSockets && addresses.some((address) => address.startsWith("unix:"))) {
    throw new ChanceryError("invalid-argument", `Cluster ${name} has Unix sockets, which take no TLS, among others.`);
  }
  return create(ClusterSchema, {
    name,
    clusterDiscoveryType: {
      case: "type",
      value: named ? Cluster_DiscoveryType.STRICT_DNS : Cluster_DiscoveryType.STATIC,
    },
    connectTimeout: duration(250),
    ...(transportSocket === undefined || onSockets ? {} : { transportSocket }),
    loadAssignment: {
      clusterName: name,
      endpoints: [
        {
          lbEndpoints: addresses.map((address) => ({
            hostIdentifier: { case: "endpoint" as const, value: { address: parseAddress(address) } },
          })),
        },
      ],
    },
    typedExtensionProtocolOptions: {
      "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": pack(HttpProtocolOptionsSchema, {
        upstreamProtocolOptions: {
          case: "explicitHttpConfig",
          value: {
            protocolConfig: {
              case: "http2ProtocolOptions",
              value: {
                connectionKeepalive: { interval: duration(keepaliveMs), timeout: duration(keepaliveTimeoutMs) },
              },
            },
          },
        },
      }),
    },
  });
}

const HOST_AND_PORT = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):([0-9]{1,5})$/;

function isNumeric(address: string): boolean {
  return address.startsWith("unix:") || /^(\[[0-9a-fA-F:.]+\]|[0-9.]+):[0-9]+$/.test(address);
}

function parseAddress(text: string) {
  if (text.startsWith("unix:")) {
    return create(AddressSchema, { address: { case: "pipe", value: { path: text.slice("unix:".length) } } });
  }
  const match = HOST_AND_PORT.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new ChanceryError(
      "invalid-argument",
      `"${text}" is not an address: write host:port, [ipv6]:port or unix:/path.`,
    );
  }
  return create(AddressSchema, socketAddress(match[1] ?? match[2] ?? "", port));
}
