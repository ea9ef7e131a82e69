import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { portOf, startNode, startUpstream } from "../../xds-server/envoy-fixture.ts";
import {
  type Answer,
  closeAtEnd,
  freePort,
  type HttpAnswer,
  http,
  keepAliveAgent,
  type RunningEnvoy,
  runLoad,
  seeded,
  spawnProcess,
  startTcpRelay,
  waitFor,
} from "../support/index.ts";

const SWAPS = 1_000;
const RESTARTS = 8;
const SEED = Number(process.env.SWAPS_SEED ?? Date.now() % 1_000_000);
const DEADLINE_MS = 60_000;
const PROTOCOLS = ["delta", "sotw"] as const;

interface SwapServer {
  readonly port: number;
  /** Done when all nodes run number `number`. */
  swap(number: number): Promise<void>;
  /** Responses sent so far, by type. */
  pushes(): Promise<Readonly<Record<string, number>>>;
  kill(): Promise<void>;
}

interface SwapServerOptions {
  readonly port?: number;
  readonly nodes: number;
  readonly first: number;
  readonly upstreams: readonly number[];
}

async function startSwapServer({ port = 0, nodes, first, upstreams }: SwapServerOptions): Promise<SwapServer> {
  const script = fileURLToPath(new URL("xds-swaps-server.ts", import.meta.url));
  const child = closeAtEnd(
    await spawnProcess(process.execPath, [script, ...[port, nodes, first, ...upstreams].map(String)]),
  );
  const [, xdsPort, control] = await child.waitForOutput(/ready (\d+) (\d+)/, DEADLINE_MS);
  const ask = async (path: string) =>
    (await http(`http://127.0.0.1:${control}${path}`, { timeoutMs: DEADLINE_MS })).text();
  return {
    port: Number(xdsPort),
    swap: async (number) => {
      await ask(`/swap/${number}`);
    },
    pushes: async () => JSON.parse(await ask("/pushes")),
    kill: async () => {
      child.signal("SIGKILL");
      await child.ended;
    },
  };
}

/** Requests through each Envoy, over connections that stay, until it is stopped. */
function startLoad(ports: readonly number[]) {
  const agent = closeAtEndAgent();
  const stopped = new AbortController();
  const waiting = new Set<() => void>();
  let answered = 0;
  const loads = ports.map((port) =>
    runLoad({
      rps: 50,
      count: 1_000_000,
      request: () => http(`http://127.0.0.1:${port}/`, { agent }),
      onAnswer: () => {
        answered += 1;
        for (const check of waiting) check();
      },
      signal: stopped.signal,
    }),
  );
  return {
    /** Done when so many more answers have come. */
    answers: (count: number) =>
      new Promise<void>((resolve) => {
        const end = answered + count;
        const check = () => {
          if (answered < end) return;
          waiting.delete(check);
          resolve();
        };
        waiting.add(check);
        check();
      }),
    async stop(): Promise<Answer<HttpAnswer>[]> {
      stopped.abort();
      return (await Promise.all(loads)).flat();
    },
  };
}

function closeAtEndAgent() {
  const agent = keepAliveAgent();
  closeAtEnd({ close: () => agent.destroy() });
  return agent;
}

/** What is wrong with an answer, if anything: every number has one cluster, and every cluster one upstream. */
function fault({ value, error }: Answer<HttpAnswer>, upstreams: number): string | undefined {
  if (value === undefined) return error.message;
  if (value.status !== 200) return `${value.status} at swap ${value.headers["x-swap"]}: ${value.text()}`;
  const wanted = `upstream ${Number(value.headers["x-swap"]) % upstreams}`;
  return value.text() === wanted ? undefined : `${value.text()} where ${wanted} should be`;
}

/** Swap → answers after which the server is killed, from the swap's beginning. */
function killMoments(random: () => number): ReadonlyMap<number, number> {
  const moments = new Map<number, number>();
  while (moments.size < RESTARTS) moments.set(1 + Math.floor(random() * SWAPS), Math.floor(random() * 12));
  return moments;
}

const clustersOf = async (envoy: RunningEnvoy) =>
  new Set([...(await envoy.admin("/clusters")).matchAll(/^(swap-\d+)::/gm)].map(([, name]) => name));

