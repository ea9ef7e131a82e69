import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { fileURLToPath } from "node:url";
import { type DescMessage, fromJson, type JsonValue, toBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { Registry } from "prom-client";
import { expect, test } from "vitest";
import type { EncodedResource } from "../compiler/index.ts";
import { envoyTypes, typeUrl } from "../envoy/index.ts";
import { ClusterSchema } from "../protos/gen/envoy/config/cluster/v3/cluster_pb.ts";
import { ClusterLoadAssignmentSchema } from "../protos/gen/envoy/config/endpoint/v3/endpoint_pb.ts";
import { ListenerSchema } from "../protos/gen/envoy/config/listener/v3/listener_pb.ts";
import { RouteConfigurationSchema } from "../protos/gen/envoy/config/route/v3/route_pb.ts";
import {
  closeAtEnd,
  createCertificateAuthority,
  http,
  type RunningEnvoy,
  startEnvoy,
  waitFor,
} from "../test/support/index.ts";
import { systemClock } from "./clock.ts";
import { createSecretSource } from "./secret-source.ts";
import { createXdsServer, type XdsServer } from "./server.ts";
import type { GroupSnapshot } from "./snapshot.ts";

const binary = fileURLToPath(new URL("../.tools/envoy-1.40.0/envoy", import.meta.url));
const ADS = { ads: {}, resourceApiVersion: "V3" };
const type = (name: string) => `type.googleapis.com/envoy.extensions.${name}`;

function encode(schema: DescMessage, name: string, json: JsonValue): EncodedResource {
  const value = toBinary(schema, fromJson(schema, json, { registry: envoyTypes }));
  const version = createHash("sha256").update(value).digest("hex").slice(0, 16);
  return { typeUrl: typeUrl(schema), name, version, value };
}

const address = (port: number) => ({ socketAddress: { address: "127.0.0.1", portValue: port } });

function cluster(name: string, extra: Record<string, JsonValue> = {}): EncodedResource {
  return encode(ClusterSchema, name, { name, type: "EDS", edsClusterConfig: { edsConfig: ADS }, ...extra });
}

function endpoints(clusterName: string, port: number): EncodedResource {
  return encode(ClusterLoadAssignmentSchema, clusterName, {
    clusterName,
    endpoints: [{ lbEndpoints: [{ endpoint: { address: address(port) } }] }],
  });
}

function listener(secret?: string): EncodedResource {
  const manager = {
    name: "envoy.filters.network.http_connection_manager",
    typedConfig: {
      "@type": type("filters.network.http_connection_manager.v3.HttpConnectionManager"),
      statPrefix: "edge",
      rds: { routeConfigName: "routes", configSource: ADS },
      httpFilters: [
        { name: "envoy.filters.http.router", typedConfig: { "@type": type("filters.http.router.v3.Router") } },
      ],
    },
  };
  const tls = {
    name: "envoy.transport_sockets.tls",
    typedConfig: {
      "@type": type("transport_sockets.tls.v3.DownstreamTlsContext"),
      commonTlsContext: { tlsCertificateSdsSecretConfigs: [{ name: secret ?? "", sdsConfig: ADS }] },
    },
  };
  const chain = { filters: [manager], ...(secret === undefined ? {} : { transportSocket: tls }) };
  return encode(ListenerSchema, "edge", { name: "edge", address: address(0), filterChains: [chain] });
}

function routes(...list: readonly (readonly [prefix: string, cluster: string])[]): EncodedResource {
  return encode(RouteConfigurationSchema, "routes", {
    name: "routes",
    virtualHosts: [
      {
        name: "all",
        domains: ["*"],
        routes: list.map(([prefix, name]) => ({ match: { prefix }, route: { cluster: name } })),
      },
    ],
  });
}

const brokenRoutes = encode(RouteConfigurationSchema, "routes", {
  name: "routes",
  virtualHosts: [
    { name: "all", domains: ["*"], routes: [{ match: { safeRegex: { regex: "(" } }, route: { cluster: "a" } }] },
  ],
});

function snapshot(revision: number, ...resources: readonly EncodedResource[]): GroupSnapshot {
  const types = new Map<string, Map<string, EncodedResource>>();
  for (const resource of resources) {
    const map = types.get(resource.typeUrl) ?? new Map<string, EncodedResource>();
    types.set(resource.typeUrl, map.set(resource.name, resource));
  }
  return { group: "edge", revision, layout: `layout-${revision}`, resources: types };
}

async function startUpstream(says: string): Promise<number> {
  const server = createServer((_request, response) => response.end(says));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closeAtEnd(server);
  return (server.address() as AddressInfo).port;
}

interface RunningServer {
  readonly server: XdsServer;
  readonly port: number;
  readonly registry: Registry;
}

async function startServer(first: GroupSnapshot, port = 0): Promise<RunningServer> {
  const registry = new Registry();
  const server = createXdsServer({ log: pino({ level: "silent" }), registry, settings: { removalGraceMs: 100 } });
  closeAtEnd(server);
  server.setSnapshot(first);
  return { server, port: await server.listen(`127.0.0.1:${port}`), registry };
}

async function startNode(xdsPort: number): Promise<RunningEnvoy> {
  const envoy = await startEnvoy({
    binary,
    bootstrap: {
      node: { id: "node-1", cluster: "edge" },
      admin: { address: address(0) },
      dynamic_resources: {
        ads_config: {
          api_type: "DELTA_GRPC",
          transport_api_version: "V3",
          set_node_on_first_message_only: true,
          grpc_services: [{ envoy_grpc: { cluster_name: "xds" } }],
        },
        cds_config: { ads: {}, resource_api_version: "V3" },
        lds_config: { ads: {}, resource_api_version: "V3" },
      },
      static_resources: {
        clusters: [
          {
            name: "xds",
            type: "STATIC",
            typed_extension_protocol_options: {
              "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": type("upstreams.http.v3.HttpProtocolOptions"),
                explicit_http_config: { http2_protocol_options: {} },
              },
            },
            load_assignment: {
              cluster_name: "xds",
              endpoints: [{ lb_endpoints: [{ endpoint: { address: address(xdsPort) } }] }],
            },
          },
        ],
      },
    },
  });
  return closeAtEnd(envoy);
}

