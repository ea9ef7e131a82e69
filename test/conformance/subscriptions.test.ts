import { create } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { pack, serviceDefinition, TYPE_URLS } from "../../envoy/index.ts";
import { Adapter, NamedSchema, NodeSchema, StateSchema } from "../../protos/gen/adapter/control_pb.ts";
import { ClusterSchema } from "../../protos/gen/envoy/config/cluster/v3/cluster_pb.ts";
import { NodeSchema as EnvoyNodeSchema } from "../../protos/gen/envoy/config/core/v3/base_pb.ts";
import { ClusterLoadAssignmentSchema } from "../../protos/gen/envoy/config/endpoint/v3/endpoint_pb.ts";
import { ListenerSchema } from "../../protos/gen/envoy/config/listener/v3/listener_pb.ts";
import { RouteConfigurationSchema } from "../../protos/gen/envoy/config/route/v3/route_pb.ts";
import { ClusterDiscoveryService } from "../../protos/gen/envoy/service/cluster/v3/cds_pb.ts";
import { AggregatedDiscoveryService } from "../../protos/gen/envoy/service/discovery/v3/ads_pb.ts";
import {
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
  type DiscoveryRequest,
  DiscoveryRequestSchema,
  type DiscoveryResponse,
} from "../../protos/gen/envoy/service/discovery/v3/discovery_pb.ts";
import { EndpointDiscoveryService } from "../../protos/gen/envoy/service/endpoint/v3/eds_pb.ts";
import { ListenerDiscoveryService } from "../../protos/gen/envoy/service/listener/v3/lds_pb.ts";
import { RouteDiscoveryService } from "../../protos/gen/envoy/service/route/v3/rds_pb.ts";
import { waitFor } from "../support/index.ts";
import { startXdsAdapter, type XdsAdapter } from "./adapter.ts";
import { bodyTypeOf } from "./bodies.ts";

// What suites from outside ask of a server about subscriptions, each row over both kinds of streams: a client that
// acknowledges all that it gets must see what it asked for, at the version it was given, and not one response more.

const { cluster: CDS, listener: LDS, route: RDS, endpoint: EDS } = TYPE_URLS;
const cds = serviceDefinition(ClusterDiscoveryService);
const lds = serviceDefinition(ListenerDiscoveryService);
const rds = serviceDefinition(RouteDiscoveryService);
const eds = serviceDefinition(EndpointDiscoveryService);
const ads = serviceDefinition(AggregatedDiscoveryService);
const TYPES = {
  CDS: { typeUrl: CDS, sotw: cds.streamClusters.path, delta: cds.deltaClusters.path },
  LDS: { typeUrl: LDS, sotw: lds.streamListeners.path, delta: lds.deltaListeners.path },
  RDS: { typeUrl: RDS, sotw: rds.streamRoutes.path, delta: rds.deltaRoutes.path },
  EDS: { typeUrl: EDS, sotw: eds.streamEndpoints.path, delta: eds.deltaEndpoints.path },
} as const;
type Type = keyof typeof TYPES;
/** In state of the world, responses of these hold everything that is subscribed to. */
const WHOLE: readonly Type[] = ["CDS", "LDS"];
const ALL: readonly Type[] = ["CDS", "LDS", "RDS", "EDS"];
const STREAMS = ["aggregated", "separate"] as const;

const bare = (type: Type, name: string) => {
  switch (type) {
    case "CDS":
      return pack(ClusterSchema, { name });
    case "LDS":
      return pack(ListenerSchema, { name });
    case "RDS":
      return pack(RouteConfigurationSchema, { name });
    case "EDS":
      return pack(ClusterLoadAssignmentSchema, { clusterName: name });
  }
};

let running: XdsAdapter;
let api: grpc.Client;
let nodes = 0;

beforeAll(async () => {
  running = await startXdsAdapter({ adapter: "127.0.0.1:0", target: "127.0.0.1:0", log: pino({ level: "silent" }) });
  api = new grpc.Client(`127.0.0.1:${running.adapterPort}`, grpc.credentials.createInsecure());
});
afterAll(async () => {
  api.close();
  await running.close();
});

