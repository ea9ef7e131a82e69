import { spawn } from "node:child_process";
import { once } from "node:events";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { pino } from "pino";
import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { type EncodedResource, reducedGroupName } from "../compiler/index.ts";
import { fixedCertificate, REQUIRED_EXTENSIONS, serviceDefinition, TYPE_URLS } from "../envoy/index.ts";
import { ClientResourceStatus } from "../protos/gen/envoy/admin/v3/config_dump_shared_pb.ts";
import { AggregatedDiscoveryService } from "../protos/gen/envoy/service/discovery/v3/ads_pb.ts";
import {
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
  type DiscoveryRequest,
  DiscoveryRequestSchema,
  type DiscoveryResponse,
} from "../protos/gen/envoy/service/discovery/v3/discovery_pb.ts";
import {
  ClientStatusDiscoveryService,
  ClientStatusRequestSchema,
  type ClientStatusResponse,
} from "../protos/gen/envoy/service/status/v3/csds_pb.ts";
import { closeAtEnd, createCertificateAuthority, temporaryDirectory, waitFor } from "../test/support/index.ts";
import { createXdsServer, type XdsServer, type XdsServerOptions } from "./server.ts";
import { cluster, endpoints, listener, route, secret } from "./session-driver.ts";
import type { GroupSnapshot } from "./snapshot.ts";
import type { XdsEvent } from "./stream.ts";

const { cluster: CDS, endpoint: EDS, listener: LDS, secret: SDS } = TYPE_URLS;
const ads = serviceDefinition(AggregatedDiscoveryService);
const extensions = REQUIRED_EXTENSIONS.map((name) => ({ name }));
const node = (id: string, group = "g") => ({ id, cluster: group, extensions });

function snapshot(revision: number, resources: readonly EncodedResource[], group = "g"): GroupSnapshot {
  const types = new Map<string, Map<string, EncodedResource>>();
  for (const resource of resources) {
    const type = types.get(resource.typeUrl) ?? new Map<string, EncodedResource>();
    types.set(resource.typeUrl, type.set(resource.name, resource));
  }
  return { group, revision, layout: `layout-${revision}`, resources: types };
}

interface Running {
  readonly server: XdsServer;
  readonly port: number;
  readonly events: XdsEvent[];
  readonly registry: Registry;
  readonly logged: string[];
}

async function start(options: Partial<XdsServerOptions> = {}): Promise<Running> {
  const events: XdsEvent[] = [];
  const logged: string[] = [];
  const registry = new Registry();
  const log = pino({ level: "debug" }, { write: (line: string) => void logged.push(line) });
  const server = createXdsServer({ log, registry, onEvent: (event) => void events.push(event), ...options });
  closeAtEnd(server);
  const port = await server.listen("127.0.0.1:0");
  return { server, port, events, registry, logged };
}

/** One stream; responses are kept until a test takes them. */
class Stream<Request, Response> {
  readonly responses: Response[] = [];
  status: grpc.StatusObject | undefined;
  readonly call: grpc.ClientDuplexStream<Request, Response>;

  constructor(client: grpc.Client, method: grpc.MethodDefinition<Request, Response>) {
    this.call = client.makeBidiStreamRequest(method.path, method.requestSerialize, method.responseDeserialize);
    this.call.on("data", (response: Response) => this.responses.push(response));
    this.call.on("status", (status: grpc.StatusObject) => {
      this.status = status;
    });
    // The status says what there is to say.
    this.call.on("error", () => {});
  }

  next(): Promise<Response> {
    return waitFor(() => this.responses.shift(), 5_000, "a response");
  }

  ended(): Promise<grpc.StatusObject> {
    return waitFor(() => this.status, 5_000, "the end of the stream");
  }
}

const bytesOf = (value: Uint8Array | undefined) => Buffer.from(value ?? []).toString("hex");

function connect(port: number, credentials = grpc.credentials.createInsecure()): grpc.Client {
  const client = new grpc.Client(`127.0.0.1:${port}`, credentials);
  closeAtEnd(client);
  return client;
}

