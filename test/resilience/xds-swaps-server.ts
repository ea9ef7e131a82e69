import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { pino } from "pino";
import { Registry } from "prom-client";
import { RouteConfigurationSchema } from "../../protos/gen/envoy/config/route/v3/route_pb.ts";
import { createXdsServer } from "../../xds-server/index.ts";
import { cluster, encode, endpoints, listener, snapshot } from "../../xds-server/resource-fixture.ts";

/**
 * A process of its own: an xDS server that knows one number at a time, and over HTTP what it is to do.
 *
 *   xds-swaps-server.ts XDS_PORT NODES FIRST UPSTREAM_PORT...
 *
 * With number N all traffic goes to cluster `swap-N`, which is the only one and leads to the upstream N modulo their
 * count; answers say `x-swap: N`. `GET /swap/N`: goes to number N where that is another one, answered when all nodes run
 * it. `GET /pushes`: responses sent.
 */
const [xdsPort = 0, nodes = 0, first = 0, ...upstreams] = process.argv.slice(2).map(Number);

function content(number: number) {
  const name = `swap-${number}`;
  const routes = encode(RouteConfigurationSchema, "routes", {
    name: "routes",
    responseHeadersToAdd: [{ header: { key: "x-swap", value: String(number) } }],
    virtualHosts: [{ name: "all", domains: ["*"], routes: [{ match: { prefix: "/" }, route: { cluster: name } }] }],
  });
  const upstream = upstreams[number % upstreams.length] ?? 0;
  return snapshot(number, cluster(name), endpoints(name, upstream), listener(), routes);
}

const registry = new Registry();
const server = createXdsServer({
  log: pino({ level: "silent" }),
  registry,
  settings: { removalGraceMs: 50 },
  onEvent: answerWaiting,
});
let current = first;
let waiting: ServerResponse[] = [];
// As from a disk: what was in force last, and what was before it.
for (const number of [Math.max(0, current - 1), current]) server.setSnapshot(content(number));

function answerWaiting(): void {
  if (waiting.length === 0) return;
  const running = server.nodes().filter((node) => node.connected && node.acknowledgedRevision === current);
  if (running.length < nodes) return;
  for (const response of waiting) response.end();
  waiting = [];
}

async function pushes(): Promise<Record<string, number>> {
  const found = (await registry.metrics()).matchAll(/^chancery_xds_pushes_total\{type="(\w+)"\} (\d+)$/gm);
  return Object.fromEntries([...found].map(([, type, count]) => [type ?? "", Number(count)]));
}

const control = createServer(async ({ url = "" }, response) => {
  const number = /^\/swap\/(\d+)$/.exec(url)?.[1];
  if (number === undefined) return response.end(JSON.stringify(await pushes()));
  if (Number(number) !== current) {
    current = Number(number);
    server.setSnapshot(content(current));
  }
  waiting.push(response);
  return answerWaiting();
}).listen(0, "127.0.0.1");
const port = await server.listen(`127.0.0.1:${xdsPort}`);
process.stdout.write(`ready ${port} ${(control.address() as AddressInfo).port}\n`);
