import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openNatsBus } from "../../distribution/index.ts";
import { startWebServer, type WebServer } from "../../examples/quickstart/web-server.ts";
import { digestOf } from "../../revision/index.ts";
import { type Fleet, startFleet } from "../support/fleet.ts";
import {
  closeAtEnd,
  freePort,
  http,
  keepAliveAgent,
  runLoad,
  startNats,
  startTcpRelay,
  type TcpRelay,
  waitFor,
} from "../support/index.ts";
import { ALLOW_ALL, anonymous, gateway, plainRoute, policy, upstream, yaml } from "../support/resources.ts";

/**
 * Links that are half open: bytes vanish, and nobody is told (no FIN, no RST), for ever. New connections pass. Whoever does
 * not ask whether the other end is still there waits for the timeouts of TCP, which are many minutes.
 */
const WAIT_MS = 45_000;

/** How the delivered servers ask their peers. */
const PINGS = (await readFile(join(import.meta.dirname, "../../deploy/nats/region.conf"), "utf8"))
  .split("\n")
  .filter((line) => line.startsWith("ping_"))
  .join("\n");

let heads = 0;

/** Announces something on a bus. @returns its number */
async function announce(bus: Awaited<ReturnType<typeof openNatsBus>>): Promise<number> {
  const head = await bus.head();
  heads += 1;
  const bytes = Buffer.from(`content ${heads}`);
  const number = (head?.number ?? 0) + 1;
  await bus.putBlob(digestOf(bytes), bytes);
  await bus.publishHead({ manifest: digestOf(bytes), number }, head?.sequence ?? 0);
  return number;
}

test("a process that follows the bus hears of what comes after its connection was forgotten", async () => {
  const nats = closeAtEnd(await startNats());
  const link = closeAtEnd(await startTcpRelay(Number(new URL(nats.url).port)));
  const writer = closeAtEnd(await openNatsBus({ servers: [nats.url], name: "writer", manageStreams: true }));
  const alarms: string[] = [];
  const reader = closeAtEnd(
    await openNatsBus({
      ...{ servers: [`nats://127.0.0.1:${link.port}`], name: "reader" },
      onAlarm: ({ message }) => alarms.push(message),
    }),
  );
  const seen: number[] = [];
  reader.watchHead(({ number }) => seen.push(number));
  const first = await announce(writer);
  await waitFor(() => seen.includes(first), WAIT_MS, "the first head");
  link.forget();
  const begun = performance.now();
  const second = await announce(writer);
  await waitFor(
    () => seen.includes(second),
    WAIT_MS,
    () => `the second head\n${alarms.join("\n")}`,
  );
  console.info(`a client of NATS: heard after ${Math.round(performance.now() - begun)} ms`);
  expect(alarms.join("\n")).toMatch(/silent|lost|answer/);
}, 90_000);

test("a region whose leaf node's connection was forgotten hears of what the hub publishes", async () => {
  const hub = closeAtEnd(await startNats({ domain: "hub", leafNodes: true, config: PINGS }));
  const link = closeAtEnd(await startTcpRelay(Number(new URL(hub.leafUrl).port)));
  const remote = `leafnodes { remotes: [{ url: "nats://127.0.0.1:${link.port}" }], reconnect: "1s" }`;
  const region = closeAtEnd(await startNats({ domain: "eu", config: `${PINGS}\n${remote}` }));
  const writer = closeAtEnd(await openNatsBus({ servers: [hub.url], name: "writer", manageStreams: true }));
  const reader = closeAtEnd(await openNatsBus({ servers: [region.url], name: "reader", domain: "hub" }));
  const seen: number[] = [];
  reader.watchHead(({ number }) => seen.push(number));
  const first = await announce(writer);
  await waitFor(() => seen.includes(first), WAIT_MS, "the first head");
  link.forget();
  const begun = performance.now();
  const second = await announce(writer);
  await waitFor(() => seen.includes(second), WAIT_MS, "the second head");
  console.info(`a leaf node: heard after ${Math.round(performance.now() - begun)} ms`);
}, 90_000);

describe("an Envoy", () => {
  let fleet: Fleet;
  let web: WebServer;
  let port: number;
  let xds: TcpRelay;
  const authz: TcpRelay[] = [];
  const agent = keepAliveAgent(64);

  const resources = (...prefixes: readonly string[]): string =>
    yaml(
      ...[gateway(port), upstream("web", web.port), anonymous(), policy("rules", ALLOW_ALL)],
      ...prefixes.map((prefix) => plainRoute(prefix, `/${prefix}`, { web: 1 })),
    );

  beforeAll(async () => {
    web = await startWebServer({ name: "web" });
    port = await freePort();
    for (let index = 0; index < 2; index += 1) authz.push(await startTcpRelay(0));
    fleet = await startFleet({
      resources: { "tree.yaml": resources("first") },
      extAuthz: authz.map((link) => `127.0.0.1:${link.port}`),
      xds: async (own) => {
        xds = await startTcpRelay(Number(own.split(":")[1]));
        return `127.0.0.1:${xds.port}`;
      },
    });
    for (const [index, link] of authz.entries()) link.direct(Number(fleet.decisionAddress(index).split(":")[1]));
    const healthy = "cluster.chancery_ext_authz.membership_healthy";
    await waitFor(async () => (await fleet.envoy.stats(healthy))[healthy] === 2, WAIT_MS, "two decision services");
  }, 90_000);

  afterAll(async () => {
    agent.destroy();
    await fleet?.close();
    await Promise.all([...authz, xds, web].map((thing) => thing?.close()));
  });

  test("goes to the other decision service when a connection was forgotten, and comes back", async () => {
    const abort = new AbortController();
    const failed: string[] = [];
    const load = runLoad({
      ...{ rps: 12, count: 1_000_000, signal: abort.signal },
      request: () => http(`http://127.0.0.1:${port}/first`, { agent }),
      onAnswer: ({ value, error, startedMs, tookMs }) => {
        if (value?.status === 200) return;
        failed.push(`at ${Math.round(startedMs)} ms: ${error?.message ?? value?.status}, ${Math.round(tookMs)} ms`);
      },
    });
    const counter = "cluster.chancery_ext_authz.upstream_cx_total";
    const before = (await fleet.envoy.stats(counter))[counter] ?? 0;
    for (const link of authz) {
      link.forget();
      const made = (await fleet.envoy.stats(counter))[counter] ?? 0;
      await waitFor(async () => ((await fleet.envoy.stats(counter))[counter] ?? 0) > made, WAIT_MS, "a new connection");
      await delay(1_000);
    }
    abort.abort();
    const answers = await load;
    const made = ((await fleet.envoy.stats(counter))[counter] ?? 0) - before;
    console.info(`decision services: ${failed.length} of ${answers.length} failed, ${made} connections made anew`);
    // Retries reach the other one: what is lost is what a machine that is busy with other things loses.
    expect(failed.length, failed.join("\n")).toBeLessThanOrEqual(2);
  }, 90_000);

  test("is given what changes after its xDS stream was forgotten", async () => {
    xds.forget();
    const begun = performance.now();
    await fleet.write("tree.yaml", resources("first", "second"));
    const served = async (): Promise<boolean> =>
      (await http(`http://127.0.0.1:${port}/second`, { agent })).status === 200;
    await waitFor(served, WAIT_MS, () => `the new route\n${fleet.xds().stderr().slice(-1_000)}`);
    console.info(`xDS: the new route is served after ${Math.round(performance.now() - begun)} ms`);
  }, 90_000);
});
