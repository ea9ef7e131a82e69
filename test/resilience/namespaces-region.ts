import { rm } from "node:fs/promises";
import { readDecisions } from "../../audit/index.ts";
import { startWebServer } from "../../examples/quickstart/web-server.ts";
import { Closables } from "../support/closables.ts";
import { freePorts } from "../support/free-port.ts";
import { runProcess } from "../support/spawn-process.ts";
import { waitFor } from "../support/wait-for.ts";
import { isOpen, PORTS, type RegionFiles, type RegionProcesses, startRegion, WAIT_MS } from "./region-processes.ts";
import { type RunningLoad, startLoad } from "./regions-load.ts";

/**
 * A region inside a network namespace of its own: it hears from outside over its interface `uplink`, and from `namespaces-run.ts`
 * over a channel that is no network.
 */
export interface RegionCalls {
  /** Resolves when it runs. */
  running(): Promise<void>;
  /** Brings the network up. @returns ports of the gateway and of its upstreams */
  network(address: string): Promise<{ readonly gateway: number; readonly web: number }>;
  start(files: RegionFiles, hub: string): Promise<void>;
  load(): Promise<void>;
  /** @returns what came of it, and the decisions on disk */
  stopLoad(): Promise<Awaited<ReturnType<RunningLoad["stop"]>> & { readonly records: number }>;
  records(): Promise<number>;
  /** Waits until a path is refused. */
  refused(path: string): Promise<void>;
  ask(path: string): Promise<number>;
  close(): Promise<void>;
}

const things = new Closables();
let root: string | undefined;
let ports: readonly number[] = [];
let region: RegionProcesses | undefined;
let load: RunningLoad | undefined;

function started(): RegionProcesses {
  if (region === undefined) throw new Error("the region was not started");
  return region;
}

async function records(): Promise<number> {
  let count = 0;
  for (const journal of started().journals) {
    for await (const { record } of readDecisions(journal)) if ("effect" in record) count += 1;
  }
  return count;
}

async function run(...command: readonly string[]): Promise<void> {
  const [file = "", ...args] = command;
  const { code, stderr } = await runProcess(file, args);
  if (code !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
}

const calls: RegionCalls = {
  running: async () => undefined,
  network: async (address) => {
    await run("ip", "link", "set", "lo", "up");
    await run("ip", "address", "add", address, "dev", "uplink");
    await run("ip", "link", "set", "uplink", "up");
    const web = await startWebServer({ name: "web" });
    things.keep(web);
    ports = await freePorts(PORTS);
    return { gateway: ports[0] ?? 0, web: web.port };
  },
  start: async (files, hub) => {
    root = files.root;
    region = await startRegion(files, { hub, ports }, things.keep);
    await isOpen(region);
  },
  load: async () => {
    load = startLoad({ regions: [started()] });
  },
  stopLoad: async () => {
    const result = await load?.stop();
    if (result === undefined) throw new Error("there is no load");
    return { ...result, records: await records() };
  },
  records,
  refused: async (path) => {
    const what = (): string => `/${path} refused\n${started().relay.process.stderr().slice(-2_000)}`;
    await waitFor(async () => (await started().ask(path)) === 403, WAIT_MS, what);
  },
  ask: (path) => started().ask(path),
  close: async () => {
    await things.close();
    if (root !== undefined) await rm(root, { recursive: true, force: true });
  },
};

interface Call {
  readonly id: number;
  readonly name: keyof RegionCalls;
  readonly args: readonly unknown[];
}

process.on("message", ({ id, name, args }: Call) => {
  const call: (...given: never[]) => Promise<unknown> = calls[name];
  call(...(args as never[])).then(
    (result) => process.send?.({ id, result }),
    (error) => process.send?.({ id, error: String(error) }),
  );
});
// Whoever calls is gone: nothing is left behind.
process.on("disconnect", () => void calls.close().finally(() => process.exit(1)));
