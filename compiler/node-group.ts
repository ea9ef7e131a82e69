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
import type { Deployment, Gateway, HTTPRoute, Upstream } from "../resources/index.ts";
import { byKey } from "./facts.ts";
import type { GroupCache } from "./group-cache.ts";
import { groupLayout } from "./group-layout.ts";
import { reducedGroupName, ungovernedGroupName } from "./group-names.ts";
import { issuerTexts, jwtFilter, type TokenIssuer } from "./jwt.ts";
import { envoyListener, type PortGroup, portGroups } from "./listeners.ts";
import { modelPool, plainPool } from "./pools.ts";
import { modelPoolName, upstreamPoolName } from "./program.ts";
import { tooManyRoutes } from "./reduced.ts";
import {
  type CheckedResource,
  checkedResource,
  createResourceList,
  order,
  type ResourceList,
  type ResourceViolation,
} from "./resource-list.ts";
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

/** What the groups of all gateways are made from. */
export interface GroupSources {
  readonly upstreams: readonly Upstream[];
  readonly deployments: readonly Deployment[];
  readonly context: TableContext;
  /** As `credentialHeaders` gives them. */
  readonly removedHeaders: readonly string[];
  readonly issuers: readonly TokenIssuer[];
}

/**
 * Everything that the Envoys of one gateway run.
 *
 * @param routes  all that attach to it
 */
export function compileNodeGroup(
  gateway: Gateway,
  routes: readonly HTTPRoute[],
  sources: GroupSources,
  cache: GroupCache,
): CompiledGroup {
  const { upstreams, deployments, context, issuers } = sources;
  const from = [gateway, context, ...issuerTexts(issuers), "", ...routes, "", ...upstreams, "", ...deployments];
  return cache.groups.of(gateway.key, from, () => groupOf(gateway, routes, sources, cache));
}

function groupOf(
  gateway: Gateway,
  routes: readonly HTTPRoute[],
  sources: GroupSources,
  cache: GroupCache,
): CompiledGroup {
  const { upstreams, context, issuers } = sources;
  const resources = createResourceList();
  const ports = portGroups(gateway);
  const tables = new Map<string, RouteTable>();
  for (const port of ports) {
    for (const { routeTable: name, listeners } of port.chains) {
      const names = listeners.map((listener) => listener.name);
      const table = () => routeTable(name, gateway, names, routes, context);
      tables.set(name, cache.tables.of(name, [gateway, context, ...routes], table));
    }
  }
  const all = [...tables.values()];
  const laidOut = layOut(gateway, all, "full", cache);
  const layouts = laidOut.map(({ layout }) => layout);
  const layout = groupLayout(layouts);
  for (const pool of poolsOf(layouts, sources, cache)) resources.include(...pool);
  const blackhole = blackholeCluster();
  resources.add(ClusterSchema, TYPE_URLS.cluster, blackhole.name, blackhole);
  const jwt = (): CheckedResource[] => {
    const filter = jwtFilter(issuers);
    return [checkedResource(TypedExtensionConfigSchema, TYPE_URLS.extensionConfig, filter.name, filter)];
  };
  resources.include(...cache.resources.of("jwt", issuerTexts(issuers), jwt));
  addTables(resources, gateway, ports, laidOut, "full", cache);
  const ungoverned = createResourceList();
  addUngoverned(ungoverned, all, byKey(upstreams));
  const open = ungoverned.sorted();
  const openName = ungovernedGroupName(gateway.key);
  const reduced = createResourceList();
  const withheld = tooManyRoutes(all);
  const reducedTables = withheld === undefined ? layOut(gateway, all, "reduced", cache) : [];
  const reducedLayouts = reducedTables.map(({ layout }) => layout);
  if (withheld === undefined) addTables(reduced, gateway, ports, reducedTables, "reduced", cache);
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
  { include }: ResourceList,
  gateway: Gateway,
  ports: readonly PortGroup[],
  tables: readonly LaidOutTable[],
  plan: RoutePlan,
  cache: GroupCache,
): void {
  for (const port of ports) {
    const listener = () => [checkedResource(ListenerSchema, TYPE_URLS.listener, port.name, envoyListener(port, plan))];
    include(...cache.resources.of(`${plan} ${port.name}`, [gateway], listener));
  }
  for (const { resource } of tables) include(resource);
}

export interface LaidOutTable {
  readonly layout: Layout;
  /** The route configuration. */
  readonly resource: CheckedResource;
}

/** Each table has a layout of its own: a change of one leaves the others as they are, and they are not sent again. */
function layOut(
  gateway: Gateway,
  tables: readonly RouteTable[],
  plan: RoutePlan,
  cache: GroupCache,
): readonly LaidOutTable[] {
  return tables.map((table) =>
    cache.layouts.of(`${plan} ${table.name}`, [gateway, table], () => {
      const layout = layoutOf(gateway, table, plan);
      const routes = routeConfiguration(table, gateway, layout.hash, plan);
      return { layout, resource: checkedResource(RouteConfigurationSchema, TYPE_URLS.route, table.name, routes) };
    }),
  );
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
function poolsOf(
  layouts: readonly Layout[],
  { upstreams, deployments, removedHeaders }: GroupSources,
  cache: GroupCache,
): readonly (readonly CheckedResource[])[] {
  const routes = layouts.flatMap((layout) => layout.routes);
  const named = new Set(
    routes.flatMap((route) => [
      ...route.groups.flatMap((group) => group.clusters.map((c) => c.name)),
      ...(route.mirrors ?? []).map((mirror) => mirror.cluster),
    ]),
  );
  const checked = (name: string, upstream: Upstream, pool: () => Pool): readonly (readonly CheckedResource[])[] =>
    named.has(name) ? [cache.resources.of(name, [upstream, ...removedHeaders], () => poolResources(pool()))] : [];
  const byName = new Map(upstreams.map((upstream) => [upstream.key, upstream]));
  return [
    ...byKey(deployments).flatMap((deployment) => {
      const upstream = byName.get(deployment.upstream);
      if (upstream === undefined) return [];
      return checked(modelPoolName(deployment.key), upstream, () => modelPool(deployment, upstream, removedHeaders));
    }),
    ...byKey(upstreams).flatMap((upstream) =>
      checked(upstreamPoolName(upstream.key), upstream, () => plainPool(upstream, removedHeaders)),
    ),
  ];
}

function poolResources(pool: Pool): CheckedResource[] {
  const cluster = checkedResource(ClusterSchema, TYPE_URLS.cluster, pool.name, poolCluster(pool));
  if (!usesEds(pool)) return [cluster];
  const endpoints = endpointsOf(pool);
  return [cluster, checkedResource(ClusterLoadAssignmentSchema, TYPE_URLS.endpoint, pool.name, endpoints)];
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
