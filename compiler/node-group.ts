import { createHash } from "node:crypto";
import { create, toBinary } from "@bufbuild/protobuf";
import {
  blackholeCluster,
  DECISION_HEADER,
  DECISION_NAMESPACE,
  endpointsOf,
  envoyRoutes,
  FILTERS,
  type Pool,
  pack,
  poolCluster,
  priorityGroups,
  TYPE_URLS,
  usesEds,
} from "../envoy/index.ts";
import { ClusterSchema } from "../protos/gen/envoy/config/cluster/v3/cluster_pb.ts";
import { HeaderValueOption_HeaderAppendAction } from "../protos/gen/envoy/config/core/v3/base_pb.ts";
import { TypedExtensionConfigSchema } from "../protos/gen/envoy/config/core/v3/extension_pb.ts";
import { ClusterLoadAssignmentSchema } from "../protos/gen/envoy/config/endpoint/v3/endpoint_pb.ts";
import { ListenerSchema } from "../protos/gen/envoy/config/listener/v3/listener_pb.ts";
import { type RouteConfiguration, RouteConfigurationSchema } from "../protos/gen/envoy/config/route/v3/route_pb.ts";
import { ExtAuthzPerRouteSchema } from "../protos/gen/envoy/extensions/filters/http/ext_authz/v3/ext_authz_pb.ts";
import type { Gateway, Inventory } from "../resources/index.ts";
import { byKey } from "./facts.ts";
import { type Jwks, jwtFilter } from "./jwt.ts";
import { envoyListener, portGroups } from "./listeners.ts";
import { credentialHeaders, modelPool, plainPool } from "./pools.ts";
import { createResourceList, order, type ResourceViolation } from "./resource-list.ts";
import type { Layout, LayoutRoute, NodeGroup } from "./revision-parts.ts";
import { type RouteTable, routeTable, type TableContext } from "./route-table.ts";
import { addUngoverned, ungovernedGroupName } from "./ungoverned.ts";

export interface CompiledGroup {
  readonly group: NodeGroup;
  /** What its clients without the floors may have; absent: nothing. */
  readonly ungoverned?: NodeGroup;
  readonly layout: Layout;
  readonly violations: readonly ResourceViolation[];
}

/** Everything that the Envoys of one gateway run. */
export function compileNodeGroup(
  gateway: Gateway,
  inventory: Inventory,
  context: TableContext,
  jwks: Jwks,
): CompiledGroup {
  const resources = createResourceList();
  const { add } = resources;
  const ports = portGroups(gateway);
  const tables = new Map<string, RouteTable>();
  for (const port of ports) {
    for (const chain of port.chains) {
      const names = chain.listeners.map((listener) => listener.name);
      tables.set(chain.routeTable, routeTable(chain.routeTable, gateway, names, context));
    }
  }
  const layout = layoutOf(gateway, [...tables.values()]);
  for (const pool of poolsOf(layout, inventory)) {
    add(ClusterSchema, TYPE_URLS.cluster, pool.name, poolCluster(pool));
    if (usesEds(pool)) add(ClusterLoadAssignmentSchema, TYPE_URLS.endpoint, pool.name, endpointsOf(pool));
  }
  const blackhole = blackholeCluster();
  add(ClusterSchema, TYPE_URLS.cluster, blackhole.name, blackhole);
  for (const port of ports) add(ListenerSchema, TYPE_URLS.listener, port.name, envoyListener(port));
  for (const table of tables.values()) {
    add(RouteConfigurationSchema, TYPE_URLS.route, table.name, routeConfiguration(table, gateway, layout.hash));
  }
  const jwt = jwtFilter(inventory, jwks);
  add(TypedExtensionConfigSchema, TYPE_URLS.extensionConfig, jwt.name, jwt);
  const ungoverned = createResourceList();
  addUngoverned(ungoverned, [...tables.values()], byKey(inventory.upstreams));
  const open = ungoverned.sorted();
  return {
    group: { name: gateway.key, layout: layout.hash, resources: resources.sorted() },
    ...(open.length === 0
      ? {}
      : { ungoverned: { name: ungovernedGroupName(gateway.key), layout: layout.hash, resources: open } }),
    layout,
    violations: [...resources.violations, ...ungoverned.violations],
  };
}

/** The layout: what the routes can name, and the hash of the tables as generated without the hash in them. */
function layoutOf(gateway: Gateway, tables: readonly RouteTable[]): Layout {
  const routes = new Map<string, LayoutRoute>();
  const hash = createHash("sha256");
  for (const table of tables) {
    for (const host of table.hosts) for (const entry of host.entries) routes.set(entry.layout.id, entry.layout);
    hash.update(toBinary(RouteConfigurationSchema, routeConfiguration(table, gateway, "")));
  }
  const sorted = [...routes.values()].sort((a, b) => order(a.id, b.id));
  hash.update(JSON.stringify(sorted));
  return { hash: hash.digest("hex").slice(0, 32), nodeGroup: gateway.key, routes: sorted };
}

/** The pools that some route of the layout can name. */
function poolsOf(layout: Layout, inventory: Inventory): Pool[] {
  const named = new Set(
    layout.routes.flatMap((route) => [
      ...route.groups.flatMap((group) => group.clusters.map((c) => c.name)),
      ...(route.mirrors ?? []).map((mirror) => mirror.cluster),
    ]),
  );
  const upstreams = new Map(inventory.upstreams.map((upstream) => [upstream.key, upstream]));
  const removed = credentialHeaders(inventory);
  return [
    ...byKey(inventory.deployments).flatMap((deployment) => {
      const upstream = upstreams.get(deployment.upstream);
      return upstream === undefined ? [] : [modelPool(deployment, upstream, removed)];
    }),
    ...byKey(inventory.upstreams).map((upstream) => plainPool(upstream, removed)),
  ].filter((pool) => named.has(pool.name));
}

function routeConfiguration(table: RouteTable, gateway: Gateway, layout: string): RouteConfiguration {
  const plugins = new Map(
    table.hosts.flatMap((host) =>
      host.entries.flatMap((entry) => (entry.pools === undefined ? [] : [[entry.pools.name, entry.pools] as const])),
    ),
  );
  return create(RouteConfigurationSchema, {
    name: table.name,
    ignorePortInHostMatching: true,
    clusterSpecifierPlugins: [...plugins.values()]
      .sort((a, b) => order(a.name, b.name))
      .map((pools) => priorityGroups(pools.name, pools.attempts, pools.groups)),
    virtualHosts: table.hosts.map((host) => ({
      name: `${table.name}/${host.domain}`,
      domains: [host.domain],
      includeAttemptCountInResponse: true,
      requestHeadersToRemove: ["x-envoy-auth-partial-body", DECISION_HEADER],
      // For people who ask why: the id under which the decision is on record.
      responseHeadersToAdd: [
        {
          header: { key: DECISION_HEADER, value: `%DYNAMIC_METADATA(${DECISION_NAMESPACE}:decision_id)%` },
          appendAction: HeaderValueOption_HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
        },
      ],
      typedPerFilterConfig: {
        [FILTERS.extAuthz]: pack(ExtAuthzPerRouteSchema, {
          override: {
            case: "checkSettings",
            value: { contextExtensions: { node_group: gateway.key, layout } },
          },
        }),
      },
      routes: host.entries.flatMap((entry) => envoyRoutes(entry.route)),
    })),
  });
}
