import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { initKeys } from "../../revision/index.ts";
import { Closables } from "../support/closables.ts";
import { freePorts } from "../support/free-port.ts";
import { startNats } from "../support/nats.ts";
import { ALLOW_ALL, policy } from "../support/resources.ts";
import { save } from "../support/save.ts";
import { runProcess } from "../support/spawn-process.ts";
import { startTcpRelay, type TcpRelay } from "../support/tcp-relay.ts";
import type { RegionCalls } from "./namespaces-region.ts";
import { Child, PINGS } from "./region-processes.ts";
import { type FaultResult, faultTable } from "./regions-faults.ts";
import { LINK_MS, regionTree } from "./regions-fixture.ts";

/**
 * A hub and a region, each in a network namespace of its own, with a bridge between them from which the region can be
 * unplugged. To be run in new network, process and mount namespaces (`unshare`); prints a table, and one line of JSON.
 */
const HUB = "10.77.0.1";
const REGION = "10.77.0.2";
/** Milliseconds that a fault lasts of which nobody is told: until it is noticed, and longer. */
const SILENT_MS = 12_000;
/** Others. */
const LASTS_MS = 3_000;

async function ip(...args: readonly string[]): Promise<void> {
  const { code, stderr } = await runProcess("ip", args);
  if (code !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr}`);
}

/** Calls what `namespaces-region.ts` offers, in another namespace. */
function callsOf(child: ChildProcess): RegionCalls {
  const open = new Map<number, PromiseWithResolvers<unknown>>();
  let last = 0;
  child.on("message", ({ id, result, error }: { id: number; result?: unknown; error?: string }) => {
    const call = open.get(id);
    open.delete(id);
    if (error === undefined) call?.resolve(result);
    else call?.reject(new Error(error));
  });
  child.on("exit", (code) => {
    for (const call of open.values()) call.reject(new Error(`the region has ended with ${code}`));
  });
  const call = <T>(name: keyof RegionCalls, ...args: readonly unknown[]): Promise<T> => {
    last += 1;
    const answer = Promise.withResolvers<unknown>();
    open.set(last, answer);
    child.send({ id: last, name, args });
    return answer.promise as Promise<T>;
  };
  return {
    running: () => call("running"),
    network: (address) => call("network", address),
    start: (files, hub) => call("start", files, hub),
    load: () => call("load"),
    stopLoad: () => call("stopLoad"),
    records: () => call("records"),
    refused: (path) => call("refused", path),
    ask: (path) => call("ask", path),
    close: () => call("close"),
  };
}

const root = await mkdtemp(join(tmpdir(), "chancery-namespaces-"));
const tree = join(root, "tree");
const things = new Closables();
let edits = 0;

async function edit(): Promise<string> {
  edits += 1;
  const rules = ["closed", `path-${edits}`].map(
    (path) => `{ id: no-${path}, effect: deny, when: 'request.url_path == "/${path}"', reason: Closed }`,
  );
  await save(tree, "policies.yaml", policy("rules", ALLOW_ALL, ...rules));
  return `path-${edits}`;
}

interface Fault {
  readonly name: string;
  readonly begin: () => Promise<void> | void;
  readonly end: () => Promise<void> | void;
  readonly lastsMs: number;
}

async function runFault(region: RegionCalls, { name, begin, end, lastsMs }: Fault): Promise<FaultResult> {
  const before = await region.records();
  await region.load();
  await begin();
  const path = await edit();
  await delay(lastsMs);
  // It has not heard of it: the fault is one.
  const heardOf = (await region.ask(path)) === 403;
  await end();
  const ended = performance.now();
  await region.refused(path);
  const recoveredMs = Math.round(performance.now() - ended);
  const { answered, wrong, unavailable, records } = await region.stopLoad();
  if (heardOf) throw new Error(`${name}: the region heard of a change meanwhile`);
  return { fault: name, answered, wrong, unavailable, lost: Math.max(0, answered - (records - before)), recoveredMs };
}

/** The interface that the region is plugged into. */
const PORT = "to-eu";

function faultsOf(link: TcpRelay): readonly Fault[] {
  return [
    {
      name: "packets vanish, nobody is told",
      begin: () => ip("link", "set", PORT, "nomaster"),
      end: () => ip("link", "set", PORT, "master", "hub"),
      lastsMs: SILENT_MS,
    },
    {
      name: "interface down",
      begin: () => ip("link", "set", PORT, "down"),
      end: () => ip("link", "set", PORT, "up"),
      lastsMs: LASTS_MS,
    },
    { name: "connections stalled", begin: () => link.stall(), end: () => link.heal(), lastsMs: LASTS_MS },
    { name: "connections reset, and each new one", begin: () => link.cut(), end: () => link.heal(), lastsMs: LASTS_MS },
    { name: "connections half open", begin: () => link.lose(), end: () => link.heal(), lastsMs: LASTS_MS },
  ];
}

try {
  await ip("link", "set", "lo", "up");
  await ip("link", "add", "name", "hub", "type", "bridge");
  await ip("address", "add", `${HUB}/24`, "dev", "hub");
  await ip("link", "set", "hub", "up");
  const file = fileURLToPath(new URL("./namespaces-region.ts", import.meta.url));
  const child = spawn("unshare", ["--net", process.execPath, file], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  things.keep({ close: () => child.kill("SIGKILL") });
  const region = callsOf(child);
  // It has its own network by then.
  await region.running();
  await ip("link", "add", "name", PORT, "type", "veth", "peer", "name", "uplink", "netns", String(child.pid));
  await ip("link", "set", PORT, "master", "hub");
  await ip("link", "set", PORT, "up");
  const { gateway, web } = await region.network(`${REGION}/24`);
  things.keep({ close: () => region.close() });

  const keys = await initKeys(join(root, "keys"), { now: Date.now() });
  await save(tree, "tree.yaml", regionTree(new Map([["eu", gateway]]), web));
  await edit();
  const nats = await startNats({ domain: "hub", leafNodes: true, config: PINGS });
  things.keep(nats);
  const [port] = await freePorts(1);
  const control = new Child("control", `127.0.0.1:${port}`, [
    ...["control", "--resources", tree, "--nats", nats.url, "--control", `127.0.0.1:${port}`],
    ...["--state", join(root, "control"), ...keys.signing.flatMap(({ file: key }) => ["--key", key])],
  ]);
  things.keep(control);
  await control.start();
  const link = await startTcpRelay(Number(new URL(nats.leafUrl).port), HUB);
  things.keep(link);
  link.delay(LINK_MS);
  const files = { name: "eu", root: join(root, "eu"), trust: keys.trust, secrets: tree };
  await region.start(files, `${HUB}:${link.port}`);
  await region.refused(`path-${edits}`);

  const results: FaultResult[] = [];
  for (const fault of faultsOf(link)) {
    results.push(await runFault(region, fault));
    // As it was before, also for what comes next.
    await region.refused(await edit());
  }
  process.stdout.write(`${faultTable(results)}\n${JSON.stringify(results)}\n`);
} finally {
  await things.close();
  await rm(root, { recursive: true, force: true });
}
process.exit(0);
