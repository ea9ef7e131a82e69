import { isIP } from "node:net";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type Cluster,
  Cluster_DiscoveryType,
  Cluster_LbPolicy,
  ClusterSchema,
} from "../protos/gen/envoy/config/cluster/v3/cluster_pb.ts";
import { HealthStatus } from "../protos/gen/envoy/config/core/v3/health_check_pb.ts";
import type { LbEndpointSchema } from "../protos/gen/envoy/config/endpoint/v3/endpoint_components_pb.ts";
import {
  type ClusterLoadAssignment,
  ClusterLoadAssignmentSchema,
} from "../protos/gen/envoy/config/endpoint/v3/endpoint_pb.ts";
import { DnsLookupFamily } from "../protos/gen/envoy/extensions/clusters/common/dns/v3/dns_pb.ts";
import { DnsClusterSchema } from "../protos/gen/envoy/extensions/clusters/dns/v3/dns_cluster_pb.ts";
import { CredentialInjectorSchema } from "../protos/gen/envoy/extensions/filters/http/credential_injector/v3/credential_injector_pb.ts";
import { HeaderMutationSchema } from "../protos/gen/envoy/extensions/filters/http/header_mutation/v3/header_mutation_pb.ts";
import { LuaSchema } from "../protos/gen/envoy/extensions/filters/http/lua/v3/lua_pb.ts";
import { RBACSchema } from "../protos/gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.ts";
import { UpstreamCodecSchema } from "../protos/gen/envoy/extensions/filters/http/upstream_codec/v3/upstream_codec_pb.ts";
import { GenericSchema } from "../protos/gen/envoy/extensions/http/injected_credentials/generic/v3/generic_pb.ts";
import { SubjectAltNameMatcher_SanType } from "../protos/gen/envoy/extensions/transport_sockets/tls/v3/common_pb.ts";
import { UpstreamTlsContextSchema } from "../protos/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts";
import {
  type HttpProtocolOptions,
  HttpProtocolOptionsSchema,
} from "../protos/gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts";
import { legalOnly } from "./floors.ts";
import { BLACKHOLE_CLUSTER, DECISION_NAMESPACE } from "./names.ts";
import { configured, extension, pack } from "./registry.ts";
import { duration, fromAds, socketAddress } from "./values.ts";

/** A cluster of endpoints that are equal in everything a rule can read. */
export interface Pool {
  readonly name: string;
  /** Plain and model pools differ in their upstream filters and never share a chain. */
  readonly poolClass: "plain" | "model";
  readonly endpoints: readonly PoolEndpoint[];
  readonly protocol: "http1" | "http2";
  readonly loadBalancer: "roundRobin" | "leastRequest" | "random" | "ringHash";
  readonly connectTimeoutMs: number;
  readonly tls?: {
    readonly sni?: string;
    readonly subjectAltNames: readonly string[];
    /** SDS name; absent: the system's bundle. */
    readonly ca?: string;
    readonly clientCertificate?: string;
  };
  /** Request headers that no upstream of this pool may see (lower case). */
  readonly removedHeaders: readonly string[];
  /** SDS name of a generic secret that is written into a header of every request. */
  readonly injected?: { readonly secret: string; readonly header: string; readonly prefix: string };
  readonly healthCheck?: {
    readonly path: string;
    readonly intervalMs: number;
    readonly timeoutMs: number;
    readonly unhealthyThreshold: number;
    readonly healthyThreshold: number;
  };
  readonly outlierDetection?: {
    readonly consecutiveErrors: number;
    readonly intervalMs: number;
    readonly baseEjectionMs: number;
    readonly maxEjectionPercent: number;
  };
  readonly circuitBreakers: {
    readonly maxConnections: number;
    readonly maxPendingRequests: number;
    readonly maxRequests: number;
  };
}

export interface PoolEndpoint {
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  readonly priority: number;
  readonly region?: string;
  readonly zone?: string;
  readonly hostname?: string;
  /** What is known of it besides Envoy's own checks; absent: nothing. */
  readonly health?: "healthy" | "unhealthy" | "draining";
}

/** Retries in parallel that a pool allows; Envoy's own default of 3 loses most fallbacks under load. */
const MAX_RETRIES = 10_000;
const SYSTEM_CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt";

/** Whether the endpoints come by EDS (all are addresses) or are resolved by Envoy (some are DNS names). */
export function usesEds(pool: Pool): boolean {
  return pool.endpoints.every((endpoint) => isIP(endpoint.address) !== 0);
}

export function poolCluster(pool: Pool): Cluster {
  const eds = usesEds(pool);
  return create(ClusterSchema, {
    name: pool.name,
    ...(eds
      ? {
          clusterDiscoveryType: { case: "type" as const, value: Cluster_DiscoveryType.EDS },
          edsClusterConfig: { edsConfig: fromAds() },
        }
      : {
          clusterDiscoveryType: { case: "clusterType" as const, value: dns() },
          loadAssignment: endpointsOf(pool),
        }),
    lbPolicy: LB_POLICIES[pool.loadBalancer],
    connectTimeout: duration(pool.connectTimeoutMs),
    circuitBreakers: breakers(pool),
    ...(pool.tls === undefined ? {} : { transportSocket: tlsSocket(pool.tls) }),
    ...httpHealthChecks(pool),
    ...outliers(pool),
    typedExtensionProtocolOptions: {
      "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": pack(HttpProtocolOptionsSchema, httpOptions(pool)),
    },
  });
}

