import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { pino } from "pino";
import { describe, expect, test } from "vitest";
import { fromAds, pack, serviceDefinition, TYPE_URLS, typeUrl } from "../../envoy/index.ts";
import {
  Adapter,
  ChangeSchema,
  Control,
  NamedSchema,
  NodeSchema,
  StateSchema,
} from "../../protos/gen/adapter/control_pb.ts";
import { Cluster_DiscoveryType, ClusterSchema } from "../../protos/gen/envoy/config/cluster/v3/cluster_pb.ts";
import { NodeSchema as EnvoyNodeSchema } from "../../protos/gen/envoy/config/core/v3/base_pb.ts";
import { ClusterLoadAssignmentSchema } from "../../protos/gen/envoy/config/endpoint/v3/endpoint_pb.ts";
import { ListenerSchema } from "../../protos/gen/envoy/config/listener/v3/listener_pb.ts";
import { VirtualHostSchema } from "../../protos/gen/envoy/config/route/v3/route_components_pb.ts";
import { RouteConfigurationSchema } from "../../protos/gen/envoy/config/route/v3/route_pb.ts";
import { ClusterDiscoveryService } from "../../protos/gen/envoy/service/cluster/v3/cds_pb.ts";
import { AggregatedDiscoveryService } from "../../protos/gen/envoy/service/discovery/v3/ads_pb.ts";
import {
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
  DiscoveryRequestSchema,
  type DiscoveryResponse,
  ResourceSchema,
} from "../../protos/gen/envoy/service/discovery/v3/discovery_pb.ts";
import { EndpointDiscoveryService } from "../../protos/gen/envoy/service/endpoint/v3/eds_pb.ts";
import { ExtensionConfigDiscoveryService } from "../../protos/gen/envoy/service/extension/v3/config_discovery_pb.ts";
import { ListenerDiscoveryService } from "../../protos/gen/envoy/service/listener/v3/lds_pb.ts";
import { RouteDiscoveryService, VirtualHostDiscoveryService } from "../../protos/gen/envoy/service/route/v3/rds_pb.ts";
import { RuntimeDiscoveryService, RuntimeSchema } from "../../protos/gen/envoy/service/runtime/v3/rtds_pb.ts";
import { SecretDiscoveryService } from "../../protos/gen/envoy/service/secret/v3/sds_pb.ts";
import { closeAtEnd, waitFor } from "../support/index.ts";
import { startXdsAdapter } from "./adapter.ts";

const { cluster: CDS, endpoint: EDS, listener: LDS, route: RDS, secret: SDS, extensionConfig: ECDS } = TYPE_URLS;
const VHDS = typeUrl(VirtualHostSchema);
const RTDS = typeUrl(RuntimeSchema);
const NODE = "test-id";

/** Calls of the test API and streams of the target, over real connections. */
async function start() {
  const running = await startXdsAdapter({
    adapter: "127.0.0.1:0",
    target: "127.0.0.1:0",
    log: pino({ level: "silent" }),
  });
  closeAtEnd(running);
  const dial = (port: number) => closeAtEnd(new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure()));
  const api = dial(running.adapterPort);
  const call = <Request, Response>(method: grpc.MethodDefinition<Request, Response>, request: Request) =>
    new Promise<Response>((resolve, reject) => {
      api.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        (error, answer) => {
          if (error !== null || answer === undefined) reject(error);
          else resolve(answer);
        },
      );
    });
  const adapter = serviceDefinition(Adapter);
  const control = serviceDefinition(Control);
  return {
    dial: () => dial(running.targetPort),
    setState: (version: string, resources: MessageInitShape<typeof StateSchema>["resources"] = [], node = NODE) =>
      call(adapter.setState, create(StateSchema, { node, version, resources })),
    clearState: () => call(adapter.clearState, create(NodeSchema, { node: NODE })),
    update: (typeUrl: string, resourceName: string, version: string) =>
      call(adapter.updateResource, create(NamedSchema, { node: NODE, typeUrl, resourceName, version })),
    add: (typeUrl: string, resourceName: string, version: string) =>
      call(adapter.addResource, create(NamedSchema, { node: NODE, typeUrl, resourceName, version })),
    remove: (typeUrl: string, resourceName: string, version: string) =>
      call(adapter.removeResource, create(NamedSchema, { node: NODE, typeUrl, resourceName, version })),
    apply: (change: MessageInitShape<typeof ChangeSchema>) =>
      call(control.apply, create(ChangeSchema, { node: NODE, ...change })),
    restart: () => call(control.restart, create(NodeSchema, { node: NODE })),
    status: () => call(control.status, create(NodeSchema, { node: NODE })),
  };
}

