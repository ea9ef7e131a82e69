import { connect } from "node:http2";
import { fileURLToPath } from "node:url";
import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TYPE_URLS } from "../../envoy/index.ts";
import { DeltaDiscoveryRequestSchema } from "../../protos/gen/envoy/service/discovery/v3/discovery_pb.ts";
import { type SpawnedProcess, spawnProcess } from "../support/spawn-process.ts";
import { waitFor } from "../support/wait-for.ts";

const DEADLINE_MS = 120_000;
const MIB = 1024 * 1024;
const WARM_UP = 1_000;
const CONNECTS = 10_000;
const AT_ONCE = 20;

let server: SpawnedProcess;
let xds: string;
let control: string;

beforeAll(async () => {
  const script = fileURLToPath(new URL("xds-memory-server.ts", import.meta.url));
  server = await spawnProcess(process.execPath, ["--expose-gc", script]);
  const [, xdsPort, controlPort] = await server.waitForOutput(/ready (\d+) (\d+)/, DEADLINE_MS);
  xds = `http://127.0.0.1:${xdsPort}`;
  control = `http://127.0.0.1:${controlPort}`;
});
afterAll(() => server.close());

async function tell(path: string): Promise<number> {
  return Number(await (await fetch(`${control}${path}`)).text());
}

function request(node: string): Buffer {
  const message = toBinary(
    DeltaDiscoveryRequestSchema,
    create(DeltaDiscoveryRequestSchema, { node: { id: node, cluster: "g" }, typeUrl: TYPE_URLS.cluster }),
  );
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

function open(node: string) {
  const session = connect(xds);
  const stream = session.request({
    ":method": "POST",
    ":path": "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.write(request(node));
  return { session, stream };
}

/** A connection with a stream, dropped when the first response comes. */
function connectOnce(node: string): Promise<void> {
  const { session, stream } = open(node);
  return new Promise((resolve, reject) => {
    session.on("error", reject);
    session.on("close", resolve);
    // Being cut off is what it is for.
    stream.on("error", () => {});
    stream.once("data", () => session.destroy());
  });
}

async function connectTimes(count: number): Promise<void> {
  let next = 0;
  const one = async () => {
    while (next < count) {
      next += 1;
      await connectOnce(`node-${next}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  await waitFor(async () => (await tell("/nodes")) === 0, DEADLINE_MS, "all streams to be gone");
}

test("10,000 nodes that connect and drop their connection leave no memory behind", {
  timeout: DEADLINE_MS,
}, async () => {
  await connectTimes(WARM_UP);
  const before = await tell("/memory");
  await connectTimes(CONNECTS);
  const after = await tell("/memory");
  // Less than 210 bytes for each: nothing of a connection is kept.
  expect(after - before).toBeLessThan(2 * MIB);
});

test("a node that does not read holds one response, however much changes", { timeout: DEADLINE_MS }, async () => {
  const { session, stream } = open("slow");
  stream.on("error", () => {});
  try {
    // Paused from the start, so that its window fills and stays full.
    stream.pause();
    await waitFor(async () => (await tell("/nodes")) === 1, DEADLINE_MS, "the node to connect");
    const before = await tell("/memory");
    for (let change = 0; change < 100; change++) await tell("/change");
    // 40 MB have changed. What waits: one response for the transport, its copy with a prefix, and the newest state.
    expect((await tell("/memory")) - before).toBeLessThan(8 * MIB);
  } finally {
    session.destroy();
  }
});