function openDelta(port: number) {
  const stream = new Stream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>(connect(port), ads.deltaAggregatedResources);
  return Object.assign(stream, {
    send: (init: Parameters<typeof create<typeof DeltaDiscoveryRequestSchema>>[1]) =>
      stream.call.write(create(DeltaDiscoveryRequestSchema, init)),
    ack: ({ typeUrl, nonce: responseNonce }: DeltaDiscoveryResponse) =>
      stream.call.write(create(DeltaDiscoveryRequestSchema, { typeUrl, responseNonce })),
  });
}

function openSotw(port: number) {
  const stream = new Stream<DiscoveryRequest, DiscoveryResponse>(connect(port), ads.streamAggregatedResources);
  return Object.assign(stream, {
    send: (init: Parameters<typeof create<typeof DiscoveryRequestSchema>>[1]) =>
      stream.call.write(create(DiscoveryRequestSchema, init)),
  });
}

test("serves delta and state of the world with the same bytes and versions", async () => {
  const { server, port } = await start();
  const resource = cluster("a");
  server.setSnapshot(snapshot(1, [resource]));
  const delta = openDelta(port);
  delta.send({ node: node("d"), typeUrl: CDS });
  const first = await delta.next();
  expect(first.resources.map(({ name, version }) => [name, version])).toEqual([["a", resource.version]]);
  expect(bytesOf(first.resources[0]?.resource?.value)).toBe(bytesOf(resource.value));
  const sotw = openSotw(port);
  sotw.send({ node: node("s"), typeUrl: CDS });
  const second = await sotw.next();
  expect(second.resources.map(({ typeUrl, value }) => [typeUrl, bytesOf(value)])).toEqual([
    [CDS, bytesOf(resource.value)],
  ]);
  expect(second.versionInfo).toBe(first.systemVersionInfo);
  expect(second.nonce).not.toBe(first.nonce);
});

test("each group gets its own resources, and a change of one group is not sent to another", async () => {
  const { server, port } = await start();
  server.setSnapshot(snapshot(1, [cluster("a")], "one"));
  server.setSnapshot(snapshot(1, [cluster("b")], "two"));
  const [one, two] = [openDelta(port), openDelta(port)];
  one.send({ node: node("1", "one"), typeUrl: CDS });
  two.send({ node: node("2", "two"), typeUrl: CDS });
  expect((await one.next()).resources[0]?.name).toBe("a");
  expect((await two.next()).resources[0]?.name).toBe("b");
  server.setSnapshot(snapshot(2, [cluster("a", "2")], "one"));
  expect((await one.next()).resources[0]?.name).toBe("a");
  server.setSnapshot(snapshot(2, [cluster("c")], "two"));
  expect((await two.next()).resources[0]?.name).toBe("c");
  expect([one.responses, two.responses]).toEqual([[], []]);
});

test("reports what a node runs, what it refused, and keeps it after the node is gone", async () => {
  const { server, port, events, registry } = await start();
  const stream = openDelta(port);
  server.setSnapshot(snapshot(7, [cluster("a"), endpoints("a")]));
  stream.send({ node: node("n"), typeUrl: CDS });
  stream.ack(await stream.next());
  await waitFor(() => server.nodes()[0]?.acknowledgedRevision === 7, 5_000, "the acknowledgement");
  expect(server.nodes()).toMatchObject([
    {
      id: "n",
      group: "g",
      knownGroup: true,
      plan: "full",
      connected: true,
      acknowledgedRevision: 7,
      acknowledgedLayout: "layout-7",
      types: [{ typeUrl: CDS, resources: 1 }],
    },
  ]);
  server.setSnapshot(snapshot(8, [cluster("a"), cluster("bad"), endpoints("a")]));
  const { nonce: responseNonce } = await stream.next();
  stream.send({ typeUrl: CDS, responseNonce, errorDetail: { code: 13, message: "cluster bad: no" } });
  await waitFor(() => server.nodes()[0]?.lastNack, 5_000, "the refusal");
  expect(server.nodes()[0]).toMatchObject({
    acknowledgedRevision: 7,
    lastNack: { typeUrl: CDS, resources: ["bad"], message: "cluster bad: no", revision: 8, standing: true },
  });
  expect(events.map(({ kind }) => kind)).toEqual(["connected", "acknowledged", "rejected", "held-back"]);
  const metrics = await registry.metrics();
  expect(metrics).toContain("chancery_xds_connected_nodes 1");
  expect(metrics).toContain('chancery_xds_nacks_total{type="cluster"} 1');
  expect(metrics).toContain('chancery_xds_pushes_total{type="cluster"} 2');
  expect(metrics).toMatch(/chancery_xds_push_bytes_total\{type="cluster"\} [1-9]/);
  // Nothing need come of a node that is connected for it to be there.
  const lastSeen = (): string => server.nodes()[0]?.lastSeen ?? "";
  const seen = lastSeen();
  await waitFor(() => lastSeen() > seen, 5_000, "a later time");
  stream.call.cancel();
  await waitFor(() => server.nodes()[0]?.connected === false, 5_000, "the end of the stream");
  const gone = lastSeen();
  await waitFor(() => new Date().toISOString() > gone, 5_000, "the next millisecond");
  expect(lastSeen()).toBe(gone);
  expect(server.nodes()[0]?.lastNack?.resources).toEqual(["bad"]);
  expect(await registry.metrics()).toContain("chancery_xds_connected_nodes 0");
});