type Running = Awaited<ReturnType<typeof start>>;

function open<Request, Response>(client: grpc.Client, method: grpc.MethodDefinition<Request, Response>) {
  const responses: Response[] = [];
  const state: { status: grpc.StatusObject | undefined } = { status: undefined };
  const call = client.makeBidiStreamRequest(method.path, method.requestSerialize, method.responseDeserialize);
  call.on("data", (response: Response) => responses.push(response));
  call.on("status", (status: grpc.StatusObject) => {
    state.status = status;
  });
  // The status says what there is to say.
  call.on("error", () => {});
  return {
    call,
    responses,
    next: () => waitFor(() => responses.shift(), 5_000, "a response"),
    ended: () => waitFor(() => state.status, 5_000, "the end of the stream"),
  };
}

const ads = serviceDefinition(AggregatedDiscoveryService);

function openDelta(running: Running, path = ads.deltaAggregatedResources.path, features: readonly string[] = []) {
  const stream = open(running.dial(), { ...ads.deltaAggregatedResources, path });
  let first = true;
  const send = (init: MessageInitShape<typeof DeltaDiscoveryRequestSchema>) => {
    const request = create(DeltaDiscoveryRequestSchema, init);
    if (first) request.node = create(EnvoyNodeSchema, { id: NODE, clientFeatures: [...features] });
    first = false;
    stream.call.write(request);
  };
  const ack = ({ typeUrl, nonce }: DeltaDiscoveryResponse) => send({ typeUrl, responseNonce: nonce });
  return {
    ...stream,
    send,
    ack,
    async take() {
      const response = await stream.next();
      ack(response);
      return response;
    },
  };
}

function openSotw(running: Running, path = ads.streamAggregatedResources.path, features: readonly string[] = []) {
  const stream = open(running.dial(), { ...ads.streamAggregatedResources, path });
  let first = true;
  const asked = new Map<string, string[]>();
  const send = (init: MessageInitShape<typeof DiscoveryRequestSchema>) => {
    if (init.typeUrl !== undefined) asked.set(init.typeUrl, [...(init.resourceNames ?? [])]);
    const request = create(DiscoveryRequestSchema, init);
    if (first) request.node = create(EnvoyNodeSchema, { id: NODE, clientFeatures: [...features] });
    first = false;
    stream.call.write(request);
  };
  const ack = ({ typeUrl, nonce, versionInfo }: DiscoveryResponse) =>
    send({ typeUrl, responseNonce: nonce, versionInfo, resourceNames: asked.get(typeUrl) ?? [] });
  return {
    ...stream,
    send,
    ack,
    async take() {
      const response = await stream.next();
      ack(response);
      return response;
    },
  };
}

const bare = {
  cluster: (name: string) => pack(ClusterSchema, { name }),
  listener: (name: string) => pack(ListenerSchema, { name }),
  endpoints: (clusterName: string) => pack(ClusterLoadAssignmentSchema, { clusterName }),
  route: (name: string) => pack(RouteConfigurationSchema, { name }),
};

const edsCluster = (name: string, altStatName = "") =>
  pack(ClusterSchema, {
    name,
    altStatName,
    clusterDiscoveryType: { case: "type", value: Cluster_DiscoveryType.EDS },
    edsClusterConfig: { edsConfig: fromAds() },
  });

