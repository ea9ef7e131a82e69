import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { z } from "zod";
import { ChanceryError } from "../../../resources/index.ts";
import { freePorts } from "../../support/free-port.ts";
import { type SpawnedProcess, spawnProcess } from "../../support/spawn-process.ts";
import { waitFor } from "../../support/wait-for.ts";

const HERE = fileURLToPath(new URL(".", import.meta.url));
/** That of the command: as in its package, no process but the first has sources to strip of types and to compile. */
const COMPILE_CACHE = fileURLToPath(new URL("../../../.chancery/compile-cache", import.meta.url));
const START_MS = 30_000;
/** Connecting, two kinds of single changes, a burst. */
const STEPS = 4;
/** The server and its clients have a core each, so that neither takes time from the other. */
const CORE = { server: "0", loader: "1" } as const;

export type ServerName = "go-control-plane" | "chancery";

export interface Programs {
  readonly loader: string;
  readonly reference: string;
  close(): Promise<void>;
}

/** Builds the Go programs. @throws ChanceryError where there is no Go, or the build fails */
export async function buildPrograms(): Promise<Programs> {
  const directory = await mkdtemp(join(tmpdir(), "chancery-bench-xds-"));
  const build = (name: string) =>
    promisify(execFile)("go", ["build", "-C", HERE, "-o", join(directory, name), `./${name}`]);
  try {
    await build("loader");
    await build("reference");
  } catch (error) {
    await rm(directory, { recursive: true });
    throw new ChanceryError("unavailable", "the driver and the reference server need Go 1.26 or newer to be built", {
      cause: error,
    });
  }
  return {
    loader: join(directory, "loader"),
    reference: join(directory, "reference"),
    close: () => rm(directory, { recursive: true }),
  };
}

const Step = z.object({
  last_ack_median_ms: z.number(),
  cpu_ms: z.number(),
  loader_cpu_ms: z.number(),
  kib_in: z.number(),
  responses_per_node: z.number(),
});

/** What the loader measures (loader/main.go). Times in ms or s as named, CPU of the server but where it says loader. */
const Result = z.object({
  error: z.string().optional(),
  broken: z.number().optional(),
  connect_s: z.number().optional(),
  connect_cpu_s: z.number().optional(),
  connect_mib_in: z.number().optional(),
  weight: Step.optional(),
  endpoint: Step.optional(),
  burst: z
    .object({ changes: z.number(), applied: z.number(), lag_ms: z.number(), cpu_s: z.number(), mib_in: z.number() })
    .optional(),
  rss_mib: z.number().optional(),
});
export type Measured = z.infer<typeof Result>;

export interface Cell {
  readonly server: ServerName;
  readonly protocol: "delta" | "sotw";
  readonly nodes: number;
  readonly burstSeconds: number;
  readonly repeats: number;
  /** Directory for a CPU profile of our server. */
  readonly profile?: string | undefined;
}

/** Longest wait for one step; a busy machine needs more than what is measured on an idle one. */
function stepSeconds(nodes: number): number {
  return 90 + Math.ceil(nodes / 20);
}

/** Starts one server, drives it, and ends it. */
export async function measure(programs: Programs, cell: Cell): Promise<Measured> {
  const [xdsPort = 0, controlPort = 0] = await freePorts(2);
  const xds = `127.0.0.1:${xdsPort}`;
  const control = `127.0.0.1:${controlPort}`;
  const profiling = cell.profile === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${cell.profile}`];
  const command =
    cell.server === "chancery"
      ? [process.execPath, ...profiling, join(HERE, "server.ts"), "--xds", xds, "--control", control]
      : [programs.reference, "-mode", "B", "-xds", xds, "-control", control];
  const server = await pinned(CORE.server, command);
  try {
    await waitFor(
      async () => {
        if (server.ending() !== undefined) throw new Error(`${cell.server} ended: ${server.stderr()}`);
        return (await fetch(`http://${control}/stats`).catch(() => undefined))?.ok === true;
      },
      START_MS,
      `${cell.server} to answer`,
    );
    const loader = await pinned(CORE.loader, [
      ...[programs.loader, "-xds", xds, "-control", `http://${control}`, "-proto", cell.protocol],
      ...["-n", String(cell.nodes), "-reps", String(cell.repeats), "-secs", String(cell.burstSeconds)],
      ...["-limit", `${stepSeconds(cell.nodes)}s`],
    ]);
    try {
      await loader.waitForEnd(STEPS * stepSeconds(cell.nodes) * 1_000);
      const line = loader.stdout().trim().split("\n").at(-1) ?? "";
      return line === "" ? { error: `the loader failed: ${loader.stderr()}` } : Result.parse(JSON.parse(line));
    } finally {
      await loader.close();
    }
  } finally {
    await server.close();
  }
}

/** On one core, with one thread for Go code, and as many files as the machine allows. */
function pinned(core: string, command: readonly string[]): Promise<SpawnedProcess> {
  const run = `ulimit -n "$(ulimit -Hn)"; exec taskset -c ${core} "$@"`;
  return spawnProcess("sh", ["-c", run, "sh", ...command], {
    env: { GOMAXPROCS: "1", NODE_COMPILE_CACHE: COMPILE_CACHE },
  });
}