test("measures from the publishing of a change to its acknowledgement", async () => {
  const { server, port, registry } = await start();
  server.setSnapshot(snapshot(1, [cluster("a")]));
  const stream = openDelta(port);
  stream.send({ node: node("n"), typeUrl: CDS });
  stream.ack(await stream.next());
  server.setSnapshot(snapshot(2, [cluster("a", "2")]));
  stream.ack(await stream.next());
  await waitFor(() => server.nodes()[0]?.acknowledgedRevision === 2, 5_000, "the acknowledgement");
  expect(await registry.metrics()).toContain('chancery_xds_convergence_seconds_count{type="cluster"} 1');
});

test("a node that lacks a floor gets no resources, and its missing extensions are reported", async () => {
  const { server, port } = await start();
  server.setSnapshot(snapshot(1, [cluster("a")]));
  const old = openDelta(port);
  const some = extensions.filter(({ name }) => !name.includes("upstream_rbac"));
  old.send({ node: { id: "old", cluster: "g", extensions: some }, typeUrl: CDS });
  const unlisted = openDelta(port);
  unlisted.send({ node: { id: "unlisted", cluster: "g" }, typeUrl: CDS });
  expect((await old.next()).resources).toEqual([]);
  expect((await unlisted.next()).resources).toEqual([]);
  server.setSnapshot(snapshot(2, [cluster("b")]));
  const states = server.nodes().sort((a, b) => a.id.localeCompare(b.id));
  expect(states).toMatchObject([
    { id: "old", plan: "none", missingExtensions: ["envoy.filters.http.upstream_rbac"] },
    { id: "unlisted", plan: "none", missingExtensions: REQUIRED_EXTENSIONS },
  ]);
  expect(states.map((state) => state.acknowledgedRevision)).toEqual([undefined, undefined]);
  expect([...old.responses, ...unlisted.responses]).toEqual([]);
});