const namesOf = (response: DeltaDiscoveryResponse) => response.resources.map(({ name }) => name).sort();

/** Answers come in order, so what follows the answer to this is not late. */
async function silent(stream: ReturnType<typeof openDelta>) {
  stream.send({ typeUrl: "type.googleapis.com/none.Marker" });
  expect((await stream.next()).typeUrl).toBe("type.googleapis.com/none.Marker");
}

describe("Adapter", () => {
  test("fills in bodies, and shows its versions word for word in both protocols", async () => {
    const running = await start();
    await running.setState("1", [bare.cluster("A"), bare.cluster("B"), bare.listener("A"), bare.endpoints("A")]);
    const sotw = openSotw(running);
    sotw.send({ typeUrl: CDS });
    const clusters = await sotw.take();
    expect(clusters.versionInfo).toBe("1");
    const bodies = clusters.resources.map(({ value }) => fromBinary(ClusterSchema, value));
    expect(bodies.map(({ name }) => name).sort()).toEqual(["A", "B"]);
    expect(bodies.every(({ clusterDiscoveryType }) => clusterDiscoveryType.case === "type")).toBe(true);
    const delta = openDelta(running);
    delta.send({ typeUrl: LDS });
    const listeners = await delta.take();
    expect([listeners.systemVersionInfo, namesOf(listeners)]).toEqual(["1", ["A"]]);

    await running.update(CDS, "A", "2");
    const updated = await sotw.take();
    expect(updated.versionInfo).toBe("2");
    expect(updated.resources).toHaveLength(2);
    expect(updated.nonce).not.toBe(clusters.nonce);
    await silent(delta);
  });

  test("what changes is sent though its version is the same word, and what does not change is not", async () => {
    const running = await start();
    await running.setState("1", [bare.endpoints("A"), bare.endpoints("B")]);
    const delta = openDelta(running);
    delta.send({ typeUrl: EDS, resourceNamesSubscribe: ["A", "B", "C"] });
    expect(namesOf(await delta.take())).toEqual(["A", "B"]);
    await running.setState("9", [bare.endpoints("A"), bare.endpoints("B")]);
    await running.update(EDS, "A", "1");
    const changed = await delta.take();
    expect([changed.systemVersionInfo, namesOf(changed)]).toEqual(["1", ["A"]]);
    await running.add(EDS, "C", "1");
    expect(namesOf(await delta.take())).toEqual(["C"]);
    await running.remove(EDS, "B", "1");
    expect((await delta.take()).removedResources).toEqual(["B"]);
    await silent(delta);
  });

  test("reconnecting with the word of another content is answered", async () => {
    const running = await start();
    await running.setState("1", [bare.cluster("A")]);
    const first = openSotw(running);
    first.send({ typeUrl: CDS });
    const before = await first.take();
    first.call.cancel();
    await running.update(CDS, "A", "1");
    const second = openSotw(running);
    second.send({ typeUrl: CDS, versionInfo: "1" });
    const after = await second.take();
    expect(after.versionInfo).toBe("1");
    expect(Buffer.from(after.resources[0]?.value ?? []).equals(Buffer.from(before.resources[0]?.value ?? []))).toBe(
      false,
    );
  });

  test("nodes are independent, and a cleared node has nothing", async () => {
    const running = await start();
    await running.setState("1", [bare.cluster("A")]);
    await running.setState("7", [bare.cluster("other")], "another");
    const delta = openDelta(running);
    delta.send({ typeUrl: CDS });
    expect(namesOf(await delta.take())).toEqual(["A"]);
    await running.clearState();
    expect((await delta.take()).removedResources).toEqual(["A"]);
  });

  test("naming what does not exist is an error", async () => {
    const running = await start();
    await expect(running.update(CDS, "ghost", "1")).rejects.toMatchObject({ code: grpc.status.NOT_FOUND });
    await expect(running.add("type.googleapis.com/acme.Unknown", "x", "1")).rejects.toMatchObject({
      code: grpc.status.INVALID_ARGUMENT,
    });
  });
});

