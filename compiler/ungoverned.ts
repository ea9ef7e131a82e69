import {
  apiListener,
  TYPE_URLS,
  type UngovernedPool,
  type UngovernedRoute,
  ungovernedCluster,
  ungovernedEndpoints,
  ungovernedRoutes,
} from "../envoy/index.ts";
import { ClusterSchema } from "../protos/gen/envoy/config/cluster/v3/cluster_pb.ts";
import { ClusterLoadAssignmentSchema } from "../protos/gen/envoy/config/endpoint/v3/endpoint_pb.ts";
import { ListenerSchema } from "../protos/gen/envoy/config/listener/v3/listener_pb.ts";
import { RouteConfigurationSchema } from "../protos/gen/envoy/config/route/v3/route_pb.ts";
import type { Upstream } from "../resources/index.ts";
import { upstreamPoolName } from "./program.ts";
import type { ResourceList } from "./resource-list.ts";
import type { RouteTable, TableEntry, VirtualHost } from "./route-table.ts";

/**
 * What a client without the floors may be given: upstreams that say so themselves, as far as a plain route of the gateway
 * leads to them. Nothing else is looked at, so nothing governed can come in.
 */
export function addUngoverned(to: ResourceList, tables: readonly RouteTable[], upstreams: readonly Upstream[]): void {
  const open = new Map(
    upstreams.flatMap((upstream) =>
      upstream.governed === false ? [[upstreamPoolName(upstream.key), upstream] as const] : [],
    ),
  );
  if (open.size === 0) return;
  const hosts = tables.flatMap((table) => table.hosts);
  const reached = new Set(
    hosts.flatMap(({ entries }) => entries.flatMap((entry) => backends(entry).map(({ name }) => name))),
  );
  const names = new Map<string, readonly UngovernedRoute[]>();
  for (const [pool, upstream] of open) {
    if (!reached.has(pool)) continue;
    const described = ungovernedPool(pool, upstream);
    to.add(ClusterSchema, TYPE_URLS.cluster, pool, ungovernedCluster(described));
    to.add(ClusterLoadAssignmentSchema, TYPE_URLS.endpoint, pool, ungovernedEndpoints(described));
    names.set(upstream.key, [
      { path: { type: "PathPrefix", value: "/" }, clusters: [{ name: pool, weight: 1 }], timeoutMs: 0 },
    ]);
  }
  // A host name is what people wrote for clients; it goes before an upstream that happens to be called the same.
  for (const host of hosts) {
    const routes = routesOf(host, (pool) => open.has(pool));
    if (routes !== undefined) names.set(host.domain, routes);
  }
  for (const [name, routes] of names) {
    to.add(ListenerSchema, TYPE_URLS.listener, name, apiListener(name));
    to.add(RouteConfigurationSchema, TYPE_URLS.route, name, ungovernedRoutes(name, routes));
  }
}

/** What a plain route leads to by itself, with weights; what rules may reroute to is left out. */
function backends({ route, layout }: TableEntry): readonly { readonly name: string; readonly weight: number }[] {
  return route.action.type === "plain" ? (layout.groups[0]?.clusters ?? []) : [];
}

/**
 * The routes of a host as gRPC takes them.
 *
 * @returns undefined for a host that is not to be offered: one with a wildcard, or where some route leads to what is
 *   governed or says more than a path, which a client could only leave out
 */
function routesOf({ domain, entries }: VirtualHost, isOpen: (pool: string) => boolean): UngovernedRoute[] | undefined {
  if (domain.includes("*") || entries.length === 0) return undefined;
  const routes: UngovernedRoute[] = [];
  for (const entry of entries) {
    const { action, match, headers } = entry.route;
    const clusters = backends(entry);
    if (action.type !== "plain" || clusters.length === 0 || !clusters.every(({ name }) => isOpen(name)))
      return undefined;
    if (match.method !== undefined || match.headers.length > 0 || match.queryParams.length > 0) return undefined;
    if (action.path !== undefined || action.hostname !== undefined) return undefined;
    if (Object.values(headers).some((changes) => changes.length > 0)) return undefined;
    routes.push({ path: match.path, clusters, timeoutMs: action.timeoutMs });
  }
  return routes;
}

function ungovernedPool(name: string, upstream: Upstream): UngovernedPool {
  const { endpoints, protocol, loadBalancer, connectTimeoutMs, circuitBreakers, healthCheck, outlierDetection } =
    upstream;
  return {
    ...{ name, endpoints, protocol, loadBalancer, connectTimeoutMs, circuitBreakers },
    ...(healthCheck === undefined ? {} : { healthCheck }),
    ...(outlierDetection === undefined ? {} : { outlierDetection }),
  };
}