test("a node that cannot go from pool to pool gets the reduced plan of its gateway, or is told why not", async () => {
  const { server, port } = await start();
  const reduced = reducedGroupName("g");
  server.setSnapshot(snapshot(1, [cluster("a")]));
  server.setSnapshot({ ...snapshot(1, [cluster("r")]), group: reduced, layout: "reduced-1" });
  const stream = openDelta(port);
  const some = extensions.filter(({ name }) => !name.includes("priority_group"));
  stream.send({ node: { id: "n", cluster: "g", extensions: some }, typeUrl: CDS });
  const first = await stream.next();
  expect(first.resources.map(({ name }) => name)).toEqual(["r"]);
  stream.ack(first);
  await waitFor(() => server.nodes()[0]?.acknowledgedRevision === 1, 5_000, "the acknowledgement");
  const missingExtensions = ["envoy.router.cluster_specifier_plugin.priority_group"];
  expect(server.nodes()).toMatchObject([
    { id: "n", group: "g", plan: "reduced", missingExtensions, acknowledgedLayout: "reduced-1" },
  ]);
  expect(server.nodeDetails("n", "r")[0]?.resources).toMatchObject([{ standing: "in-force" }]);
  expect(server.nodeDetails("n", "a")[0]?.resources).toMatchObject([{ standing: "not-in-its-group" }]);

  // Its routes became too many.
  const withheld = "the table is too long";
  server.setSnapshot({ ...snapshot(2, [cluster("open")]), group: reduced, layout: "", withheld });
  const second = await stream.next();
  expect(second.resources.map(({ name }) => name)).toEqual(["open"]);
  stream.ack(second);
  await waitFor(() => server.nodeDetails("n", "open")[0]?.resources[0]?.standing === "in-force", 5_000, "what is open");
  expect(server.nodes()).toMatchObject([{ plan: "none", withheld, acknowledgedRevision: 1 }]);
  const [detail] = server.nodeDetails("n", "a");
  expect(detail).toMatchObject({ plan: "none", resources: [{ standing: "table-too-long" }] });
  expect(detail?.resources[0]?.text).toContain(withheld);
});

test("a node that lacks a floor gets what is there for such nodes, as it changes, and nothing of its gateway", async () => {
  const { server, port } = await start();
  server.setSnapshot(snapshot(1, [cluster("a")]));
  const stream = openDelta(port);
  stream.send({ node: { id: "n", cluster: "g" }, typeUrl: CDS });
  const first = await stream.next();
  expect(first.resources).toEqual([]);
  stream.ack(first);
  server.setSnapshot(snapshot(2, [cluster("open")], "g#ungoverned"));
  const second = await stream.next();
  expect(second.resources.map(({ name }) => name)).toEqual(["open"]);
  stream.ack(second);
  await waitFor(
    () => server.nodeDetails("n").some(({ resources }) => resources.some(({ standing }) => standing === "in-force")),
    5_000,
    "the acknowledgement",
  );
  expect(server.nodeDetails("n")[0]?.resources.map(({ name, standing }) => `${name} ${standing}`)).toEqual([
    "open in-force",
    "a lacks-extensions",
  ]);
  expect(server.nodes()).toMatchObject([{ id: "n", group: "g", plan: "none", knownGroup: true }]);
  server.removeGroup("g#ungoverned");
  expect((await stream.next()).removedResources).toEqual(["open"]);
});

test("a setting trusts clients that list no extensions at all", async () => {
  const { server, port } = await start({ settings: { trustUnlistedNodes: true } });
  server.setSnapshot(snapshot(1, [cluster("a")]));
  const stream = openDelta(port);
  stream.send({ node: { id: "n", cluster: "g" }, typeUrl: CDS });
  expect((await stream.next()).resources).toHaveLength(1);
});

test("a node of an unknown group is answered empty, reported, and served when its group comes", async () => {
  const { server, port } = await start();
  const stream = openDelta(port);
  stream.send({ node: node("n", "later"), typeUrl: CDS });
  expect((await stream.next()).resources).toEqual([]);
  expect(server.nodes()).toMatchObject([{ id: "n", group: "later", knownGroup: false }]);
  server.setSnapshot(snapshot(1, [cluster("a")], "later"));
  expect((await stream.next()).resources.map(({ name }) => name)).toEqual(["a"]);
  server.removeGroup("later");
  expect((await stream.next()).removedResources).toEqual(["a"]);
});

test("a first request without a node and one without a type end the stream with INVALID_ARGUMENT", async () => {
  const { port } = await start();
  const nameless = openSotw(port);
  nameless.send({ typeUrl: CDS });
  expect((await nameless.ended()).code).toBe(grpc.status.INVALID_ARGUMENT);
  const typeless = openDelta(port);
  typeless.send({ node: node("n") });
  const status = await typeless.ended();
  expect(status.code).toBe(grpc.status.INVALID_ARGUMENT);
  expect(status.details).toContain("type_url");
});

