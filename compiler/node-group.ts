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
  type RoutePlan,
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
import { groupLayout } from "./group-layout.ts";
import { reducedGroupName, ungovernedGroupName } from "./group-names.ts";
import { type Jwks, jwtFilter } from "./jwt.ts";
import { envoyListener, type PortGroup, portGroups } from "./listeners.ts";
import { credentialHeaders, modelPool, plainPool } from "./pools.ts";
import { tooManyRoutes } from "./reduced.ts";
import { createResourceList, order, type ResourceList, type ResourceViolation } from "./resource-list.ts";
import type { Layout, LayoutRoute, NodeGroup } from "./revision-parts.ts";
import { type RouteTable, routeTable, type TableContext } from "./route-table.ts";
import { addUngoverned } from "./ungoverned.ts";

export interface CompiledGroup {
  /**
   * That of its Envoys with all extensions first, then what those have that lack some: the reduced plan, and (where there
   * is something that is not governed) what clients without the floors may have.
   */
  readonly groups: readonly NodeGroup[];
  readonly layouts: readonly Layout[];
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
  const all = [...tables.values()];
  const laidOut = layOut(gateway, all, "full");
  const layouts = laidOut.map(({ layout }) => layout);
  const layout = groupLayout(layouts);
  for (const pool of poolsOf(layouts, inventory)) {
    add(ClusterSchema, TYPE_URLS.cluster, pool.name, poolCluster(pool));
    if (usesEds(pool)) add(ClusterLoadAssignmentSchema, TYPE_URLS.endpoint, pool.name, endpointsOf(pool));
  }
  const blackhole = blackholeCluster();
  add(ClusterSchema, TYPE_URLS.cluster, blackhole.name, blackhole);
  const jwt = jwtFilter(inventory, jwks);
  add(TypedExtensionConfigSchema, TYPE_URLS.extensionConfig, jwt.name, jwt);
  addTables(resources, gateway, ports, laidOut, "full");
  const ungoverned = createResourceList();
  addUngoverned(ungoverned, all, byKey(inventory.upstreams));
  const open = ungoverned.sorted();
  const openName = ungovernedGroupName(gateway.key);
  const reduced = createResourceList();
  const withheld = tooManyRoutes(all);
  const reducedTables = withheld === undefined ? layOut(gateway, all, "reduced") : [];
  const reducedLayouts = reducedTables.map(({ layout }) => layout);
  if (withheld === undefined) addTables(reduced, gateway, ports, reducedTables, "reduced");
  return {
    groups: [
      { name: gateway.key, layout, resources: resources.sorted() },
      {
        name: reducedGroupName(gateway.key),
        layout: withheld === undefined ? groupLayout(reducedLayouts) : layout,
        ...(withheld === undefined
          ? { extends: gateway.key }
          : { ...(open.length === 0 ? {} : { extends: openName }), withheld }),
        resources: reduced.sorted(),
      },
      ...(open.length === 0 ? [] : [{ name: openName, layout, resources: open }]),
    ],
    layouts: [...layouts, ...reducedLayouts],
    violations: [...resources.violations, ...reduced.violations, ...ungoverned.violations],
  };
}

function addTables(
  { add }: ResourceList,
  gateway: Gateway,
  ports: readonly PortGroup[],
  tables: readonly LaidOutTable[],
  plan: RoutePlan,
): void {
  for (const port of ports) add(ListenerSchema, TYPE_URLS.listener, port.name, envoyListener(port, plan));
  for (const { table, layout } of tables) {
    add(RouteConfigurationSchema, TYPE_URLS.route, table.name, routeConfiguration(table, gateway, layout.hash, plan));
  }
}

interface LaidOutTable {
  readonly table: RouteTable;
  readonly layout: Layout;
}

/** Each table has a layout of its own: a change of one leaves the others as they are, and they are not sent again. */
function layOut(gateway: Gateway, tables: readonly RouteTable[], plan: RoutePlan): LaidOutTable[] {
  return tables.map((table) => ({ table, layout: layoutOf(gateway, table, plan) }));
}

/** The layout: what the routes can name, and the hash of the table as generated without the hash in it. */
function layoutOf(gateway: Gateway, table: RouteTable, plan: RoutePlan): Layout {
  const routes = new Map<string, LayoutRoute>();
  const hash = createHash("sha256");
  for (const host of table.hosts) for (const entry of host.entries) routes.set(entry.layout.id, entry.layout);
  hash.update(toBinary(RouteConfigurationSchema, routeConfiguration(table, gateway, "", plan)));
  const sorted = [...routes.values()].sort((a, b) => order(a.id, b.id));
  hash.update(JSON.stringify(sorted));
  if (plan === "full") return { hash: hash.digest("hex").slice(0, 32), nodeGroup: gateway.key, routes: sorted };
  // Without a pool to choose, the tables of both plans are the same, and decisions on them are told apart all the same.
  return { hash: hash.update(plan).digest("hex").slice(0, 32), nodeGroup: gateway.key, plan, routes: sorted };
}

/** The pools that some route of the layouts can name. */
function poolsOf(layouts: readonly Layout[], inventory: Inventory): Pool[] {
  const routes = layouts.flatMap((layout) => layout.routes);
  const named = new Set(
    routes.flatMap((route) => [
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

function routeConfiguration(table: RouteTable, gateway: Gateway, layout: string, plan: RoutePlan): RouteConfiguration {
  const plugins = new Map(
    table.hosts.flatMap((host) =>
      host.entries.flatMap((entry) => (entry.pools === undefined ? [] : [[entry.pools.name, entry.pools] as const])),
    ),
  );
  return create(RouteConfigurationSchema, {
    name: table.name,
    ignorePortInHostMatching: true,
    clusterSpecifierPlugins: [...(plan === "full" ? plugins.values() : [])]
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
      routes: host.entries.flatMap(({ route, pools }) =>
        envoyRoutes(route, plan === "full" ? undefined : (pools?.groups ?? [])),
      ),
    })),
  });
}
