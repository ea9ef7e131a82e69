import { randomUUID } from "node:crypto";
import { link, open, readFile, readlink, rename, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { ChanceryError } from "../resources/index.ts";
import { errorCode } from "../revision/index.ts";

/** Held while a process writes to a directory. */
export interface DirectoryLock {
  /** Safe to call twice. */
  release(): Promise<void>;
}

/** Who holds a lock, so that another process can tell whether it still lives. */
interface Holder {
  readonly pid: number;
  /** When the process started, in clock ticks since boot: a pid alone is used again. */
  readonly started: string;
  /** Boot and pid namespace: pids are compared only within one. */
  readonly machine: string;
  readonly nonce: string;
}

const HEARTBEAT_MS = 2_000;
/** A holder whose pid cannot be looked up is taken for dead after this long without a sign of life. */
const SILENCE_MS = 10_000;

/**
 * Takes the lock file of a directory. A lock that a dead process left is taken over: by pid and start time where the
 * holder runs in the same pid namespace, else (another container, an earlier boot) when it is not touched any more.
 * For local disks; a directory that several machines write to needs another lock.
 *
 * @throws ChanceryError "conflict" while another process holds it
 */
export async function lockDirectory(directory: string): Promise<DirectoryLock> {
  const file = join(directory, "lock");
  const holder: Holder = { ...(await thisProcess()), nonce: randomUUID() };
  const own = `${file}.${holder.nonce}`;
  const handle = await open(own, "wx", 0o600);
  await handle.writeFile(JSON.stringify(holder));
  await handle.close();
  try {
    await take(file, own);
  } finally {
    await rm(own, { force: true });
  }
  const heartbeat = setInterval(() => {
    const now = new Date();
    // A directory that is gone or read-only cannot be written to either; appends say so.
    utimes(file, now, now).catch(() => undefined);
  }, HEARTBEAT_MS);
  heartbeat.unref();
  let released = false;
  return {
    release: async () => {
      if (released) return;
      released = true;
      clearInterval(heartbeat);
      if ((await readHolder(file))?.nonce === holder.nonce) await rm(file, { force: true });
    },
  };
}

async function take(file: string, own: string): Promise<void> {
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      // Unlike rename, link fails when the name is taken: of several processes exactly one gets it, with its content.
      await link(own, file);
      return;
    } catch (error) {
      if (errorCode(error) !== "EEXIST") throw ChanceryError.from(error, "unavailable");
    }
    const found = await readHolder(file);
    if (found !== undefined && (await lives(file, found))) {
      throw new ChanceryError(
        "conflict",
        `process ${found.pid} writes to this journal already (${file}); give each process a directory of its own`,
      );
    }
    // Moved aside before it is removed: if another process was faster and the file is a new lock, it is put back.
    const aside = `${own}.stale`;
    await rename(file, aside).catch(() => undefined);
    const moved = await readHolder(aside);
    if (moved !== undefined && moved.nonce !== found?.nonce) await link(aside, file).catch(() => undefined);
    await rm(aside, { force: true });
  }
  throw new ChanceryError("conflict", `other processes are taking the lock ${file}; try again`);
}

async function lives(file: string, holder: Holder): Promise<boolean> {
  const self = await thisProcess();
  if (holder.machine === self.machine) return (await startOf(holder.pid)) === holder.started;
  const entry = await stat(file).catch(() => undefined);
  return entry !== undefined && Date.now() - entry.mtimeMs < SILENCE_MS;
}

async function thisProcess(): Promise<Omit<Holder, "nonce">> {
  const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "");
  const namespace = await readlink("/proc/self/ns/pid").catch(() => "");
  return { pid: process.pid, started: await startOf(process.pid), machine: `${boot.trim()} ${namespace}` };
}

/** Field 22 of /proc/PID/stat; "" when there is no such process; elsewhere than on Linux whether it is there. */
async function startOf(pid: number): Promise<string> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, "utf8");
    // The name of the program stands in brackets and may hold anything.
    return text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    if (process.platform === "linux") return "";
  }
  try {
    process.kill(pid, 0);
    return "alive";
  } catch {
    // No such process.
    return "";
  }
}

async function readHolder(file: string): Promise<Holder | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(file, "utf8"));
    if (typeof value !== "object" || value === null) return undefined;
    const { pid, started, machine, nonce } = value as Partial<Record<keyof Holder, unknown>>;
    if (typeof pid !== "number" || typeof started !== "string") return undefined;
    if (typeof machine !== "string" || typeof nonce !== "string") return undefined;
    return { pid, started, machine, nonce };
  } catch {
    // Not there, or not ours: nobody's.
    return undefined;
  }
}