test("an unknown type is answered empty and disturbs nothing", async () => {
  const { server, port } = await start();
  server.setSnapshot(snapshot(1, [cluster("a")]));
  const stream = openDelta(port);
  stream.send({ node: node("n"), typeUrl: "type.googleapis.com/acme.Unknown" });
  expect((await stream.next()).resources).toEqual([]);
  stream.send({ typeUrl: CDS });
  expect((await stream.next()).resources).toHaveLength(1);
});

test("a secret goes only to a group that refers to it, its absence is said, and its version is shown to nobody", async () => {
  const { server, port, logged } = await start();
  server.setSnapshot(snapshot(1, [cluster("a", "1", ["key"])], "one"));
  server.setSnapshot(snapshot(1, [cluster("b")], "two"));
  const [one, two] = [openDelta(port), openDelta(port)];
  one.send({ node: node("1", "one"), typeUrl: SDS, resourceNamesSubscribe: ["key"] });
  two.send({ node: node("2", "two"), typeUrl: SDS, resourceNamesSubscribe: ["key"] });
  expect((await one.next()).removedResources).toEqual(["key"]);
  expect((await two.next()).removedResources).toEqual(["key"]);
  const material = secret("key", "sesame-sesame");
  server.setSecrets(new Map([["key", material]]));
  const given = await one.next();
  expect(given.resources.map(({ name }) => name)).toEqual(["key"]);
  one.ack(given);
  server.setSecrets(new Map([["key", secret("key", "other")]]));
  expect((await one.next()).resources).toHaveLength(1);
  expect(two.responses).toEqual([]);
  const told = JSON.stringify(server.nodes()) + logged.join("");
  expect(told).not.toContain("sesame");
  expect(told).not.toContain(material.version);
});

test("a client that does not read delays nobody and costs one response of each type", async () => {
  const { server, port, registry } = await start();
  const rounds = 60;
  const big = (round: number) => [cluster("a", `${round} ${"x".repeat(400_000)}`)];
  server.setSnapshot(snapshot(1, big(1)));
  const [slow, quick] = [openDelta(port), openDelta(port)];
  slow.send({ node: node("slow"), typeUrl: CDS });
  slow.ack(await slow.next());
  slow.call.pause();
  quick.send({ node: node("quick"), typeUrl: CDS });
  quick.ack(await quick.next());
  for (let round = 2; round <= rounds; round++) {
    server.setSnapshot(snapshot(round, big(round)));
    quick.ack(await quick.next());
  }
  const [pushed] = /chancery_xds_pushes_total\{type="cluster"\} (\d+)/.exec(await registry.metrics())?.slice(1) ?? [];
  // Every change for the quick one; for the slow one as many as its own side buffers before it pushes back.
  expect(Number(pushed)).toBeLessThan(rounds + rounds / 2);
  slow.call.resume();
  const newest = big(rounds)[0]?.version;
  await waitFor(
    () => {
      const response = slow.responses.shift();
      if (response !== undefined) slow.ack(response);
      return response?.resources[0]?.version === newest;
    },
    10_000,
    "the newest state",
  );
  await waitFor(
    () => server.nodes().every((state) => state.acknowledgedRevision === rounds),
    5_000,
    "acknowledgements",
  );
});

test("a client that takes messages of 4 MiB is given more than that in parts; state of the world is counted", async () => {
  const { server, port, registry } = await start();
  const many = Array.from({ length: 12 }, (_, index) => cluster(`c${index}`, "x".repeat(500_000)));
  server.setSnapshot(snapshot(1, many));
  const oversized = async () => /oversized_pushes_total\{type="cluster"\} (\d+)/.exec(await registry.metrics())?.[1];
  const delta = openDelta(port);
  delta.send({ node: node("d"), typeUrl: CDS });
  const names = new Set<string>();
  while (names.size < many.length) {
    const part = await delta.next();
    for (const { name } of part.resources) names.add(name);
    delta.ack(part);
  }
  await waitFor(() => server.nodes()[0]?.acknowledgedRevision === 1, 5_000, "the acknowledgement of all parts");
  expect(await oversized()).toBeUndefined();
  const sotw = openSotw(port);
  sotw.send({ node: node("s"), typeUrl: CDS });
  expect((await sotw.ended()).code).toBe(grpc.status.RESOURCE_EXHAUSTED);
  expect(await oversized()).toBe("1");
});

