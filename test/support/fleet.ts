import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { readDecisions } from "../../audit/index.ts";
import { bootstrapJson, findEnvoy } from "../../envoy/index.ts";
import type { DecisionRecord } from "../../ext-authz/index.ts";
import { startChancery } from "./chancery.ts";
import { type RunningEnvoy, startEnvoy } from "./envoy.ts";
import { freePorts } from "./free-port.ts";
import { http } from "./http-client.ts";
import type { SpawnedProcess } from "./spawn-process.ts";
import { waitFor } from "./wait-for.ts";

export interface FleetOptions {
  /** Path in the resource tree → YAML. The Gateway must be called `edge`. */
  readonly resources: Readonly<Record<string, string>>;
  /** Other files of the tree: certificates, keys, JWKS. */
  readonly files?: Readonly<Record<string, string>>;
  /** 2 by default. */
  readonly decisionServices?: number;
  /** Worker threads of the Envoy; 1 by default. */
  readonly concurrency?: number;
  /** Addresses that Envoy asks in place of the fleet's own decision services. */
  readonly extAuthz?: readonly string[];
  /** Makes the address that Envoy connects to in place of the xDS server's own. */
  readonly xds?: (own: string) => Promise<string>;
  /** Path of an Envoy in place of the one that set-up found. */
  readonly envoy?: string;
}

/** An xDS server, decision services and an Envoy, each a process of its own, over one resource tree. */
export interface Fleet {
  /** Root of the resource tree. */
  readonly directory: string;
  readonly envoy: RunningEnvoy;
  /** Address of the xDS server's health and metrics. */
  readonly xdsAdmin: string;
  xds(): SpawnedProcess;
  decisionServices(): readonly SpawnedProcess[];
  /** Address of a decision service, as Envoy reaches it. */
  decisionAddress(index: number): string;
  /** Address of a decision service's health and metrics. */
  decisionAdmin(index: number): string;
  /** Directory of the journal of a decision service. */
  journal(index: number): string;
  /** Writes a file of the tree, as an editor would. */
  write(path: string, text: string): Promise<void>;
  /** Starts the xDS server (or a decision service) again, with its state, after it has ended. */
  restartXds(): Promise<void>;
  restartDecisionService(index: number): Promise<void>;
  /** Every decision that is on disk, of all services, in no order. */
  records(): Promise<DecisionRecord[]>;
  /** Waits until the record with this id is on disk. */
  record(id: string): Promise<DecisionRecord>;
  /** The value of a metric of the xDS server, summed over its labels that contain `labels`. */
  xdsMetric(name: string, labels?: string): Promise<number>;
  /** The same of a decision service. */
  decisionMetric(index: number, name: string, labels?: string): Promise<number>;
  close(): Promise<void>;
}

const START_MS = 60_000;

/** Starts a fleet; `close()` ends every process and removes every file. */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const root = await mkdtemp(join(tmpdir(), "chancery-fleet-"));
  const directory = join(root, "resources");
  const write = async (path: string, text: string): Promise<void> => {
    const file = join(directory, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  };
  for (const [path, text] of Object.entries({ ...options.files, ...options.resources })) await write(path, text);

  const count = options.decisionServices ?? 2;
  const [xdsPort, xdsAdminPort, ...others] = await freePorts(2 + 2 * count);
  const authzPorts = others.slice(0, count);
  const authzAdminPorts = others.slice(count);
  const xdsAddress = `127.0.0.1:${xdsPort}`;
  const xdsAdmin = `127.0.0.1:${xdsAdminPort}`;
  const decisionAdmin = (index: number): string => `127.0.0.1:${authzAdminPorts[index]}`;
  const journal = (index: number): string => join(root, `authz-${index}`, "journal");
  const started: { close(): Promise<void> }[] = [];
  const close = async (): Promise<void> => {
    await Promise.all(started.splice(0).map((thing) => thing.close()));
    await rm(root, { recursive: true, force: true });
  };
  const start = async (args: readonly string[]): Promise<SpawnedProcess> => {
    const child = await startChancery([...args, "--log-format", "json"]);
    started.push(child);
    await child.waitForOutput(/^ready /m, START_MS);
    return child;
  };
  const startXds = (): Promise<SpawnedProcess> =>
    start(
      ["xds", "--resources", directory, "--listen", xdsAddress, "--admin", xdsAdmin].concat(
        "--state",
        join(root, "xds"),
      ),
    );
  const startAuthz = (index: number): Promise<SpawnedProcess> =>
    start(
      [
        "authz",
        "--resources",
        directory,
        "--listen",
        `127.0.0.1:${authzPorts[index]}`,
        "--admin",
        decisionAdmin(index),
        "--name",
        `authz-${index}`,
      ].concat("--state", join(root, `authz-${index}`)),
    );

  try {
    const services = await Promise.all(authzPorts.map((_, index) => startAuthz(index)));
    let xds = await startXds();
    const envoy = await startEnvoy({
      binary: options.envoy ?? (await findEnvoy(process.env)).path,
      concurrency: options.concurrency ?? 1,
      bootstrap: bootstrapJson({
        nodeId: "edge-1",
        nodeGroup: "edge",
        xds: [(await options.xds?.(xdsAddress)) ?? xdsAddress],
        extAuthz: options.extAuthz ?? authzPorts.map((port) => `127.0.0.1:${port}`),
        admin: "127.0.0.1:0",
      }),
    });
    started.push(envoy);
    const records = async (): Promise<DecisionRecord[]> => {
      const found: DecisionRecord[] = [];
      for (const index of authzPorts.keys()) {
        for await (const { record } of readDecisions(journal(index))) {
          if ("effect" in record) found.push(record);
        }
      }
      return found;
    };
    await waitFor(
      async () => Object.keys(await envoy.listenerPorts()).length > 0,
      START_MS,
      () => `a listener in Envoy\n${xds.stderr()}`,
    );
    return {
      directory,
      envoy,
      xdsAdmin,
      xds: () => xds,
      decisionServices: () => services,
      decisionAddress: (index) => `127.0.0.1:${authzPorts[index]}`,
      decisionAdmin,
      journal,
      write,
      restartXds: async () => {
        await xds.close();
        xds = await startXds();
      },
      restartDecisionService: async (index) => {
        await services[index]?.close();
        services[index] = await startAuthz(index);
      },
      records,
      record: (id) =>
        waitFor(
          async () => (await records()).find((record) => record.id === id),
          5_000,
          `the record of decision ${id}`,
        ),
      xdsMetric: (name, labels) => readMetric(xdsAdmin, name, labels),
      decisionMetric: (index, name, labels) => readMetric(decisionAdmin(index), name, labels),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The value of a Prometheus metric, summed over its series whose labels contain `labels`; 0 when there is none. */
export async function readMetric(address: string, name: string, labels = ""): Promise<number> {
  const text = (await http(`http://${address}/metrics`)).text();
  return text
    .split("\n")
    .filter((line) => (line.startsWith(`${name} `) || line.startsWith(`${name}{`)) && line.includes(labels))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}