const methods = serviceDefinition(Adapter);

function call<Request, Response>(method: grpc.MethodDefinition<Request, Response>, request: Request): Promise<unknown> {
  const { path, requestSerialize, responseDeserialize } = method;
  return new Promise((resolve, reject) => {
    api.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (error, answer) =>
      error === null ? resolve(answer) : reject(error),
    );
  });
}

interface Held {
  readonly version: string;
  readonly nonce: string;
}

/** A client of one stream, and the calls that change what its node shall have. */
abstract class Client {
  readonly node: string;
  readonly held = new Map<Type, Map<string, Held>>();
  readonly removed = new Map<Type, Set<string>>();
  readonly #connection: grpc.Client;
  /** Requests and responses so far. */
  asked = 0;
  answered = 0;

  constructor() {
    nodes += 1;
    this.node = `node-${nodes}`;
    this.#connection = new grpc.Client(`127.0.0.1:${running.targetPort}`, grpc.credentials.createInsecure());
  }

  protected open<Request, Response>(
    { requestSerialize, responseDeserialize }: grpc.MethodDefinition<Request, Response>,
    path: string,
    onResponse: (response: Response) => void,
  ): grpc.ClientDuplexStream<Request, Response> {
    const stream = this.#connection.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    stream.on("data", (response: Response) => {
      this.answered += 1;
      onResponse(response);
    });
    // What was to be received is missed.
    stream.on("error", () => {});
    return stream;
  }

  protected hold(type: Type, names: readonly string[], version: string, nonce: string): void {
    const held = this.held.get(type) ?? new Map<string, Held>();
    this.held.set(type, held);
    for (const name of names) {
      held.set(name, { version, nonce });
      this.removed.get(type)?.delete(name);
    }
  }

  async setup(version: string, resources: Partial<Record<Type, readonly string[]>>): Promise<void> {
    const bodies = ALL.flatMap((type) => (resources[type] ?? []).map((name) => bare(type, name)));
    await call(methods.setState, create(StateSchema, { node: this.node, version, resources: bodies }));
  }
  #named(type: Type, resourceName: string, version: string) {
    return create(NamedSchema, { node: this.node, typeUrl: TYPES[type].typeUrl, resourceName, version });
  }
  update(type: Type, name: string, version: string): Promise<unknown> {
    return call(methods.updateResource, this.#named(type, name, version));
  }
  add(type: Type, name: string, version: string): Promise<unknown> {
    return call(methods.addResource, this.#named(type, name, version));
  }
  remove(type: Type, name: string): Promise<unknown> {
    return call(methods.removeResource, this.#named(type, name, this.held.get(type)?.get(name)?.version ?? ""));
  }

  /** Waits until it holds these at a version. */
  async receives(type: Type, names: readonly string[], version: string): Promise<void> {
    const has = (name: string) => this.held.get(type)?.get(name)?.version === version;
    await waitFor(
      () => names.every(has),
      5_000,
      () => `${type} ${names.join(",")} at ${version}, not ${JSON.stringify([...(this.held.get(type) ?? [])])}`,
    );
  }

  /** Names that came with this version, and in how many responses they did. */
  cameAt(type: Type, version: string): { readonly names: readonly string[]; readonly responses: number } {
    const at = [...(this.held.get(type) ?? [])].filter(([, held]) => held.version === version);
    return { names: at.map(([name]) => name).sort(), responses: new Set(at.map(([, { nonce }]) => nonce)).size };
  }

  async wasTold(type: Type, name: string): Promise<void> {
    await waitFor(() => this.removed.get(type)?.has(name), 5_000, `notice that ${type} ${name} is gone`);
  }

  /**
   * After a change that some other node sees, too: what this one was to be sent has been. Every response was
   * acknowledged, so a client that asks `more` times besides has made so many requests more than it got responses.
   */
  async settled(more: number): Promise<void> {
    const other = new DeltaClient("CDS", "aggregated");
    try {
      await other.setup("1", { CDS: ["marker"] });
      other.subscribe("CDS", ["marker"]);
      await other.receives("CDS", ["marker"], "1");
      await other.update("CDS", "marker", "2");
      await other.receives("CDS", ["marker"], "2");
    } finally {
      await other.end();
    }
    expect(this.asked - this.answered).toBe(more);
  }

  async end(): Promise<void> {
    this.#connection.close();
    await call(methods.clearState, create(NodeSchema, { node: this.node }));
  }
}

class SotwClient extends Client {
  readonly #stream: grpc.ClientDuplexStream<DiscoveryRequest, DiscoveryResponse>;
  readonly #names = new Map<Type, readonly string[]>();
  readonly #careless: boolean;

  /** @param careless  acknowledges every response under the type that it asked for first */
  constructor(type: Type, streams: (typeof STREAMS)[number], careless = false) {
    super();
    this.#careless = careless;
    const path = streams === "separate" ? TYPES[type].sotw : ads.streamAggregatedResources.path;
    this.#stream = this.open(ads.streamAggregatedResources, path, (response) => this.#take(response));
  }

  #take({ typeUrl, resources, versionInfo, nonce }: DiscoveryResponse): void {
    const type = ALL.find((each) => TYPES[each].typeUrl === typeUrl) ?? "CDS";
    const names = resources.map((each) => bodyTypeOf(each.typeUrl)?.nameIn(each.value) ?? "");
    this.hold(type, names, versionInfo, nonce);
    const [first = type] = this.#careless ? this.#names.keys() : [type];
    this.#send(first, this.#names.get(first) ?? [], { version: versionInfo, nonce });
  }

  #send(type: Type, names: readonly string[], { version, nonce }: Held): void {
    const request = create(DiscoveryRequestSchema, {
      ...(this.asked === 0 ? { node: create(EnvoyNodeSchema, { id: this.node }) } : {}),
      ...{ typeUrl: TYPES[type].typeUrl, resourceNames: [...names], versionInfo: version, responseNonce: nonce },
    });
    this.asked += 1;
    this.#stream.write(request);
  }

  subscribe(type: Type, names: readonly string[]): void {
    this.#names.set(type, names);
    this.#send(type, names, { version: "", nonce: "" });
  }

  /** Keeps only one of its resources, and forgets what it held. */
  keepOnly(type: Type, name: string): void {
    const held = this.held.get(type)?.get(name) ?? { version: "", nonce: "" };
    this.held.set(type, new Map([[name, held]]));
    this.#names.set(type, [name]);
    this.#send(type, [name], held);
  }

  /** As one suite does it: by an empty name. */
  unsubscribe(type: Type): void {
    const nonce = [...(this.held.get(type)?.values() ?? [])].at(-1)?.nonce ?? "";
    this.held.set(type, new Map());
    this.#names.set(type, [""]);
    this.#send(type, [""], { version: "", nonce });
  }
}