test("line 49: streams that are dropped in the middle leave nothing behind", async () => {
  const { server, port, registry } = await start({ settings: { maxNodes: 10 } });
  server.setSnapshot(snapshot(1, [cluster("a")]));
  for (let round = 0; round < 30; round++) {
    const stream = round % 2 === 0 ? openDelta(port) : openSotw(port);
    stream.send({ node: node(`n${round}`), typeUrl: CDS });
    await stream.next();
    stream.call.cancel();
    server.setSnapshot(snapshot(2 + round, [cluster("a", String(round))]));
  }
  await waitFor(async () => (await registry.metrics()).includes("chancery_xds_connected_nodes 0"), 5_000, "no nodes");
  expect(server.nodes()).toHaveLength(10);
  expect(server.nodes().at(-1)?.id).toBe("n29");
});

test("a stream ends at its age, and the node that returns is sent nothing that it has", async () => {
  const { server, port } = await start({ settings: { maxStreamAgeMs: 300 }, random: () => 0.5 });
  server.setSnapshot(snapshot(1, [cluster("a")]));
  const stream = openDelta(port);
  stream.send({ node: node("n"), typeUrl: CDS });
  const { resources } = await stream.next();
  expect((await stream.ended()).code).toBe(grpc.status.OK);
  const again = openDelta(port);
  const initialResourceVersions = Object.fromEntries(resources.map(({ name, version }) => [name, version]));
  again.send({ node: node("n"), typeUrl: CDS, initialResourceVersions });
  expect((await again.ended()).code).toBe(grpc.status.OK);
  expect(again.responses).toEqual([]);
});

test("more streams than allowed are refused", async () => {
  const { server, port } = await start({ settings: { maxStreams: 1 } });
  server.setSnapshot(snapshot(1, [cluster("a")]));
  const first = openDelta(port);
  first.send({ node: node("1"), typeUrl: CDS });
  await first.next();
  const second = openDelta(port);
  second.send({ node: node("2"), typeUrl: CDS });
  expect((await second.ended()).code).toBe(grpc.status.UNAVAILABLE);
});

test("names are bounded over all streams of a node, and counted for none that has ended", async () => {
  const { server, port } = await start({ settings: { maxNodeNames: 3 } });
  server.setSnapshot(snapshot(1, [endpoints("a"), endpoints("b")]));
  const open = async (id: string, ...names: string[]) => {
    const stream = openDelta(port);
    stream.send({ node: node(id), typeUrl: EDS, resourceNamesSubscribe: names });
    return stream;
  };
  const first = await open("1", "a", "b");
  await first.next();
  const second = await open("1", "a", "b");
  expect(await second.ended()).toMatchObject({
    code: grpc.status.RESOURCE_EXHAUSTED,
    details: "all streams of a node together may name 3 resources at most",
  });
  await (await open("2", "a", "b")).next();
  first.call.end();
  await first.ended();
  await (await open("1", "a", "b")).next();
});

test("many streams at once are let in in the order in which they came, and all are served", async () => {
  const { server, port, events } = await start();
  server.setSnapshot(snapshot(1, [cluster("a")]));
  const client = connect(port);
  const ids = Array.from({ length: 200 }, (_, index) => `n${index}`);
  const streams = ids.map((id) => {
    const stream = new Stream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>(client, ads.deltaAggregatedResources);
    stream.call.write(create(DeltaDiscoveryRequestSchema, { node: node(id), typeUrl: CDS }));
    return stream;
  });
  for (const stream of streams) expect((await stream.next()).resources).toHaveLength(1);
  const connected = events.flatMap((event) => (event.kind === "connected" ? [event.node.id] : []));
  expect(connected).toEqual(ids);
});