export function breakers({ circuitBreakers }: Pick<Pool, "circuitBreakers">) {
  return { thresholds: [{ ...circuitBreakers, maxRetries: MAX_RETRIES }] };
}

export function httpHealthChecks({ healthCheck: check }: Pick<Pool, "healthCheck">) {
  if (check === undefined) return {};
  return {
    healthChecks: [
      {
        timeout: duration(check.timeoutMs),
        interval: duration(check.intervalMs),
        unhealthyThreshold: check.unhealthyThreshold,
        healthyThreshold: check.healthyThreshold,
        healthChecker: { case: "httpHealthCheck" as const, value: { path: check.path } },
      },
    ],
  };
}

export function outliers({ outlierDetection: detection }: Pick<Pool, "outlierDetection">) {
  if (detection === undefined) return {};
  return {
    outlierDetection: {
      consecutive5xx: detection.consecutiveErrors,
      interval: duration(detection.intervalMs),
      baseEjectionTime: duration(detection.baseEjectionMs),
      maxEjectionPercent: detection.maxEjectionPercent,
    },
  };
}

/** Every address of every name is an endpoint of its own (what used to be STRICT_DNS). */
function dns() {
  return extension("envoy.clusters.dns", DnsClusterSchema, {
    dnsLookupFamily: DnsLookupFamily.V4_PREFERRED,
    dnsRefreshRate: duration(5_000),
    dnsFailureRefreshRate: { baseInterval: duration(1_000), maxInterval: duration(10_000) },
    respectDnsTtl: true,
  });
}

const LB_POLICIES = {
  roundRobin: Cluster_LbPolicy.ROUND_ROBIN,
  leastRequest: Cluster_LbPolicy.LEAST_REQUEST,
  random: Cluster_LbPolicy.RANDOM,
  ringHash: Cluster_LbPolicy.RING_HASH,
} as const;

function httpOptions(pool: Pool): HttpProtocolOptions {
  const removed = pool.removedHeaders.map((name) => ({ action: { case: "remove" as const, value: name } }));
  return create(HttpProtocolOptionsSchema, {
    ...explicitHttp(pool),
    ...(pool.tls !== undefined && pool.tls.sni === undefined
      ? { upstreamHttpProtocolOptions: { autoSni: true, autoSanValidation: true } }
      : {}),
    httpFilters: [
      configured("envoy.filters.http.upstream_rbac", pack(RBACSchema, legalOnly(pool.name))),
      ...(removed.length === 0
        ? []
        : [
            configured(
              "envoy.filters.http.header_mutation",
              pack(HeaderMutationSchema, { mutations: { requestMutations: removed } }),
            ),
          ]),
      ...(pool.injected === undefined
        ? []
        : [configured("envoy.filters.http.credential_injector", injector(pool.injected))]),
      ...(pool.poolClass === "plain"
        ? []
        : [
            configured(
              "envoy.filters.http.lua",
              pack(LuaSchema, {
                defaultSourceCode: { specifier: { case: "inlineString", value: modelSplice(pool.name) } },
              }),
            ),
          ]),
      configured("envoy.filters.http.upstream_codec", pack(UpstreamCodecSchema, {})),
    ],
  });
}

export function explicitHttp({ protocol }: Pick<Pool, "protocol">) {
  const protocolConfig =
    protocol === "http2"
      ? { case: "http2ProtocolOptions" as const, value: {} }
      : { case: "httpProtocolOptions" as const, value: {} };
  return { upstreamProtocolOptions: { case: "explicitHttpConfig" as const, value: { protocolConfig } } };
}

function injector(injected: NonNullable<Pool["injected"]>) {
  return pack(CredentialInjectorSchema, {
    overwrite: true,
    allowRequestWithoutCredential: false,
    credential: extension("envoy.http.injected_credentials.generic", GenericSchema, {
      credential: { name: injected.secret, sdsConfig: fromAds() },
      header: injected.header,
      headerValuePrefix: injected.prefix,
    }),
  });
}

/**
 * Puts this pool's model name into the span of the body that the decision measured, and its path where a hop of the
 * chain has one of its own. Returns before it touches the body where no span was measured: touching buffers it.
 */
function modelSplice(pool: string): string {
  const name = JSON.stringify(pool);
  return `function envoy_on_request(handle)
  local decision = handle:streamInfo():dynamicMetadata():get(${JSON.stringify(DECISION_NAMESPACE)})
  if decision == nil then return end
  local path = (decision["paths"] or {})[${name}]
  if path ~= nil then handle:headers():replace(":path", path) end
  local span = decision["span"]
  if span == nil then return end
  local body = handle:body()
  if body == nil then return end
  local length = body:length()
  local model = (decision["models"] or {})[${name}]
  if model ~= nil then
    local offset, size = span[1], span[2]
    local before = offset > 0 and body:getBytes(0, offset) or ""
    local rest = length - offset - size
    local after = rest > 0 and body:getBytes(offset + size, rest) or ""
    length = body:setBytes(before .. '"' .. model .. '"' .. after)
  end
  handle:headers():replace("content-length", tostring(length))
end
`;
}