class DeltaClient extends Client {
  readonly #stream: grpc.ClientDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>;

  constructor(type: Type, streams: (typeof STREAMS)[number]) {
    super();
    const path = streams === "separate" ? TYPES[type].delta : ads.deltaAggregatedResources.path;
    this.#stream = this.open(ads.deltaAggregatedResources, path, (response) => this.#take(response));
  }

  #take({ typeUrl, resources, removedResources, systemVersionInfo, nonce }: DeltaDiscoveryResponse): void {
    const type = ALL.find((each) => TYPES[each].typeUrl === typeUrl) ?? "CDS";
    const names = resources.map(({ name }) => name);
    this.hold(type, names, systemVersionInfo, nonce);
    const removed = this.removed.get(type) ?? new Set<string>();
    this.removed.set(type, removed);
    for (const name of removedResources) {
      removed.add(name);
      this.held.get(type)?.delete(name);
    }
    this.#send({ typeUrl, responseNonce: nonce });
  }

  #send(init: Parameters<typeof create<typeof DeltaDiscoveryRequestSchema>>[1]): void {
    const request = create(DeltaDiscoveryRequestSchema, init);
    if (this.asked === 0) request.node = create(EnvoyNodeSchema, { id: this.node });
    this.asked += 1;
    this.#stream.write(request);
  }

  subscribe(type: Type, names: readonly string[]): void {
    this.#send({ typeUrl: TYPES[type].typeUrl, resourceNamesSubscribe: [...names] });
  }

  unsubscribe(type: Type, name: string): void {
    this.#send({ typeUrl: TYPES[type].typeUrl, resourceNamesUnsubscribe: [name] });
  }
}