describe("every service", () => {
  const services = [
    ["cluster", ClusterDiscoveryService, CDS],
    ["endpoint", EndpointDiscoveryService, EDS],
    ["listener", ListenerDiscoveryService, LDS],
    ["route", RouteDiscoveryService, RDS],
    ["virtual host", VirtualHostDiscoveryService, VHDS],
    ["secret", SecretDiscoveryService, SDS],
    ["runtime", RuntimeDiscoveryService, RTDS],
    ["extension config", ExtensionConfigDiscoveryService, ECDS],
  ] as const;

  for (const [what, service, url] of services) {
    test(`${what}: serves its type on streams of its own, without type_url too, and refuses others`, async () => {
      const running = await start();
      await running.add(url, "rc/A", "5");
      for (const { localName, methodKind, name, parent } of service.methods) {
        if (methodKind !== "bidi_streaming") continue;
        const path = `/${parent.typeName}/${name}`;
        if (localName.startsWith("delta")) {
          const stream = openDelta(running, path);
          stream.send({ resourceNamesSubscribe: ["rc/A"] });
          const response = await stream.take();
          expect([response.typeUrl, response.systemVersionInfo, namesOf(response)]).toEqual([url, "5", ["rc/A"]]);
          stream.send({ typeUrl: "type.googleapis.com/acme.Other" });
          expect((await stream.ended()).code).toBe(grpc.status.INVALID_ARGUMENT);
        } else {
          const stream = openSotw(running, path);
          stream.send({ typeUrl: url, resourceNames: ["rc/A"] });
          const response = await stream.take();
          expect([response.typeUrl, response.versionInfo, response.resources.length]).toEqual([url, "5", 1]);
          stream.send({ typeUrl: "type.googleapis.com/acme.Other" });
          expect((await stream.ended()).code).toBe(grpc.status.INVALID_ARGUMENT);
        }
      }
    });
  }
});

