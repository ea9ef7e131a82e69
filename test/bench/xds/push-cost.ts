import { fileURLToPath } from "node:url";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { Registry } from "prom-client";
import { compile, type EncodedResource } from "../../../compiler/index.ts";
import { TYPE_URLS } from "../../../envoy/index.ts";
import { HealthStatus } from "../../../protos/gen/envoy/config/core/v3/health_check_pb.ts";
import { ClusterLoadAssignmentSchema } from "../../../protos/gen/envoy/config/endpoint/v3/endpoint_pb.ts";
import { parseResources } from "../../../resources/index.ts";
import { createXdsServer, type ServedResource, type XdsServer } from "../../../xds-server/index.ts";
import { ALLOW_ALL, anonymous, plainRoute, policy, yaml } from "../../support/resources.ts";
import { spawnProcess } from "../../support/spawn-process.ts";
import { waitFor } from "../../support/wait-for.ts";

const NODES = 100;
const SERVICES = 200;
const REPEATS = 10;
/** Ports of the Gateway; the first has most of the routes, and each of the others as many as this. */
const OTHER_PORTS = 9;
const ROUTES_OF_OTHERS = 20;
const DEADLINE_MS = 60_000;

/** What people write, as far as it changes here. */
interface Tree {
  readonly services: number;
  /** Of the first port. */
  readonly routes: number;
  /** Of the second port. */
  readonly otherRoutes: number;
  /** Of the first service. */
  readonly port: number;
  readonly endpointWeight: number;
  /** Of the first route, which goes to two services. */
  readonly backendWeight: number;
}

interface Change {
  readonly kind: string;
  /** The next tree; undefined: what the endpoint's health is, which is not written by people. */
  readonly next: ((tree: Tree, turn: number) => Tree) | undefined;
}

const CHANGES: readonly Change[] = [
  { kind: "address of an endpoint", next: (tree, turn) => ({ ...tree, port: 20_000 + turn }) },
  { kind: "weight of an endpoint", next: (tree, turn) => ({ ...tree, endpointWeight: 10 + turn }) },
  { kind: "health of an endpoint", next: undefined },
  { kind: "backend weight of a plain route", next: (tree, turn) => ({ ...tree, backendWeight: 10 + turn }) },
  { kind: `new route, ${SERVICES} on its port`, next: (tree) => ({ ...tree, routes: tree.routes + 1 }) },
  {
    kind: `new route, ${ROUTES_OF_OTHERS} on its port`,
    next: (tree) => ({ ...tree, otherRoutes: tree.otherRoutes + 1 }),
  },
  {
    kind: "new pool with its route",
    next: ({ services, routes, ...rest }) => ({ ...rest, services: services + 1, routes: routes + 1 }),
  },
];

/** What each kind of change costs, through the compiler, the store and the server, to real clients. A table. */
export async function pushCost(): Promise<string> {
  const registry = new Registry();
  const server = createXdsServer({ log: pino({ level: "silent" }), registry });
  const port = await server.listen("127.0.0.1:0");
  let tree: Tree = {
    ...{ services: SERVICES, routes: SERVICES, otherRoutes: ROUTES_OF_OTHERS },
    ...{ port: 20_000, endpointWeight: 1, backendWeight: 1 },
  };
  let revision = 0;
  let group = "";
  let served = new Map<string, Map<string, ServedResource>>();
  const publish = (next: Tree): void => {
    tree = next;
    revision += 1;
    ({ group, types: served } = compiled(tree));
    server.setSnapshot({ group, revision, layout: "", resources: served });
  };
  const counted = async (name: string): Promise<number> => {
    const metric = await registry.getSingleMetric(name)?.get();
    return (metric?.values ?? []).reduce((sum, { value }) => sum + value, 0);
  };
  const settled = async (pushesBefore: number): Promise<boolean> => {
    const pushes = await counted("chancery_xds_pushes_total");
    return pushes >= pushesBefore + NODES && (await counted("chancery_xds_acks_total")) === pushes;
  };

  publish(tree);
  const clients = await spawnProcess(process.execPath, [
    fileURLToPath(new URL("clients.ts", import.meta.url)),
    ...[String(port), group, String(NODES)],
  ]);
  const rows: string[] = [];
  try {
    const all = 4 * NODES;
    await waitFor(async () => (await counted("chancery_xds_acks_total")) >= all, DEADLINE_MS, "all to be connected");
    for (const { kind, next } of CHANGES) {
      let compileMs = 0;
      let pushMs = 0;
      const bytesBefore = await counted("chancery_xds_push_bytes_total");
      const responsesBefore = await counted("chancery_xds_pushes_total");
      for (let turn = 1; turn <= REPEATS; turn++) {
        const pushes = await counted("chancery_xds_pushes_total");
        const start = process.cpuUsage();
        const wanted = next?.(tree, turn);
        if (wanted === undefined) changeHealth(server, group, served, turn);
        else publish(wanted);
        const published = process.cpuUsage(start);
        await waitFor(() => settled(pushes), DEADLINE_MS, `${kind}: acknowledgements`);
        const whole = process.cpuUsage(start);
        compileMs += (published.user + published.system) / 1_000;
        pushMs += (whole.user + whole.system - published.user - published.system) / 1_000;
      }
      const nodes = REPEATS * NODES;
      const bytes = ((await counted("chancery_xds_push_bytes_total")) - bytesBefore) / nodes;
      const responses = ((await counted("chancery_xds_pushes_total")) - responsesBefore) / nodes;
      const cells = [kind, responses.toFixed(1), bytes.toFixed(0), ((1_000 * pushMs) / nodes).toFixed(0)];
      rows.push(`| ${cells.join(" | ")} | ${(compileMs / REPEATS).toFixed(1)} |`);
    }
  } finally {
    await clients.close();
    await server.close(0);
  }
  return [
    `${NODES} nodes (delta); ${SERVICES} pools; ${SERVICES} routes on one port and ${ROUTES_OF_OTHERS} on each of ${OTHER_PORTS} others; ${REPEATS} changes of each kind`,
    "",
    "| change | responses a node | bytes a node | CPU us a node | compile, compare and first pushes: CPU ms, once |",
    "|---|---|---|---|---|",
    ...rows,
  ].join("\n");
}