test("a stream that makes too many requests is read slowly, and all of them are taken in the end", async () => {
  const { server, port } = await start({ settings: { requestsPerSecond: 200, requestBurst: 2 } });
  server.setSnapshot(
    snapshot(
      1,
      Array.from({ length: 40 }, (_, index) => cluster(`c${index}`)),
    ),
  );
  const stream = openDelta(port);
  const wanted = Array.from({ length: 40 }, (_, index) => `c${index}`);
  for (const [index, name] of wanted.entries()) {
    const first = index === 0 ? { node: node("1") } : {};
    stream.send({ ...first, typeUrl: CDS, resourceNamesSubscribe: [name] });
  }
  const got = new Set<string>();
  while (got.size < wanted.length) for (const { name } of (await stream.next()).resources) got.add(name);
  expect([...got]).toEqual(wanted);
});

test("a request larger than allowed ends its stream only", async () => {
  const { server, port } = await start({ settings: { maxMessageBytes: 10_000 } });
  server.setSnapshot(snapshot(1, [cluster("a")]));
  const stream = openDelta(port);
  stream.send({ node: node("n"), typeUrl: CDS, resourceNamesSubscribe: ["x".repeat(20_000)] });
  expect((await stream.ended()).code).toBe(grpc.status.RESOURCE_EXHAUSTED);
  const other = openDelta(port);
  other.send({ node: node("n"), typeUrl: CDS });
  expect((await other.next()).resources).toHaveLength(1);
});

test("a restart of the server sends nothing to a client that holds everything", async () => {
  const resources = [cluster("a"), endpoints("a"), listener("l"), route("r")];
  const before = await start();
  before.server.setSnapshot(snapshot(1, resources));
  const stream = openDelta(before.port);
  stream.send({ node: node("n"), typeUrl: CDS });
  await stream.next();
  await before.server.close();
  expect((await stream.ended()).code).toBe(grpc.status.OK);
  const after = await start();
  after.server.setSnapshot(snapshot(1, resources));
  const again = openDelta(after.port);
  const claim = (typeUrl: string, names: string[]) =>
    again.send({
      node: node("n"),
      typeUrl,
      resourceNamesSubscribe: names,
      initialResourceVersions: Object.fromEntries(
        resources.filter((one) => one.typeUrl === typeUrl).map(({ name, version }) => [name, version]),
      ),
    });
  claim(CDS, []);
  claim(EDS, ["a"]);
  claim(LDS, []);
  claim(TYPE_URLS.route, ["r"]);
  await waitFor(() => after.server.nodes()[0]?.acknowledgedRevision === 1, 5_000, "the acknowledgement");
  expect(again.responses).toEqual([]);
});

test("CSDS tells what nodes hold, lack and refused, without contents and without versions of secrets", async () => {
  const { server, port } = await start();
  server.setSnapshot(snapshot(1, [cluster("a", "1", ["key"]), endpoints("a")]));
  server.setSecrets(new Map([["key", secret("key", "sesame")]]));
  const stream = openDelta(port);
  stream.send({ node: node("n"), typeUrl: CDS });
  stream.ack(await stream.next());
  stream.send({ typeUrl: SDS, resourceNamesSubscribe: ["key"] });
  stream.ack(await stream.next());
  stream.send({ typeUrl: EDS, resourceNamesSubscribe: ["a", "ghost"] });
  const { nonce: responseNonce } = await stream.next();
  stream.send({ typeUrl: EDS, responseNonce, errorDetail: { code: 13, message: "a is no good" } });
  await waitFor(() => server.nodes()[0]?.lastNack, 5_000, "the refusal");
  const { fetchClientStatus: fetch } = serviceDefinition(ClientStatusDiscoveryService);
  const ask = (exact: string) =>
    new Promise<ClientStatusResponse>((resolve, reject) => {
      const nodeMatchers = [{ nodeId: { matchPattern: { case: "exact" as const, value: exact } } }];
      const request = create(ClientStatusRequestSchema, { nodeMatchers });
      connect(port).makeUnaryRequest(
        fetch.path,
        fetch.requestSerialize,
        fetch.responseDeserialize,
        request,
        (error, answer) => (answer === undefined ? reject(error) : resolve(answer)),
      );
    });
  const { config } = await ask("n");
  expect(config[0]?.node?.id).toBe("n");
  const rows = config[0]?.genericXdsConfigs.map(({ name, versionInfo, clientStatus, errorState, xdsConfig }) => [
    name,
    versionInfo,
    clientStatus,
    errorState?.details,
    xdsConfig,
  ]);
  expect(rows).toEqual([
    ["a", cluster("a", "1", ["key"]).version, ClientResourceStatus.ACKED, undefined, undefined],
    ["key", "", ClientResourceStatus.ACKED, undefined, undefined],
    ["a", "", ClientResourceStatus.NACKED, "a is no good", undefined],
    ["ghost", "", ClientResourceStatus.NACKED, "a is no good", undefined],
  ]);
  expect((await ask("other")).config).toEqual([]);
});