function tlsSocket(tls: NonNullable<Pool["tls"]>) {
  const validation = {
    matchTypedSubjectAltNames: tls.subjectAltNames.map((name) => ({
      sanType: SubjectAltNameMatcher_SanType.DNS,
      matcher: { matchPattern: { case: "exact" as const, value: name } },
    })),
  };
  return extensionSocket({
    ...(tls.sni === undefined ? {} : { sni: tls.sni }),
    commonTlsContext: {
      ...(tls.clientCertificate === undefined
        ? {}
        : { tlsCertificateSdsSecretConfigs: [{ name: tls.clientCertificate, sdsConfig: fromAds() }] }),
      validationContextType:
        tls.ca === undefined
          ? {
              case: "validationContext",
              value: {
                ...validation,
                trustedCa: { specifier: { case: "filename", value: SYSTEM_CA_BUNDLE } },
              },
            }
          : {
              case: "combinedValidationContext",
              value: {
                defaultValidationContext: validation,
                validationContextSdsSecretConfig: { name: tls.ca, sdsConfig: fromAds() },
              },
            },
    },
  });
}

function extensionSocket(init: MessageInitShape<typeof UpstreamTlsContextSchema>) {
  return configured("envoy.transport_sockets.tls", pack(UpstreamTlsContextSchema, init));
}

/**
 * The endpoints of a pool, by priority, and behind them a sentinel that refuses every connection: a pool without a
 * usable endpoint then *fails* an attempt, which the next hop answers, instead of ending the chain.
 */
export function endpointsOf(pool: Pick<Pool, "name" | "endpoints">): ClusterLoadAssignment {
  const localities = byLocality(pool.endpoints);
  const last = 1 + Math.max(-1, ...localities.map(({ priority }) => priority));
  return create(ClusterLoadAssignmentSchema, {
    clusterName: pool.name,
    endpoints: [
      ...localities.map(({ members, ...locality }) => locality),
      { priority: last, lbEndpoints: [sentinel()] },
    ],
    // Envoy moves traffic to the next priority as soon as fewer than 72 % of a priority are healthy. The sentinel must
    // get it only when none is.
    policy: { overprovisioningFactor: 1_000_000 },
  });
}

/** Endpoints by priority (numbered without a gap) and locality, in that order. */
export function byLocality(endpoints: readonly PoolEndpoint[]) {
  const localities = new Map<string, PoolEndpoint[]>();
  for (const endpoint of endpoints) {
    const key = `${String(endpoint.priority).padStart(3, "0")}/${endpoint.region ?? ""}/${endpoint.zone ?? ""}`;
    const members = localities.get(key);
    if (members === undefined) localities.set(key, [endpoint]);
    else members.push(endpoint);
  }
  const priorities = [...new Set(endpoints.map((endpoint) => endpoint.priority))].sort((a, b) => a - b);
  return [...localities.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, members]) => {
      const first = members[0];
      return {
        priority: priorities.indexOf(first?.priority ?? 0),
        ...(first?.region === undefined && first?.zone === undefined
          ? {}
          : { locality: { region: first?.region ?? "", zone: first?.zone ?? "" } }),
        lbEndpoints: members.map((endpoint) => lbEndpoint(endpoint)),
        members,
      };
    });
}

function lbEndpoint(endpoint: PoolEndpoint): MessageInitShape<typeof LbEndpointSchema> {
  return {
    hostIdentifier: {
      case: "endpoint",
      value: {
        address: socketAddress(endpoint.address, endpoint.port),
        ...(endpoint.hostname === undefined ? {} : { hostname: endpoint.hostname }),
      },
    },
    loadBalancingWeight: endpoint.weight,
    ...(endpoint.health === undefined ? {} : { healthStatus: HEALTH[endpoint.health] }),
  };
}

const HEALTH = {
  healthy: HealthStatus.HEALTHY,
  unhealthy: HealthStatus.UNHEALTHY,
  draining: HealthStatus.DRAINING,
} as const;

function sentinel(): MessageInitShape<typeof LbEndpointSchema> {
  return {
    hostIdentifier: {
      case: "endpoint",
      value: { address: socketAddress("127.0.0.1", 1), healthCheckConfig: { disableActiveHealthCheck: true } },
    },
  };
}

/** Where an attempt without a decision ends. */
export function blackholeCluster(): Cluster {
  return create(ClusterSchema, {
    name: BLACKHOLE_CLUSTER,
    clusterDiscoveryType: { case: "type", value: Cluster_DiscoveryType.STATIC },
    connectTimeout: duration(1_000),
    loadAssignment: { clusterName: BLACKHOLE_CLUSTER },
  });
}
