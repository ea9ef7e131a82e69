import { randomUUID } from "node:crypto";
import { link, open, readFile, readlink, rename, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ChanceryError } from "../resources/index.ts";
import { errorCode } from "./durable-file.ts";

/** Held while a directory belongs to a process. */
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

/** What is thrown where this process has the directory. */
export type InUse = (pid: number) => ChanceryError;

export interface LockOptions {
  /**
   * Told once where the holder cannot be looked up (another container, an earlier boot) and has shown life a short while
   * ago: it is waited for, these milliseconds at most.
   */
  readonly onWait?: (pid: number, milliseconds: number) => void;
  /** A holder that cannot be looked up is taken for dead after this long (milliseconds); 10,000 unless given. */
  readonly silenceMs?: number;
}

const ATTEMPTS = 40;
/** Between two of them: another process is taking the lock over meanwhile. */
const PAUSE_MS = 25;
const HEARTBEAT_MS = 2_000;
/** A holder whose pid cannot be looked up is taken for dead after this long without a sign of life. */
const SILENCE_MS = 10_000;
/** Between two looks at a holder that is waited for. */
const LOOK_MS = 100;

/**
 * Takes the lock file of a directory. A lock that a dead process left is taken over: by pid and start time where the
 * holder runs in the same pid namespace, else (another container, an earlier boot) when it is not touched any more: that is
 * waited for, until the holder shows life or has been silent for long enough.
 * For local disks; a directory that several machines write to needs another lock.
 *
 * @throws ChanceryError what `inUse` says while another process holds it
 */
export async function lockDirectory(
  directory: string,
  inUse: InUse,
  options: LockOptions = {},
): Promise<DirectoryLock> {
  const file = join(directory, "lock");
  const holder: Holder = { ...(await thisProcess()), nonce: randomUUID() };
  const own = `${file}.${holder.nonce}`;
  const handle = await open(own, "wx", 0o600);
  await handle.writeFile(JSON.stringify(holder));
  await handle.close();
  try {
    await take(file, own, inUse, options);
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

async function take(file: string, own: string, inUse: InUse, options: LockOptions): Promise<void> {
  const { silenceMs = SILENCE_MS } = options;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    // Unlike rename, link fails when the name is taken: of several processes exactly one gets it, with its content.
    if (await linked(own, file)) return;
    const found = await readHolder(file);
    if (found !== undefined && (await lives(file, found, silenceMs)) && !(await fallsSilent(file, found, options))) {
      throw inUse(found.pid);
    }
    if (await replaced(file, own, silenceMs)) return;
    await delay(PAUSE_MS);
  }
  throw new ChanceryError("conflict", `other processes are taking the lock ${file}; try again`);
}

/** Waits for a holder that cannot be looked up. @returns whether it showed no more life, or is gone */
async function fallsSilent(
  file: string,
  holder: Holder,
  { onWait, silenceMs = SILENCE_MS }: LockOptions,
): Promise<boolean> {
  if (holder.machine === (await thisProcess()).machine) return false;
  const touched = await touchedAt(file);
  if (touched === undefined) return true;
  // By its clock it may have been touched just now, or in a time to come.
  const longest = Math.min(silenceMs, Math.max(0, touched + silenceMs - Date.now()));
  onWait?.(holder.pid, longest);
  for (const since = performance.now(); performance.now() - since <= longest; ) {
    await delay(LOOK_MS);
    if ((await readHolder(file))?.nonce !== holder.nonce) return true;
    if ((await touchedAt(file)) !== touched) return false;
  }
  return true;
}

/** Milliseconds since the epoch; undefined: there is no such file. */
async function touchedAt(file: string): Promise<number | undefined> {
  return (await stat(file).catch(() => undefined))?.mtimeMs;
}

async function linked(own: string, name: string): Promise<boolean> {
  try {
    await link(own, name);
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw ChanceryError.from(error, "unavailable");
  }
}

/**
 * Puts `own` in the place of a lock that nobody holds, in one step, so that there always is one. Only who has the guard
 * does: whoever looked earlier would put his own in the place of the new one.
 */
async function replaced(file: string, own: string, silenceMs: number): Promise<boolean> {
  const guard = `${file}.takeover`;
  if (!(await linked(own, guard))) {
    const other = await readHolder(guard);
    if (other === undefined || !(await lives(guard, other, silenceMs))) await rm(guard, { force: true });
    return false;
  }
  try {
    const found = await readHolder(file);
    if (found !== undefined && (await lives(file, found, silenceMs))) return false;
    await rename(own, file);
    return true;
  } finally {
    await rm(guard, { force: true });
  }
}

async function lives(file: string, holder: Holder, silenceMs: number): Promise<boolean> {
  const self = await thisProcess();
  if (holder.machine === self.machine) return (await startOf(holder.pid)) === holder.started;
  const touched = await touchedAt(file);
  return touched !== undefined && Date.now() - touched < silenceMs;
}

async function thisProcess(): Promise<Omit<Holder, "nonce">> {
  const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "");
  const namespace = await readlink("/proc/self/ns/pid").catch(() => "");
  return { pid: process.pid, started: await startOf(process.pid), machine: `${boot.trim()} ${namespace}` };
}

/**
 * Field 22 of /proc/PID/stat; "" when there is no such process, or one that has ended and that nobody has asked about yet
 * (a zombie); elsewhere than on Linux whether it is there.
 *
 * @see proc(5)
 */
async function startOf(pid: number): Promise<string> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, "utf8");
    // The name of the program stands in brackets and may hold anything.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? "" : (fields[19] ?? "");
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
