import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { readDecisions } from "../../audit/index.ts";
import type { DecisionRecord } from "../../ext-authz/index.ts";
import { runChancery, startChancery } from "./chancery.ts";
import { readEnvoyStats } from "./envoy.ts";
import { readMetric } from "./fleet.ts";
import { freePorts } from "./free-port.ts";
import { http } from "./http-client.ts";
import type { SpawnedProcess } from "./spawn-process.ts";

export interface ControlPlaneOptions {
  /** Path in the resource tree → YAML. There is one Gateway. */
  readonly resources: Readonly<Record<string, string>>;
  /** Further arguments of `chancery start`. */
  readonly args?: readonly string[];
}

/** `chancery start --envoy`: one process with its children (two decision services and an Envoy) over a resource tree. */
export interface RunningControlPlane {
  /** Root of the resource tree. */
  readonly directory: string;
  /** Everything that the processes keep. */
  readonly state: string;
  /** HOST:PORT of the admin API. */
  readonly control: string;
  process(): SpawnedProcess;
  /** Lines for people since the start, "ready" first. */
  progress(): readonly string[];
  /** What `chancery status` prints. */
  status(): Promise<string>;
  /** A page of Envoy's admin interface. */
  envoyAdmin(path: string): Promise<string>;
  /** Whose name matches. */
  envoyStats(filter: string): Promise<Readonly<Record<string, number>>>;
  /** The value of a metric of the control plane, summed over its labels that contain `labels`. */
  metric(name: string, labels?: string): Promise<number>;
  /** Writes a file of the tree, as an editor would. */
  write(path: string, text: string): Promise<void>;
  /** Ends all and starts all again, with the same state. */
  restart(): Promise<void>;
  /** Every decision that is on disk, of both services. */
  records(): Promise<DecisionRecord[]>;
  close(): Promise<void>;
}

const START_MS = 60_000;
const SERVICES = ["authz-1", "authz-2"];

/** Starts it, and waits until it says that it is ready. `close()` ends every process and removes every file. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<RunningControlPlane> {
  const root = await mkdtemp(join(tmpdir(), "chancery-start-"));
  const directory = join(root, "resources");
  const state = join(root, "state");
  const write = async (path: string, text: string): Promise<void> => {
    const file = join(directory, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  };
  for (const [path, text] of Object.entries(options.resources)) await write(path, text);
  const [xds = 0, authz1 = 0, authz2 = 0, controlPort = 0, envoyAdmin = 0] = await freePorts(5);
  const control = `127.0.0.1:${controlPort}`;
  const start = async (): Promise<SpawnedProcess> => {
    const args = [
      ...["start", "--envoy", "--resources", directory, "--state", state, "--envoy-concurrency", "1"],
      ...["--xds", `127.0.0.1:${xds}`, "--authz", `127.0.0.1:${authz1},127.0.0.1:${authz2}`],
      ...["--control", control, "--envoy-admin", `127.0.0.1:${envoyAdmin}`, "--log-format", "json"],
      ...(options.args ?? []),
    ];
    // It ends its children itself, and needs the time for it: what it leaves behind nobody ends.
    const child = await startChancery(args, { graceMs: 20_000 });
    try {
      await child.waitForOutput(/^ready /m, START_MS);
      return child;
    } catch (error) {
      await child.close();
      throw error;
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
    directory,
    state,
    control,
    process: () => child,
    progress: () => child.stdout().split("\n").slice(0, -1),
    status: async () => {
      const { code, stdout, stderr } = await runChancery("status", "--control", control);
      if (code !== 0) throw new Error(stderr);
      return stdout;
    },
    envoyAdmin: async (path) => {
      const answer = await http(`http://127.0.0.1:${envoyAdmin}${path}`);
      if (answer.status !== 200) throw new Error(`${answer.status} from admin ${path}: ${answer.text()}`);
      return answer.text();
    },
    envoyStats: (filter) => readEnvoyStats(envoyAdmin, filter),
    metric: (name, labels) => readMetric(control, name, labels),
    write,
    restart: async () => {
      await child.close();
      child = await start();
    },
    records: async () => {
      const found: DecisionRecord[] = [];
      for (const service of SERVICES) {
        for await (const { record } of readDecisions(join(state, "journal", service))) {
          if ("effect" in record) found.push(record);
        }
      }
      return found;
    },
    close: async () => {
      await child.close();
      await rm(root, { recursive: true, force: true });
    },
  };
}