function runs(server: XdsServer, revision: number): Promise<true> {
  return waitFor(
    () => server.nodes()[0]?.acknowledgedRevision === revision,
    10_000,
    () => `revision ${revision} on the node: ${JSON.stringify(server.nodes(), null, 1)}`,
  );
}

async function portOf(envoy: RunningEnvoy): Promise<number> {
  return waitFor(async () => (await envoy.listenerPorts()).edge?.[0], 10_000, "the listener");
}

const get = async (port: number, path = "/") => (await http(`http://127.0.0.1:${port}${path}`)).text();

test("a real Envoy is given everything, and a changed endpoint is in force without anything else being sent", async () => {
  const [one, two] = [await startUpstream("one"), await startUpstream("two")];
  const { server, port, registry } = await startServer(
    snapshot(1, cluster("a"), endpoints("a", one), listener(), routes(["/", "a"])),
  );
  const envoy = await startNode(port);
  await runs(server, 1);
  const edge = await portOf(envoy);
  expect(await get(edge)).toBe("one");
  expect(server.nodes()[0]).toMatchObject({ id: "node-1", group: "edge", plan: "full", envoyVersion: "1.40.0" });
  const before = await pushes(registry);
  server.setSnapshot(snapshot(2, cluster("a"), endpoints("a", two), listener(), routes(["/", "a"])));
  await runs(server, 2);
  expect(await get(edge)).toBe("two");
  expect(await pushes(registry)).toEqual({ ...before, endpoint: (before.endpoint ?? 0) + 1 });
  server.setSnapshot(snapshot(3, cluster("a"), endpoints("a", two), listener(), routes(["/", "a"])));
  await runs(server, 3);
  expect(await pushes(registry)).toEqual({ ...before, endpoint: (before.endpoint ?? 0) + 1 });
});

test("a rejected resource leaves the last good one, is reported, and the next good one is taken", async () => {
  const upstream = await startUpstream("good");
  const base = [cluster("a"), endpoints("a", upstream), listener()];
  const { server, port, registry } = await startServer(snapshot(1, ...base, routes(["/", "a"])));
  const envoy = await startNode(port);
  await runs(server, 1);
  const edge = await portOf(envoy);
  server.setSnapshot(snapshot(2, ...base, brokenRoutes));
  const nack = await waitFor(() => server.nodes()[0]?.lastNack, 10_000, "the refusal");
  expect(nack).toMatchObject({ resources: ["routes"], revision: 2, standing: true });
  expect(nack.message).toMatch(/missing \)|regex/);
  expect(server.nodes()[0]?.acknowledgedRevision).toBe(1);
  expect(await get(edge)).toBe("good");
  const refusals = async () => /chancery_xds_nacks_total\{type="route"\} (\d+)/.exec(await registry.metrics())?.[1];
  expect(await refusals()).toBe("1");

  // A cluster that Envoy takes out of a response that it refuses must go again when nobody wants it.
  const bad = cluster("bad", { transportSocketMatches: [{ name: "x" }, { name: "x" }] });
  server.setSnapshot(snapshot(3, ...base, cluster("ghost"), endpoints("ghost", upstream), bad, routes(["/", "a"])));
  await waitFor(() => server.nodes()[0]?.lastNack?.revision === 3, 10_000, "the refusal of a cluster");
  const has = async (name: string) => (await envoy.admin("/clusters")).includes(`${name}::`);
  await waitFor(() => has("ghost"), 10_000, "a cluster of a refused response");
  server.setSnapshot(snapshot(4, ...base, routes(["/", "a"])));
  await runs(server, 4);
  await waitFor(async () => !(await has("ghost")), 10_000, "the end of the ghost");
  expect(server.nodes()[0]?.lastNack).toMatchObject({ revision: 3, standing: false });
  expect(await refusals()).toBe("1");
  expect(await get(edge)).toBe("good");
});

