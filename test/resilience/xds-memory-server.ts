import { randomBytes } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { TYPE_URLS } from "../../envoy/index.ts";
import { ClusterSchema } from "../../protos/gen/envoy/config/cluster/v3/cluster_pb.ts";
import { createXdsServer, type ServedResource } from "../../xds-server/index.ts";

/**
 * A process of its own (with --expose-gc): an xDS server, and over HTTP what it is to do and how much memory it holds.
 * `GET /memory`: bytes after a garbage collection. `GET /change`: another cluster of 400,000 bytes. `GET /nodes`: open
 * streams.
 */
const GROUP = "g";
const LARGE = 400_000;

const server = createXdsServer({
  log: pino({ level: "silent" }),
  settings: { trustUnlistedNodes: true, maxNodes: 100 },
});
const cluster = (padding: number): ServedResource => {
  const init = { name: "a", altStatName: randomBytes(8).toString("hex") + "x".repeat(padding) };
  const value = toBinary(ClusterSchema, create(ClusterSchema, init));
  return { typeUrl: TYPE_URLS.cluster, name: "a", version: init.altStatName.slice(0, 16), value };
};
const small = cluster(0);
server.setSnapshot({
  group: GROUP,
  revision: 1,
  layout: "",
  resources: new Map([[TYPE_URLS.cluster, new Map([[small.name, small]])]]),
});

function answer(path: string | undefined): number {
  switch (path) {
    case "/memory": {
      if (globalThis.gc === undefined) throw new Error("run with --expose-gc");
      // Twice: what the first frees may hold what only the second can.
      globalThis.gc();
      globalThis.gc();
      const { heapUsed, external } = process.memoryUsage();
      return heapUsed + external;
    }
    case "/change":
      server.change({ group: GROUP, resources: [cluster(LARGE)] });
      return 0;
    case "/nodes":
      return server.nodes().reduce((sum, { streams }) => sum + streams, 0);
    default:
      throw new Error(`no ${path} here`);
  }
}

const control = createServer(({ url }, response) => response.end(String(answer(url)))).listen(0, "127.0.0.1");
const port = await server.listen("127.0.0.1:0");
process.stdout.write(`ready ${port} ${(control.address() as AddressInfo).port}\n`);