test(`no request fails while clusters and routes are swapped and the server is killed (SWAPS_SEED=${SEED})`, {
  timeout: 300_000,
}, async () => {
  const upstreams = [await startUpstream("upstream 0"), await startUpstream("upstream 1")];
  const port = await freePort();
  const start = (first: number) => startSwapServer({ port, nodes: PROTOCOLS.length, first, upstreams });
  let server = await start(0);
  const envoys = await Promise.all(PROTOCOLS.map((protocol) => startNode(port, protocol, {}, { protocol })));
  await server.swap(0);
  const edges = await Promise.all(envoys.map(portOf));
  const load = startLoad(edges);
  await load.answers(10);

  const moments = killMoments(seeded(SEED));
  const begun = performance.now();
  let [last, longestMs] = [begun, 0];
  for (let number = 1; number <= SWAPS; number++) {
    const moment = moments.get(number);
    // Without an end when the server is killed before it: its caller is told by the connection.
    const swapped = server.swap(number).catch((error: unknown) => {
      if (moment === undefined) throw error;
    });
    if (moment !== undefined) {
      await load.answers(moment);
      await server.kill();
      server = await start(number);
      await server.swap(number);
    }
    await swapped;
    const now = performance.now();
    longestMs = Math.max(longestMs, now - last);
    last = now;
  }
  const answers = await load.stop();
  const seen = new Set(answers.map(({ value }) => value?.headers["x-swap"]));
  const faults = answers.flatMap((answer) => fault(answer, upstreams.length) ?? []);
  console.info(
    `${SWAPS} swaps on ${envoys.length} Envoys in ${Math.round(last - begun)} ms, ${answers.length} requests to ` +
      `${seen.size} of them, ${faults.length} failed, ${moments.size} kills and restarts, ` +
      `longest time without progress ${Math.round(longestMs)} ms`,
  );
  expect(faults).toEqual([]);
  for (const [index, envoy] of envoys.entries()) {
    const answer = await http(`http://127.0.0.1:${edges[index]}/`);
    expect(answer.headers["x-swap"]).toBe(String(SWAPS));
    await waitFor(async () => (await clustersOf(envoy)).size === 1, 10_000, "the end of the old clusters");
    expect(await clustersOf(envoy)).toEqual(new Set([`swap-${SWAPS}`]));
    const rejected = await envoy.stats("update_rejected");
    expect(Object.entries(rejected).filter(([, count]) => count > 0)).toEqual([]);
  }
});

/** State of the world has no claims: what a node says does not tell which endpoints and routes it has. */
const SENT_TO_WHO_COMES = { delta: {}, sotw: { endpoint: 1, route: 1 } };

test.each(PROTOCOLS)(
  "an Envoy (%s) that goes from one replica to another and back notices nothing",
  async (protocol) => {
    const upstreams = [await startUpstream("upstream 0"), await startUpstream("upstream 1")];
    // One has a history, the other came later and has not.
    const older = await startSwapServer({ nodes: 1, first: 3, upstreams });
    const relay = closeAtEnd(await startTcpRelay(older.port));
    const envoy = await startNode(relay.port, "node-1", {}, { protocol });
    for (const number of [3, 4, 5]) await older.swap(number);
    const younger = await startSwapServer({ nodes: 1, first: 5, upstreams });
    await waitFor(async () => (await clustersOf(envoy)).size === 1, 10_000, "the end of the old clusters");
    await portOf(envoy);
    const counted = "[.]version$|config_reload$|cluster_(added|modified|removed)$|listener_(added|modified|removed)$";
    const before = await envoy.stats(counted);
    expect(Object.keys(before)).toContain("cluster_manager.cds.version");
    let pushed = await older.pushes();
    for (const replica of [younger, older, younger, older]) {
      const already = replica === older ? pushed : await younger.pushes();
      relay.direct(replica.port);
      relay.reset();
      await replica.swap(5);
      const sent = Object.entries(await replica.pushes()).map(([type, count]) => [type, count - (already[type] ?? 0)]);
      expect(Object.fromEntries(sent.filter(([, count]) => count !== 0))).toEqual(SENT_TO_WHO_COMES[protocol]);
      if (replica === older) pushed = await older.pushes();
    }
    expect(await envoy.stats(counted)).toEqual(before);
  },
);
