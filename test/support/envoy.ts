import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { http } from "./http-client.ts";
import { type SpawnedProcess, spawnProcess } from "./spawn-process.ts";
import { waitFor } from "./wait-for.ts";

export interface EnvoyOptions {
  /** The whole bootstrap, as YAML or as data. Its admin port may be 0. */
  readonly bootstrap: string | object;
  /** Path of the binary. */
  readonly binary: string;
  /** Worker threads; 1 by default. */
  readonly concurrency?: number;
  /** "warning" by default; "debug" for one that misbehaves. */
  readonly logLevel?: string;
  /** Waits until /ready says LIVE; true by default. */
  readonly waitUntilReady?: boolean;
}

/** A real Envoy. */
export interface RunningEnvoy {
  readonly adminPort: number;
  readonly process: SpawnedProcess;
  /** Listener name → ports of its addresses. */
  listenerPorts(): Promise<Readonly<Record<string, readonly number[]>>>;
  /** Counters and gauges whose name matches. */
  stats(filter?: string): Promise<Readonly<Record<string, number>>>;
  /** `/config_dump` with endpoints; secrets are redacted by Envoy itself. */
  configDump(): Promise<unknown>;
  /** Any admin page. */
  admin(path: string, method?: "GET" | "POST"): Promise<string>;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts an Envoy of its own, independent of any other on the machine. */
export async function startEnvoy(options: EnvoyOptions): Promise<RunningEnvoy> {
  const directory = await mkdtemp(join(tmpdir(), "chancery-envoy-"));
  const adminFile = join(directory, "admin");
  const isText = typeof options.bootstrap === "string";
  const bootstrapFile = join(directory, isText ? "bootstrap.yaml" : "bootstrap.json");
  await writeFile(bootstrapFile, isText ? String(options.bootstrap) : JSON.stringify(options.bootstrap));
  const child = await spawnProcess(options.binary, [
    ...["-c", bootstrapFile, "--admin-address-path", adminFile, "--disable-hot-restart"],
    ...["--concurrency", String(options.concurrency ?? 1), "--log-level", options.logLevel ?? "warning"],
  ]);
  const close = async (): Promise<void> => {
    await child.close();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    const adminPort = await waitFor(
      async () => {
        if (child.ending() !== undefined) return -1;
        const text = await readFile(adminFile, "utf8");
        return Number(text.slice(text.lastIndexOf(":") + 1)) || undefined;
      },
      20_000,
      () => `Envoy's admin address\n${child.stderr()}`,
    );
    if (adminPort < 0) throw new Error(`Envoy ended:\n${child.stderr()}`);
    const admin = async (path: string, method: "GET" | "POST" = "GET"): Promise<string> => {
      const answer = await http(`http://127.0.0.1:${adminPort}${path}`, { method });
      if (answer.status !== 200) throw new Error(`${answer.status} from admin ${path}: ${answer.text()}`);
      return answer.text();
    };
    if (options.waitUntilReady !== false) {
      await waitFor(
        async () => (await admin("/ready")).includes("LIVE"),
        20_000,
        () => `a ready Envoy\n${child.stderr()}`,
      );
    }
    return {
      adminPort,
      process: child,
      listenerPorts: async () => parseListeners(await admin("/listeners?format=json")),
      stats: (filter) => readEnvoyStats(adminPort, filter),
      configDump: async () => JSON.parse(await admin("/config_dump?include_eds")),
      admin,
      close,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Counters and gauges whose name matches, of any Envoy. */
export async function readEnvoyStats(adminPort: number, filter = ""): Promise<Readonly<Record<string, number>>> {
  const answer = await http(`http://127.0.0.1:${adminPort}/stats?filter=${encodeURIComponent(filter)}`);
  if (answer.status !== 200) throw new Error(`${answer.status} from /stats: ${answer.text()}`);
  return parseStats(answer.text());
}

interface SocketAddress {
  readonly socket_address?: { readonly port_value?: number };
}

function parseListeners(text: string): Record<string, number[]> {
  const { listener_statuses = [] } = JSON.parse(text) as {
    listener_statuses?: {
      name: string;
      local_address?: SocketAddress;
      additional_local_addresses?: SocketAddress[];
    }[];
  };
  return Object.fromEntries(
    listener_statuses.map((status) => [
      status.name,
      [status.local_address, ...(status.additional_local_addresses ?? [])].flatMap(
        (address) => address?.socket_address?.port_value ?? [],
      ),
    ]),
  );
}

function parseStats(text: string): Record<string, number> {
  const stats: Record<string, number> = {};
  for (const line of text.split("\n")) {
    // Histograms and text values have other forms and are left out.
    const match = /^(\S+): (\d+)$/.exec(line);
    if (match?.[1] !== undefined) stats[match[1]] = Number(match[2]);
  }
  return stats;
}