test("a cluster goes after the route that used it, and no request fails on the way", async () => {
  const [one, two] = [await startUpstream("one"), await startUpstream("two")];
  const { server, port } = await startServer(
    snapshot(1, cluster("a"), endpoints("a", one), listener(), routes(["/", "a"])),
  );
  const envoy = await startNode(port);
  await runs(server, 1);
  const edge = await portOf(envoy);
  const answers: (readonly [status: number, text: string])[] = [];
  const ask = async () => {
    const answer = await http(`http://127.0.0.1:${edge}/`);
    answers.push([answer.status, answer.text()]);
    return answer.text();
  };
  await ask();
  server.setSnapshot(snapshot(2, cluster("b"), endpoints("b", two), listener(), routes(["/", "b"])));
  await waitFor(async () => (await ask()) === "two", 10_000, "the new route");
  await waitFor(
    async () => {
      await ask();
      return !(await envoy.admin("/clusters")).includes("a::");
    },
    10_000,
    "the end of the old cluster",
  );
  expect(answers.filter(([status]) => status !== 200)).toEqual([]);
});

test("after a restart of the server Envoy reconnects, keeps serving, and nothing needless is sent", async () => {
  const [one, two] = [await startUpstream("one"), await startUpstream("two")];
  const same = snapshot(1, cluster("a"), endpoints("a", one), listener(), routes(["/", "a"]));
  const before = await startServer(same);
  const envoy = await startNode(before.port);
  await runs(before.server, 1);
  const edge = await portOf(envoy);
  await before.server.close();
  expect(await get(edge)).toBe("one");
  const after = await startServer(same, before.port);
  await runs(after.server, 1);
  expect(await pushes(after.registry)).toEqual({});
  after.server.setSnapshot(snapshot(2, cluster("a"), endpoints("a", two), listener(), routes(["/", "a"])));
  await runs(after.server, 2);
  expect(await get(edge)).toBe("two");
  expect(await pushes(after.registry)).toEqual({ endpoint: 1 });
});

test("a certificate comes by SDS, and a changed file is served without a restart or a new listener", async () => {
  const root = await mkdtemp(join(tmpdir(), "chancery-sds-"));
  closeAtEnd({ close: () => rm(root, { recursive: true, force: true }) });
  const authority = createCertificateAuthority();
  const write = async (name: string) => {
    const { certificate, privateKey } = authority.issue([name]);
    await writeFile(join(root, "key.pem"), privateKey, { mode: 0o600 });
    await writeFile(join(root, "crt.pem"), certificate);
  };
  await write("first.example");
  const upstream = await startUpstream("secure");
  const { server, port, registry } = await startServer(
    snapshot(1, cluster("a"), endpoints("a", upstream), listener("edge-cert"), routes(["/", "a"])),
  );
  const source = await createSecretSource({
    root,
    references: [{ name: "edge-cert", type: "tls", certificateFile: "crt.pem", privateKeyFile: "key.pem" }],
    log: pino({ level: "silent" }),
    clock: systemClock,
    pollMs: 100,
    onChange: (secrets) => server.setSecrets(secrets),
  });
  closeAtEnd(source);
  const envoy = await startNode(port);
  await runs(server, 1);
  const edge = await portOf(envoy);
  const subject = () =>
    new Promise<string | undefined>((resolve, reject) => {
      const socket = connect({
        port: edge,
        host: "127.0.0.1",
        ca: authority.certificate,
        checkServerIdentity: () => undefined,
      });
      socket.once("secureConnect", () => {
        const name = socket.getPeerCertificate().subject.CN;
        socket.destroy();
        resolve(Array.isArray(name) ? name[0] : name);
      });
      socket.once("error", reject);
    });
  expect(await waitFor(subject, 10_000, "a TLS listener")).toBe("first.example");
  const before = await pushes(registry);
  await write("second.example");
  await waitFor(async () => (await subject()) === "second.example", 10_000, "the new certificate");
  expect((await pushes(registry)).listener).toBe(before.listener);
  expect(JSON.stringify(server.nodes()) + (await envoy.admin("/config_dump"))).not.toContain("PRIVATE KEY");
});

/** Responses sent so far, by type. */
async function pushes(registry: Registry): Promise<Record<string, number>> {
  const found = (await registry.metrics()).matchAll(/chancery_xds_pushes_total\{type="(\w+)"\} (\d+)/g);
  return Object.fromEntries([...found].map(([, kind, count]) => [kind ?? "", Number(count)]));
}