async function using<C extends Client>(client: C, row: (client: C) => Promise<void>): Promise<void> {
  try {
    await row(client);
  } finally {
    await client.end();
  }
}

describe.each(STREAMS)("state of the world, %s streams", (streams) => {
  const client = (type: Type) => new SotwClient(type, streams);

  test.each(WHOLE)("%s: a wildcard is given everything at once, and again with every change and addition", (type) =>
    using(client(type), async (node) => {
      await node.setup("1", { [type]: ["A", "B", "C"] });
      node.subscribe(type, []);
      await node.receives(type, ["A", "B", "C"], "1");
      expect(node.cameAt(type, "1")).toEqual({ names: ["A", "B", "C"], responses: 1 });
      await node.update(type, "A", "2");
      await node.receives(type, ["A", "B", "C"], "2");
      expect(node.cameAt(type, "2").responses).toBe(1);
      await node.add(type, "D", "3");
      await node.receives(type, ["A", "B", "C", "D"], "3");
      expect(node.cameAt(type, "3").responses).toBe(1);
      await node.settled(1);
    }),
  );

  test.each(ALL)("%s: who asks by name is given that and nothing else", (type) =>
    using(client(type), async (node) => {
      await node.setup("1", { [type]: ["G", "B", "L", "D"] });
      node.subscribe(type, ["L", "G"]);
      await node.receives(type, ["L", "G"], "1");
      expect(node.cameAt(type, "1").names).toEqual(["G", "L"]);
      await node.settled(1);
    }),
  );

  test.each(ALL)("%s: a change of what was asked for is sent, and of nothing else", (type) =>
    using(client(type), async (node) => {
      await node.setup("1", { [type]: ["A", "B", "C", "D"] });
      node.subscribe(type, ["B", "D"]);
      await node.receives(type, ["B", "D"], "1");
      await node.update(type, "B", "2");
      const whole = WHOLE.includes(type);
      await node.receives(type, whole ? ["B", "D"] : ["B"], "2");
      expect(node.cameAt(type, "2")).toEqual({ names: whole ? ["B", "D"] : ["B"], responses: 1 });
      await node.settled(1);
    }),
  );

  test.each(ALL)("%s: what does not exist yet is sent when it does", (type) =>
    using(client(type), async (node) => {
      await node.setup("1", { [type]: ["A", "B", "D"] });
      node.subscribe(type, ["A", "Z"]);
      await node.receives(type, ["A"], "1");
      await node.add(type, "Z", "2");
      const whole = WHOLE.includes(type);
      await node.receives(type, whole ? ["A", "Z"] : ["Z"], "2");
      expect(node.cameAt(type, "2")).toEqual({ names: whole ? ["A", "Z"] : ["Z"], responses: 1 });
      await node.settled(1);
    }),
  );

  test.each(ALL)("%s: who keeps one of several names is sent that one alone", (type) =>
    using(client(type), async (node) => {
      await node.setup("1", { [type]: ["A", "B", "C", "D"] });
      node.subscribe(type, ["A", "B", "C"]);
      await node.receives(type, ["A", "B", "C"], "1");
      node.keepOnly(type, "B");
      await node.update(type, "B", "2");
      await node.receives(type, ["B"], "2");
      expect([...(node.held.get(type)?.keys() ?? [])]).toEqual(["B"]);
      // The request with fewer names may be answered, where a response holds everything.
      expect(node.cameAt(type, "2").responses).toBe(1);
    }),
  );

  test.each(ALL)("%s: who unsubscribes from everything is sent nothing any more", (type) =>
    using(client(type), async (node) => {
      await node.setup("1", { [type]: ["A", "B", "C", "D"] });
      node.subscribe(type, ["A", "B"]);
      await node.receives(type, ["A", "B"], "1");
      node.unsubscribe(type);
      await node.update(type, "B", "2");
      await node.add(type, "E", "3");
      // What another node is sent of a later change comes after what these could have brought.
      await using(new DeltaClient(type, streams), async (other) => {
        await other.setup("1", { [type]: ["A"] });
        other.subscribe(type, ["A"]);
        await other.receives(type, ["A"], "1");
        await other.update(type, "A", "2");
        await other.receives(type, ["A"], "2");
      });
      expect([...(node.held.get(type)?.keys() ?? [])]).toEqual([]);
    }),
  );
});

