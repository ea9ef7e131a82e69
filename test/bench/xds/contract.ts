import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { parseArgs } from "node:util";
import { pino } from "pino";
import { z } from "zod";
import { createXdsServer, type ServedResource } from "../../../xds-server/index.ts";
import { allResources, endpoints, route, type Size } from "./resources.ts";

/** The control contract of the benchmark (README.md), with our xDS server behind it. */

const GROUP = "edge";
/** Part of the planned time after which a burst skips to its last change. */
const BURST_OVERRUN = 1.5;

const Load = z.object({ clusters: z.int().min(1), endpointsPerCluster: z.int().min(1), routes: z.int().min(1) });
const Change = z.discriminatedUnion("kind", [
  z.object({ kind: z.enum(["weight", "endpoint"]), rev: z.int() }),
  z.object({ kind: z.literal("burst"), rev: z.int(), count: z.int().min(1), rate: z.int().min(1) }),
]);

const { values } = parseArgs({
  options: { xds: { type: "string", default: "127.0.0.1:0" }, control: { type: "string", default: "127.0.0.1:0" } },
});
const server = createXdsServer({ log: pino({ level: "silent" }), settings: { trustUnlistedNodes: true } });
let size: Size = { clusters: 1, endpointsPerCluster: 1, routes: 1 };

function load(wanted: Size): void {
  size = wanted;
  const types = new Map<string, Map<string, ServedResource>>();
  for (const resource of allResources(size)) {
    const type = types.get(resource.typeUrl) ?? new Map<string, ServedResource>();
    types.set(resource.typeUrl, type.set(resource.name, resource));
  }
  server.setSnapshot({ group: GROUP, revision: 1, layout: "", resources: types });
}

function change(kind: "weight" | "endpoint", rev: number): void {
  server.change({ group: GROUP, resources: [kind === "endpoint" ? endpoints(0, size, rev) : route(0, size, rev)] });
}

/** Odd changes are weights, even ones endpoints, each at its time or at once when late. */
async function burst(rev: number, count: number, rate: number): Promise<number> {
  const start = performance.now();
  const longest = (BURST_OVERRUN * 1_000 * count) / rate;
  let applied = 0;
  for (let index = 1; index <= count; index++) {
    if (performance.now() - start > longest) index = count;
    const wait = start + (index * 1_000) / rate - performance.now();
    if (wait > 0) await delay(wait);
    change(index % 2 === 1 ? "weight" : "endpoint", rev + index);
    applied += 1;
  }
  return applied;
}

async function answer(request: IncomingMessage): Promise<unknown> {
  switch (`${request.method} ${request.url}`) {
    case "GET /stats":
      return { pids: [process.pid], name: "chancery" };
    case "POST /load":
      load(Load.parse(await bodyOf(request)));
      return { ok: true };
    case "POST /change": {
      const wanted = Change.parse(await bodyOf(request));
      if (wanted.kind === "burst") return { ok: true, applied: await burst(wanted.rev, wanted.count, wanted.rate) };
      change(wanted.kind, wanted.rev);
      return { ok: true };
    }
    default:
      throw new Error(`no ${request.method} ${request.url} here`);
  }
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString());
}

const control = createServer((request, response) => {
  answer(request).then(
    (body) => response.end(JSON.stringify(body)),
    (error: unknown) => response.writeHead(400).end(String(error)),
  );
});
await server.listen(values.xds);
const [host = "", port = ""] = values.control.split(":");
control.listen(Number(port), host);
await once(control, "listening");
await Promise.race([once(process, "SIGTERM"), once(process, "SIGINT")]);
control.closeAllConnections();
control.close();
await server.close(0);