describe("Control", () => {
  test("applies a change of several types at once, in order, and pushes no type that did not change", async () => {
    const running = await start();
    const delta = openDelta(running);
    await running.apply({ version: "1", upsert: [{ resource: edsCluster("A") }, { resource: bare.endpoints("A") }] });
    delta.send({ typeUrl: CDS });
    delta.send({ typeUrl: EDS, resourceNamesSubscribe: ["A", "B"] });
    delta.send({ typeUrl: LDS });
    const first = [await delta.take(), await delta.take(), await delta.take()];
    expect(first.map(({ typeUrl }) => typeUrl)).toEqual([CDS, EDS, LDS]);
    await running.apply({
      version: "2",
      upsert: [{ resource: bare.endpoints("B") }, { resource: bare.listener("L") }, { resource: edsCluster("B") }],
      remove: [{ typeUrl: EDS, name: "ghost" }],
    });
    const second = [await delta.take(), await delta.take(), await delta.take()];
    expect(second.map((response) => [response.typeUrl, response.systemVersionInfo, namesOf(response)])).toEqual([
      [CDS, "2", ["B"]],
      [EDS, "2", ["B"]],
      [LDS, "2", ["L"]],
    ]);
    await running.apply({
      version: "3",
      replace: true,
      upsert: [
        { resource: edsCluster("A") },
        { resource: edsCluster("B") },
        { resource: bare.endpoints("A") },
        { resource: bare.endpoints("B") },
      ],
    });
    const third = await delta.take();
    expect([third.typeUrl, third.systemVersionInfo, third.removedResources]).toEqual([LDS, "3", ["L"]]);
    await silent(delta);
  });

  test("restart cuts every stream and serves the same at the same address, and a delta client needs nothing", async () => {
    const running = await start();
    await running.setState("1", [bare.cluster("A")]);
    const delta = openDelta(running);
    delta.send({ typeUrl: CDS });
    const held = await delta.take();
    await running.restart();
    await delta.ended();
    expect(await running.status()).toMatchObject({ streams: 0n, watches: 0n });
    const again = openDelta(running);
    const claims = Object.fromEntries(held.resources.map(({ name, version }) => [name, version]));
    again.send({ typeUrl: CDS, initialResourceVersions: claims });
    await silent(again);
    await running.update(CDS, "A", "2");
    expect(namesOf(await again.take())).toEqual(["A"]);
  });

  test("status counts streams, watches and refusals, and forgets what is over", async () => {
    const running = await start();
    await running.setState("1", [bare.cluster("A")]);
    const delta = openDelta(running);
    delta.send({ typeUrl: CDS });
    const response = await delta.next();
    delta.send({ typeUrl: CDS, responseNonce: response.nonce, errorDetail: { code: 13, message: "A is no good" } });
    await waitFor(async () => (await running.status()).nacks === 1n, 5_000, "the refusal");
    expect(await running.status()).toMatchObject({ streams: 1n, lastNack: "A is no good" });
    expect((await running.status()).watches).toBeGreaterThan(0n);
    delta.call.cancel();
    await waitFor(async () => (await running.status()).streams === 0n, 5_000, "the end of the stream");
    expect((await running.status()).watches).toBe(0n);
    await running.clearState();
    expect(await running.status()).toMatchObject({ nacks: 0n, lastNack: "" });
  });

  test("keeps resources with a lifetime alive by heartbeats, in both protocols, for clients that know them", async () => {
    const running = await start();
    const upsert = [{ resource: bare.endpoints("A"), ttlMs: 300n }];
    await running.apply({ version: "1", upsert });
    const features = ["xds.config.supports-resource-ttl", "xds.config.supports-resource-in-sotw"];
    const delta = openDelta(running, undefined, features);
    delta.send({ typeUrl: EDS, resourceNamesSubscribe: ["A"] });
    const [sent, beat] = [(await delta.take()).resources[0], (await delta.take()).resources[0]];
    expect(sent?.ttl?.nanos).toBe(300_000_000);
    expect(sent?.resource).toBeDefined();
    expect(beat).toMatchObject({ name: "A", version: sent?.version, ttl: { nanos: 300_000_000 } });
    expect(beat?.resource).toBeUndefined();
    const sotw = openSotw(running, undefined, features);
    sotw.send({ typeUrl: EDS, resourceNames: ["A"] });
    const wrapped = [await sotw.take(), await sotw.take()].map(({ versionInfo, resources }) => ({
      versionInfo,
      ...fromBinary(ResourceSchema, resources[0]?.value ?? new Uint8Array()),
    }));
    expect(wrapped.map(({ versionInfo, name, version }) => [versionInfo, name, version])).toEqual([
      ["1", "A", "1"],
      ["1", "A", "1"],
    ]);
    expect(wrapped.map(({ resource }) => resource === undefined)).toEqual([false, true]);
    const plain = openDelta(running);
    plain.send({ typeUrl: EDS, resourceNamesSubscribe: ["A"] });
    expect((await plain.take()).resources[0]?.ttl).toBeUndefined();
  });

  test("virtual hosts are found by domain, and those that do not exist are said not to", async () => {
    const running = await start();
    const host = toBinary(VirtualHostSchema, create(VirtualHostSchema, { name: "shop", domains: ["shop.example"] }));
    await running.apply({ upsert: [{ name: "rc/shop", resource: { typeUrl: VHDS, value: host } }] });
    const { path } = serviceDefinition(VirtualHostDiscoveryService).deltaVirtualHosts;
    const delta = openDelta(running, path);
    delta.send({ typeUrl: VHDS, resourceNamesSubscribe: ["rc/shop.example", "rc/ghost.example"] });
    const { resources } = await delta.take();
    expect(resources.map(({ name, aliases, resource }) => [name, aliases, resource !== undefined])).toEqual([
      ["rc/shop", ["rc/shop.example"], true],
      ["rc/ghost.example", ["rc/ghost.example"], false],
    ]);
  });
});
