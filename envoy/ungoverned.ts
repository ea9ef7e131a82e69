import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type Cluster,
  Cluster_DiscoveryType,
  Cluster_LbPolicy,
  ClusterSchema,
} from "../protos/gen/envoy/config/cluster/v3/cluster_pb.ts";
import {
  type ClusterLoadAssignment,
  ClusterLoadAssignmentSchema,
} from "../protos/gen/envoy/config/endpoint/v3/endpoint_pb.ts";
import { type Listener, ListenerSchema } from "../protos/gen/envoy/config/listener/v3/listener_pb.ts";
import type { RouteMatchSchema } from "../protos/gen/envoy/config/route/v3/route_components_pb.ts";
import { type RouteConfiguration, RouteConfigurationSchema } from "../protos/gen/envoy/config/route/v3/route_pb.ts";
import { RouterSchema } from "../protos/gen/envoy/extensions/filters/http/router/v3/router_pb.ts";
import { HttpConnectionManagerSchema } from "../protos/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import { HttpProtocolOptionsSchema } from "../protos/gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts";
import {
  breakers,
  byLocality,
  explicitHttp,
  httpHealthChecks,
  outliers,
  type Pool,
  type PoolEndpoint,
} from "./cluster.ts";
import { FILTERS } from "./names.ts";
import { configured, pack } from "./registry.ts";
import { duration, fromAds } from "./values.ts";

/** A pool without the floors: no filter asks for a decision, no certificate, no credential. */
export type UngovernedPool = Omit<Pool, "poolClass" | "removedHeaders" | "tls" | "injected">;

/**
 * The cluster of a pool as any client takes it, one that knows no more of xDS than gRPC does included: it picks by
 * round robin or by ring hash and refuses other policies (gRFC A27, A42).
 */
export function ungovernedCluster(pool: UngovernedPool): Cluster {
  return create(ClusterSchema, {
    name: pool.name,
    clusterDiscoveryType: { case: "type", value: Cluster_DiscoveryType.EDS },
    edsClusterConfig: { edsConfig: fromAds() },
    lbPolicy: pool.loadBalancer === "ringHash" ? Cluster_LbPolicy.RING_HASH : Cluster_LbPolicy.ROUND_ROBIN,
    connectTimeout: duration(pool.connectTimeoutMs),
    circuitBreakers: breakers(pool),
    ...httpHealthChecks(pool),
    ...outliers(pool),
    typedExtensionProtocolOptions: {
      "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": pack(HttpProtocolOptionsSchema, explicitHttp(pool)),
    },
  });
}

/**
 * The endpoints of a pool, without the sentinel of governed ones. gRPC leaves out localities without a weight, and refuses
 * an address that is there twice (gRFC A27): the first priority that has it keeps it.
 */
export function ungovernedEndpoints(pool: Pick<Pool, "name" | "endpoints">): ClusterLoadAssignment {
  const seen = new Set<string>();
  const endpoints = pool.endpoints
    .toSorted((a, b) => a.priority - b.priority)
    .filter(({ address, port }) => {
      const place = `${address} ${port}`;
      return !seen.has(place) && seen.add(place);
    });
  const weight = (members: readonly PoolEndpoint[]) => members.reduce((sum, member) => sum + member.weight, 0);
  return create(ClusterLoadAssignmentSchema, {
    clusterName: pool.name,
    endpoints: byLocality(endpoints).map(({ members, ...locality }) => ({
      ...locality,
      locality: locality.locality ?? {},
      loadBalancingWeight: Math.min(weight(members), 0xffffffff),
    })),
  });
}

/** What gRPC asks for as `xds:///NAME`: a Listener of that name that has only a route configuration, of the same name. */
export function apiListener(name: string): Listener {
  return create(ListenerSchema, {
    name,
    apiListener: {
      apiListener: pack(HttpConnectionManagerSchema, {
        statPrefix: name,
        routeSpecifier: { case: "rds", value: { configSource: fromAds(), routeConfigName: name } },
        httpFilters: [configured(FILTERS.router, pack(RouterSchema, {}))],
      }),
    },
  });
}

/** Paths as gRPC matches them: it knows no prefix that ends at a separator by itself. */
export interface UngovernedRoute {
  readonly path: { readonly type: "Exact" | "PathPrefix" | "RegularExpression"; readonly value: string };
  readonly clusters: readonly { readonly name: string; readonly weight: number }[];
  /** 0: no bound. */
  readonly timeoutMs: number;
}

export function ungovernedRoutes(name: string, routes: readonly UngovernedRoute[]): RouteConfiguration {
  return create(RouteConfigurationSchema, {
    name,
    virtualHosts: [
      {
        name,
        domains: ["*"],
        routes: routes.flatMap(({ path, clusters, timeoutMs }) =>
          matches(path).map((match) => ({
            match,
            action: {
              case: "route" as const,
              value: { clusterSpecifier: specifier(clusters), timeout: duration(timeoutMs) },
            },
          })),
        ),
      },
    ],
  });
}

function matches({ type, value }: UngovernedRoute["path"]): MessageInitShape<typeof RouteMatchSchema>[] {
  if (type === "Exact") return [{ pathSpecifier: { case: "path", value } }];
  if (type === "RegularExpression") return [{ pathSpecifier: { case: "safeRegex", value: { regex: value } } }];
  const prefix = value.replace(/\/+$/, "");
  if (prefix === "") return [{ pathSpecifier: { case: "prefix", value: "/" } }];
  return [
    { pathSpecifier: { case: "path", value: prefix } },
    { pathSpecifier: { case: "prefix", value: `${prefix}/` } },
  ];
}

function specifier(clusters: UngovernedRoute["clusters"]) {
  const [only] = clusters;
  if (clusters.length === 1 && only !== undefined) return { case: "cluster" as const, value: only.name };
  return { case: "weightedClusters" as const, value: { clusters: [...clusters] } };
}
