import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findNatsServer } from "../../envoy/index.ts";
import { freePorts } from "./free-port.ts";
import { http } from "./http-client.ts";
import { type SpawnedProcess, spawnProcess } from "./spawn-process.ts";
import { waitFor } from "./wait-for.ts";

export interface NatsOptions {
  /** More lines of its configuration. */
  readonly config?: string;
  /** Variables of its environment, which its configuration may use. */
  readonly env?: Readonly<Record<string, string>>;
  /** Its JetStream domain. */
  readonly domain?: string;
  /** Listens for leaf nodes, too. */
  readonly leafNodes?: boolean;
}

/** A nats-server with JetStream and a store of its own, on 127.0.0.1. */
export interface RunningNats {
  readonly url: string;
  /** URL of its monitoring. */
  readonly monitor: string;
  /** URL for leaf nodes. */
  readonly leafUrl: string;
  process(): SpawnedProcess;
  /** Ends it at once (SIGKILL). */
  kill(): Promise<void>;
  /** Stops it without ending it; `thaw` lets it go on. */
  freeze(): void;
  thaw(): void;
  /** Removes what it stored; it must not be running. */
  wipe(): Promise<void>;
  /** Starts it again, on the same ports and store. */
  start(): Promise<void>;
  /** Ends it and removes every file. */
  close(): Promise<void>;
}

const START_MS = 15_000;

/** Starts a nats-server, and waits until JetStream answers. */
export async function startNats(options: NatsOptions = {}): Promise<RunningNats> {
  const { path } = await findNatsServer(process.env);
  const root = await mkdtemp(join(tmpdir(), "chancery-nats-"));
  const store = join(root, "store");
  const [port = 0, monitorPort = 0, leafPort = 0] = await freePorts(3);
  const monitor = `http://127.0.0.1:${monitorPort}`;
  const domain = options.domain === undefined ? "" : `, domain: ${options.domain}`;
  const config = [
    `listen: "127.0.0.1:${port}"`,
    `http: "127.0.0.1:${monitorPort}"`,
    `jetstream: { store_dir: ${JSON.stringify(store)}, max_file_store: 4GB, max_memory_store: 256MB${domain} }`,
    ...(options.leafNodes === true ? [`leafnodes { listen: "127.0.0.1:${leafPort}", no_advertise: true }`] : []),
    options.config ?? "",
  ];
  const file = join(root, "nats.conf");
  await writeFile(file, config.join("\n"));
  const start = async (): Promise<SpawnedProcess> => {
    const child = await spawnProcess(path, ["-c", file, "-l", join(root, "log")], { env: options.env ?? {} });
    try {
      const answers = async (): Promise<boolean> => {
        if (child.ending() !== undefined) return true;
        return (await http(`${monitor}/healthz`)).status === 200;
      };
      await waitFor(answers, START_MS, "a nats-server that is healthy");
      if (child.ending() !== undefined) throw new Error("nats-server ended at once");
      return child;
    } catch (cause) {
      await child.close();
      throw new Error(await readFile(join(root, "log"), "utf8"), { cause });
    }
  };
  let child: SpawnedProcess;
  try {
    child = await start();
  } catch (error) {
    await rm(root, { recursive: true, force: true });
    throw error;
  }
  return {
    url: `nats://127.0.0.1:${port}`,
    monitor,
    leafUrl: `nats://127.0.0.1:${leafPort}`,
    process: () => child,
    kill: async () => {
      child.signal("SIGKILL");
      await child.ended;
    },
    freeze: () => child.signal("SIGSTOP"),
    thaw: () => child.signal("SIGCONT"),
    wipe: () => rm(store, { recursive: true, force: true }),
    start: async () => {
      child = await start();
    },
    close: async () => {
      // A frozen process takes no other signal.
      child.signal("SIGKILL");
      await child.ended;
      await rm(root, { recursive: true, force: true });
    },
  };
}