function compiled(tree: Tree): { group: string; types: Map<string, Map<string, EncodedResource>> } {
  const services = Array.from({ length: tree.services }, (_, index) => service(index, tree));
  const routes = Array.from({ length: tree.routes }, (_, index) =>
    route(0, index, index === 0 ? { s0: tree.backendWeight, s1: 1 } : { [`s${index % tree.services}`]: 1 }),
  );
  for (let port = 1; port <= OTHER_PORTS; port++) {
    const count = port === 1 ? tree.otherRoutes : ROUTES_OF_OTHERS;
    for (let index = 0; index < count; index++) routes.push(route(port, index, { [`s${index % tree.services}`]: 1 }));
  }
  const text = yaml(GATEWAY, anonymous(), policy("all", ALLOW_ALL), ...services, ...routes);
  const loaded = parseResources(new Map([["all.yaml", text]]));
  const { parts, problems } = compile(loaded.inventory, { jwks: new Map(), positions: loaded.positions });
  const errors = [...loaded.problems, ...problems].filter(({ severity }) => severity === "error");
  const [only] = parts.nodeGroups;
  if (errors.length > 0 || only === undefined) throw new Error(`the tree does not compile: ${errors[0]?.message}`);
  const types = new Map<string, Map<string, EncodedResource>>();
  for (const resource of only.resources) {
    const ofType = types.get(resource.typeUrl) ?? new Map<string, EncodedResource>();
    types.set(resource.typeUrl, ofType.set(resource.name, resource));
  }
  return { group: only.name, types };
}

const LISTENERS = Array.from(
  { length: 1 + OTHER_PORTS },
  (_, port) => `{ name: p${port}, port: ${10_000 + port}, protocol: HTTP }`,
);
const GATEWAY = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: chancery
  listeners: [${LISTENERS.join(", ")}]`;

function route(port: number, index: number, weights: Readonly<Record<string, number>>): string {
  return plainRoute(`p${port}-r${index}`, `/r${index}`, weights, `p${port}`);
}

function service(index: number, { port, endpointWeight }: Tree): string {
  const first = index === 0 ? { port, weight: endpointWeight } : { port: 20_000, weight: 1 };
  return `
apiVersion: chancery.dev/v1
kind: Upstream
metadata: { name: s${index} }
spec:
  endpoints:
    - { address: 127.0.0.1, port: ${first.port}, weight: ${first.weight} }
    - { address: 127.0.0.2, port: 20000, weight: 1 }`;
}

/** As a feed of health does it: one assignment of endpoints anew, and nothing else. */
function changeHealth(
  server: XdsServer,
  group: string,
  served: ReadonlyMap<string, ReadonlyMap<string, ServedResource>>,
  turn: number,
): void {
  const [resource] = served.get(TYPE_URLS.endpoint)?.values() ?? [];
  if (resource === undefined) throw new Error("the tree has no pool whose endpoints come by EDS");
  const assignment = fromBinary(ClusterLoadAssignmentSchema, resource.value);
  const [first] = assignment.endpoints.flatMap(({ lbEndpoints }) => lbEndpoints);
  if (first !== undefined) first.healthStatus = turn % 2 === 1 ? HealthStatus.UNHEALTHY : HealthStatus.HEALTHY;
  const value = toBinary(ClusterLoadAssignmentSchema, create(ClusterLoadAssignmentSchema, assignment));
  server.change({ group, resources: [{ ...resource, version: `${resource.version}-${turn}`, value }] });
}
