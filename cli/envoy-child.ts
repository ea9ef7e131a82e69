import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { bootstrapJson, type FoundProgram } from "../envoy/index.ts";
import { ChanceryError } from "../resources/index.ts";
import { ensureDirectory, type Revision } from "../revision/index.ts";
import type { NodeState } from "../xds-server/index.ts";
import { type Address, formatAddress } from "./address.ts";
import { listenerUrls } from "./listener-urls.ts";
import { type Logger, levelOf } from "./logging.ts";
import { type Supervised, supervise } from "./supervise.ts";

export interface EnvoyOptions {
  /** Key of the Gateway; absent: the only one of the tree. */
  readonly gateway?: string | undefined;
  readonly nodeId: string;
  readonly admin: Address;
  /** Worker threads; absent: as many as the machine has cores. */
  readonly concurrency?: number | undefined;
}

export interface EnvoyChildOptions extends EnvoyOptions {
  readonly program: FoundProgram;
  /** For its bootstrap. */
  readonly directory: string;
  readonly xds: string;
  readonly authz: readonly string[];
  readonly log: Logger;
  /** Called when it cannot be said which Gateway it is for. */
  readonly onFailure: (error: Error) => void;
}

const LEFTOVER_GRACE_MS = 3_000;

/** An Envoy that runs as a node of this control plane, from the first revision on. */
export class EnvoyChild {
  readonly #options: EnvoyChildOptions;
  readonly #bootstrapFile: string;
  readonly #pidFile: string;
  #gateway: string | undefined;
  #listeners: readonly string[] = [];
  #starting: Promise<Supervised | undefined> | undefined;
  #closed = false;

  constructor(options: EnvoyChildOptions) {
    this.#options = options;
    this.#bootstrapFile = join(options.directory, "bootstrap.json");
    this.#pidFile = join(options.directory, "pid");
  }

  /** Starts the Envoy at the first call. */
  onRevision(revision: Revision): void {
    const { gateway: wanted, onFailure } = this.#options;
    const keys = [...new Set(revision.layouts.map(({ nodeGroup }) => nodeGroup))].sort();
    const gateway = wanted ?? (keys.length === 1 ? keys[0] : undefined);
    const group = revision.nodeGroups.find(({ name }) => name === gateway);
    if (group !== undefined) this.#listeners = listenerUrls(group);
    if (this.#starting !== undefined || this.#closed) return;
    if (gateway === undefined || group === undefined) {
      // A gateway that is named may be added later; which of several is meant will never be known.
      if (wanted === undefined && keys.length === 0) return;
      const known = keys.length === 0 ? "there are none" : `there are ${keys.join(", ")}`;
      onFailure(new ChanceryError("invalid-argument", `name the Gateway that the Envoy serves by --gateway: ${known}`));
      return;
    }
    this.#gateway = gateway;
    this.#starting = this.#start(gateway).catch((error: unknown) => {
      onFailure(ChanceryError.from(error));
      return undefined;
    });
  }

  /** Whether it has acknowledged a revision. */
  isServing(nodes: readonly NodeState[]): boolean {
    const node = nodes.find(({ id, group }) => id === this.#options.nodeId && group === this.#gateway);
    return node?.connected === true && node.acknowledgedRevision !== undefined;
  }

  /** URLs that it listens on. */
  listeners(): readonly string[] {
    return this.#listeners;
  }

  /** Ends an Envoy that an earlier process with the same state directory left behind when it was killed. */
  async endLeftover(): Promise<void> {
    const pid = Number(await readFile(this.#pidFile, "utf8").catch(() => "0"));
    if (!(await this.#isOurs(pid))) return;
    this.#options.log.warn({ pid }, "ending an Envoy that was left behind");
    process.kill(pid, "SIGTERM");
    const end = performance.now() + LEFTOVER_GRACE_MS;
    while (performance.now() < end && (await this.#isOurs(pid))) await delay(50);
    if (await this.#isOurs(pid)) process.kill(pid, "SIGKILL");
    while (await this.#isOurs(pid)) await delay(50);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await (await this.#starting)?.close();
    await rm(this.#pidFile, { force: true });
  }

  async #start(gateway: string): Promise<Supervised | undefined> {
    const { program, directory, log, concurrency, nodeId, xds, authz, admin } = this.#options;
    const addresses = { xds: [xds], extAuthz: authz, admin: formatAddress(admin) };
    const json = bootstrapJson({ nodeId, nodeGroup: gateway, ...addresses });
    await ensureDirectory(directory);
    await writeFile(this.#bootstrapFile, `${JSON.stringify(json, undefined, 2)}\n`);
    if (this.#closed) return undefined;
    return supervise({
      name: "envoy",
      file: program.path,
      // One Envoy for a state directory: without hot restart it needs no number that is free on the whole machine.
      args: [
        ...["-c", this.#bootstrapFile, "--disable-hot-restart", "--log-level", "warning"],
        ...(concurrency === undefined ? [] : ["--concurrency", String(concurrency)]),
      ],
      log,
      onStart: (pid) => {
        // Only needed after a kill; without it a leftover is told by its ports.
        writeFile(this.#pidFile, String(pid)).catch((error: unknown) => log.warn({ err: error }, "no pid file"));
      },
      onLine: (line) => {
        const { level, message } = parseEnvoyLine(line);
        // What it says while it is being ended is expected.
        log[this.#closed ? "debug" : level]({ part: "envoy" }, message);
      },
    });
  }

  /** Whether the process runs our bootstrap: numbers of processes are given away again. Linux only, else false. */
  async #isOurs(pid: number): Promise<boolean> {
    if (!Number.isInteger(pid) || pid <= 0) return false;
    const commandLine = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    return commandLine.split("\0").includes(this.#bootstrapFile);
  }
}

/** `[2026-11-21 10:00:00.000][12][warning][config] [source/…cc:1] message`, or an entry of its access log (JSON). */
export function parseEnvoyLine(line: string): { readonly level: ReturnType<typeof levelOf>; readonly message: string } {
  if (line.startsWith("{")) return { level: "debug", message: line };
  const match = /^\[[^\]]*\]\[\d+\]\[(\w+)\]\[([^\]]*)\] (?:\[[^\]]*\] )?(.*)$/.exec(line);
  if (match === null) return { level: "info", message: line };
  const [, level = "", component, text] = match;
  return { level: levelOf(level), message: `${component}: ${text}` };
}