test.each([
  ["CDS", "LDS", false],
  ["RDS", "EDS", false],
  ["CDS", "LDS", true],
  ["RDS", "EDS", true],
] as const)(
  "one stream carries %s and %s, also where acknowledgements come under the wrong type: %s",
  (one, two, careless) =>
    using(new SotwClient(one, "aggregated", careless), async (node) => {
      await node.setup("1", { [one]: ["A", "B", "C"], [two]: ["A", "B", "C"] });
      node.subscribe(one, ["B"]);
      await node.receives(one, ["B"], "1");
      node.subscribe(two, ["B"]);
      await node.receives(two, ["B"], "1");
      await node.update(one, "B", "2");
      await node.receives(one, ["B"], "2");
      expect(node.held.get(two)?.get("B")?.version).toBe("1");
      await node.settled(2);
    }),
);

describe.each(STREAMS)("delta, %s streams", (streams) => {
  const client = (type: Type) => new DeltaClient(type, streams);

  test.each(ALL)("%s: names are added one after the other", (type) =>
    using(client(type), async (node) => {
      await node.setup("1", { [type]: ["A", "B", "C"] });
      node.subscribe(type, ["A"]);
      await node.receives(type, ["A"], "1");
      node.subscribe(type, ["B"]);
      await node.receives(type, ["B"], "1");
      expect(node.cameAt(type, "1")).toEqual({ names: ["A", "B"], responses: 2 });
      await node.settled(2);
    }),
  );

  test.each(ALL)("%s: of several only the one that changed is sent", (type) =>
    using(client(type), async (node) => {
      await node.setup("1", { [type]: ["A", "B", "C"] });
      node.subscribe(type, ["A", "B", "C"]);
      await node.receives(type, ["A", "B", "C"], "1");
      await node.update(type, "A", "2");
      await node.receives(type, ["A"], "2");
      expect(node.cameAt(type, "2").names).toEqual(["A"]);
      await node.settled(1);
    }),
  );

  test.each(ALL)("%s: what does not exist is said not to, and is sent alone when it does", (type) =>
    using(client(type), async (node) => {
      await node.setup("1", { [type]: ["A"] });
      node.subscribe(type, ["A", "B"]);
      await node.receives(type, ["A"], "1");
      await node.wasTold(type, "B");
      await node.add(type, "B", "1");
      await node.receives(type, ["B"], "1");
      expect(node.cameAt(type, "1")).toEqual({ names: ["A", "B"], responses: 2 });
      await node.settled(1);
    }),
  );

  test.each(ALL)("%s: what is removed is said to be, and sent again when it is back", (type) =>
    using(client(type), async (node) => {
      await node.setup("1", { [type]: ["A", "B"] });
      node.subscribe(type, ["A", "B"]);
      await node.receives(type, ["A", "B"], "1");
      await node.remove(type, "B");
      await node.wasTold(type, "B");
      await node.add(type, "B", "2");
      await node.receives(type, ["B"], "2");
      expect(node.cameAt(type, "2").names).toEqual(["B"]);
      await node.settled(1);
    }),
  );

  test.each(ALL)("%s: what was unsubscribed from is not sent any more, one name after the other", (type) =>
    using(client(type), async (node) => {
      await node.setup("1", { [type]: ["A", "B"] });
      node.subscribe(type, ["A", "B"]);
      await node.receives(type, ["A", "B"], "1");
      for (const name of ["B", "A"]) {
        node.unsubscribe(type, name);
        await node.update(type, name, "2");
      }
      await node.settled(3);
      expect(node.cameAt(type, "2").names).toEqual([]);
    }),
  );
});