test("a Unix socket, over which private keys go, is for its owner and group alone", async () => {
  const directory = await temporaryDirectory("xds");
  const { server } = await start();
  const path = join(directory, "xds.sock");
  expect(await server.listen(`unix:${path}`)).toBe(0);
  expect((await stat(path)).mode & 0o777).toBe(0o660);
  const { server: other } = await start();
  await expect(other.listen(`unix:${path}`)).rejects.toMatchObject({ code: "unavailable" });
});

test("a Unix socket that a killed process left behind is taken over", async () => {
  const directory = await temporaryDirectory("xds");
  const path = join(directory, "xds.sock");
  const listening = `require("net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
  await once(spawn(process.execPath, ["-e", listening]), "exit");
  expect((await stat(path)).isSocket()).toBe(true);
  const { server } = await start();
  expect(await server.listen(`unix:${path}`)).toBe(0);
});

test("off loopback it refuses to listen without TLS", async () => {
  const { server } = await start();
  for (const address of ["0.0.0.0:0", "[::]:0", "192.0.2.1:18000", "example.com:1"]) {
    await expect(server.listen(address)).rejects.toMatchObject({ code: "invalid-argument" });
  }
});

test("an address that somebody else listens on is named", async () => {
  const { port } = await start();
  const other = createXdsServer({ log: pino({ level: "silent" }), registry: new Registry() });
  closeAtEnd(other);
  const address = `127.0.0.1:${port}`;
  await expect(other.listen(address)).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringContaining(address),
  });
});

test("with TLS only clients with a certificate of the client CA get in", async () => {
  const authority = createCertificateAuthority();
  const own = authority.issue(["localhost"]);
  const server = createXdsServer({
    log: pino({ level: "silent" }),
    settings: { mustBindNodes: false },
    tls: fixedCertificate({
      certificate: Buffer.from(own.certificate),
      privateKey: Buffer.from(own.privateKey),
      clientCa: Buffer.from(authority.certificate),
    }),
  });
  closeAtEnd(server);
  server.setSnapshot(snapshot(1, [cluster("a")]));
  const port = await server.listen("0.0.0.0:0");
  const root = Buffer.from(authority.certificate);
  const dial = (credentials: grpc.ChannelCredentials) => {
    const client = new grpc.Client(`localhost:${port}`, credentials);
    closeAtEnd(client);
    const stream = new Stream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>(client, ads.deltaAggregatedResources);
    stream.call.write(create(DeltaDiscoveryRequestSchema, { node: node("n"), typeUrl: CDS }));
    return stream;
  };
  const { certificate, privateKey } = authority.issue(["spiffe://acme/envoy/1"]);
  const known = dial(grpc.credentials.createSsl(root, Buffer.from(privateKey), Buffer.from(certificate)));
  expect((await known.next()).resources).toHaveLength(1);
  const bound = authority.issue(["spiffe://acme/gateway/other"]);
  const foreign = dial(grpc.credentials.createSsl(root, Buffer.from(bound.privateKey), Buffer.from(bound.certificate)));
  expect(await foreign.ended()).toMatchObject({
    code: grpc.status.PERMISSION_DENIED,
    details: expect.stringContaining('gateway "other"'),
  });
  const precise = authority.issue(["spiffe://acme/node/n/gateway/g"]);
  const right = dial(
    grpc.credentials.createSsl(root, Buffer.from(precise.privateKey), Buffer.from(precise.certificate)),
  );
  expect((await right.next()).resources).toHaveLength(1);
  const unknown = dial(grpc.credentials.createSsl(root));
  expect((await unknown.ended()).code).toBe(grpc.status.UNAVAILABLE);
});
