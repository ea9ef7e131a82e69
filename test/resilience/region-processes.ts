import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { bootstrapJson, findEnvoy } from "../../envoy/index.ts";
import { startChancery } from "../support/chancery.ts";
import { startEnvoy } from "../support/envoy.ts";
import { http } from "../support/http-client.ts";
import { type RunningNats, startNats } from "../support/nats.ts";
import type { SpawnedProcess } from "../support/spawn-process.ts";
import { waitFor } from "../support/wait-for.ts";

export const WAIT_MS = 60_000;
/** As in the configurations that are delivered (`deploy/nats`). */
export const PINGS = 'ping_interval: "3s"\nping_max: 2\n';

/** Ports of a region: Envoy, two decision services, xDS, the relay's admin API. */
export const PORTS = 5;

/** A process that can be started again as it was. */
export interface Restartable {
  readonly name: string;
  /** Ends it at once (SIGKILL). */
  kill(): Promise<void>;
  start(): Promise<void>;
}

/** One `chancery` process. */
export class Child implements Restartable {
  readonly name: string;
  readonly address: string;
  readonly #args: readonly string[];
  #process: SpawnedProcess | undefined;

  constructor(name: string, address: string, args: readonly string[]) {
    this.name = name;
    this.address = address;
    this.#args = args;
  }

  get process(): SpawnedProcess {
    if (this.#process === undefined) throw new Error(`${this.name} was not started`);
    return this.#process;
  }

  async start(): Promise<void> {
    await this.startOnly();
    await this.process.waitForOutput(/^ready /m, WAIT_MS);
  }

  /** Does not wait until it is ready. */
  async startOnly(): Promise<void> {
    this.#process = await startChancery([...this.#args, "--log-format", "json"]);
  }

  async kill(): Promise<void> {
    this.process.signal("SIGKILL");
    await this.process.ended;
  }

  async close(): Promise<void> {
    this.#process?.signal("SIGCONT");
    await this.#process?.close();
  }
}

/** What runs in a region: its NATS (a leaf node of the hub), relay, xDS server, two decision services and Envoy. */
export interface RegionProcesses {
  readonly name: string;
  readonly url: string;
  readonly nats: RunningNats;
  readonly relay: Child;
  readonly xds: Child;
  readonly authz: readonly Child[];
  /** Directories of the decision services' journals. */
  readonly journals: readonly string[];
  /** Status of the answer to a GET; 0: none. */
  ask(path: string): Promise<number>;
}

export interface RegionFiles {
  readonly name: string;
  /** For the state of its processes. */
  readonly root: string;
  readonly trust: string;
  /** Directory that secret files are relative to. */
  readonly secrets: string;
}

/**
 * Starts the processes of a region on 127.0.0.1.
 *
 * @param places  `hub`: where its NATS reaches the hub for leaf nodes, `host:port`; `ports`: as `PORTS` says
 * @param keep  takes what is to be closed, last started first
 */
export async function startRegion(
  { name, root, trust, secrets }: RegionFiles,
  places: { readonly hub: string; readonly ports: readonly number[] },
  keep: <T extends { close(): unknown }>(thing: T) => T,
): Promise<RegionProcesses> {
  const [port, authz1, authz2, xdsPort, adminPort] = places.ports;
  await mkdir(root, { recursive: true });
  const config = `${PINGS}leafnodes { remotes: [{ url: "nats://${places.hub}" }], reconnect: "1s" }`;
  const nats = keep(await startNats({ domain: name, config }));
  const bus = ["--nats", nats.url, "--nats-prefix", name, "--trust", trust];
  const state = (process: string): string[] => ["--state", join(root, process)];
  const relayAdmin = `127.0.0.1:${adminPort}`;
  const relay = new Child(`relay ${name}`, relayAdmin, [
    ...["relay", "--nats", nats.url, "--nats-domain", "hub", "--trust", trust, ...state("relay")],
    ...["--region", name, "--region-nats", nats.url, "--admin", relayAdmin],
  ]);
  const journals: string[] = [];
  const authz = [authz1, authz2].map((own, index) => {
    const [listen, process] = [`127.0.0.1:${own}`, `authz-${index + 1}`];
    journals.push(join(root, process, "journal"));
    return new Child(`${process} ${name}`, listen, [
      ...["authz", ...bus, "--listen", listen, "--name", process, ...state(process)],
    ]);
  });
  const xdsAddress = `127.0.0.1:${xdsPort}`;
  const xds = new Child(`xds ${name}`, xdsAddress, [
    ...["xds", ...bus, "--listen", xdsAddress, "--secrets", secrets, ...state("xds")],
  ]);
  for (const child of [relay, ...authz, xds]) await keep(child).start();
  const bootstrap = bootstrapJson({
    nodeId: `envoy-${name}`,
    nodeGroup: `edge-${name}`,
    xds: [xdsAddress],
    extAuthz: authz.map(({ address }) => address),
    admin: "127.0.0.1:0",
  });
  keep(await startEnvoy({ binary: (await findEnvoy(process.env)).path, concurrency: 1, bootstrap }));
  const url = `http://127.0.0.1:${port}`;
  const ask = async (path: string): Promise<number> => {
    try {
      return (await http(`${url}/${path}`, { timeoutMs: 5_000 })).status;
    } catch {
      // Refused or reset: what is asked here is only how it is answered.
      return 0;
    }
  };
  return { name, url, nats, relay, xds, authz, journals, ask };
}

/** Waits until the Envoy of a region lets through what is open. */
export async function isOpen({ name, ask, xds }: RegionProcesses): Promise<void> {
  const open = async (): Promise<boolean> => (await ask("open")) === 200;
  await waitFor(open, WAIT_MS, () => `an Envoy in ${name} that lets /open through\n${xds.process.stderr()}`);
}
