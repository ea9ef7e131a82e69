import { randomUUID } from "node:crypto";
import { link, mkdir, readFile, readlink, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { SetupFailure, systemCode } from "./failure.mjs";

const HEARTBEAT_MS = 2_000;
const POLL_MS = 200;

/**
 * @typedef {object} Owner
 * @property {string} token  unique for each taking of the lock
 * @property {number} pid
 * @property {string} born   start of the process in clock ticks since boot, so that a reused pid is not taken for it
 * @property {string} where  machine and pid namespace in which `pid` means something
 */

/**
 * Takes the lock, waiting while a living process holds it. A lock whose owner is dead (same machine) or has been silent
 * for `silentMs` (another machine or container on the same disk) is taken over.
 *
 * @param {string} path  the lock file; its folder is made if need be
 * @param {{ waitMs: number, silentMs: number, onWait: (owner: Owner) => void, signal: AbortSignal }} options
 * @returns {Promise<() => Promise<void>>} gives the lock back; may be called twice
 */
export async function takeLock(path, { waitMs, silentMs, onWait, signal }) {
  const own = JSON.stringify(await describeSelf());
  const draft = `${path}.${randomUUID()}`;
  await mkdir(dirname(path), { recursive: true });
  await writeFile(draft, own);
  const deadline = Date.now() + waitMs;
  let told = false;
  try {
    for (;;) {
      if (await linkIfFree(draft, path)) break;
      const held = await readHolder(path);
      if (held === undefined) continue;
      if (await isStale(held, silentMs)) {
        await removeStale(path, held.text, draft, silentMs);
        continue;
      }
      if (!told) onWait(held.owner ?? UNKNOWN_OWNER);
      told = true;
      if (Date.now() > deadline) {
        throw new SetupFailure(
          `another set-up holds ${path} and has not ended in ${Math.round(waitMs / 60_000)} minutes; end it, or remove the file if none is running.`,
        );
      }
      await delay(POLL_MS, undefined, { signal });
    }
  } finally {
    await rm(draft, { force: true });
  }
  const heartbeat = setInterval(() => {
    const now = new Date();
    // The lock may just have been given back or taken over: then there is nothing to keep alive.
    utimes(path, now, now).catch(() => {});
  }, HEARTBEAT_MS);
  heartbeat.unref();
  let released = false;
  return async () => {
    if (released) return;
    released = true;
    clearInterval(heartbeat);
    // Not ours any more only where another machine has taken it over after a long silence.
    if ((await readHolder(path))?.text === own) await rm(path);
  };
}

/** @type {Owner} */
const UNKNOWN_OWNER = { token: "", pid: 0, born: "", where: "" };

/** @returns {Promise<Owner>} */
async function describeSelf() {
  return { token: randomUUID(), pid: process.pid, born: (await birth(process.pid)) ?? "", where: await whereabouts() };
}

async function whereabouts() {
  return `${hostname()} ${await readlink("/proc/self/ns/pid").catch(() => "")}`;
}

/**
 * Field 22 of /proc/PID/stat (proc_pid_stat(5)); the second field may itself hold spaces and brackets.
 *
 * @param {number} pid
 * @returns {Promise<string | undefined>} undefined: there is no such process
 */
async function birth(pid) {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  return text?.slice(text.lastIndexOf(")") + 2).split(" ")[19];
}

/**
 * link(2) fails where the name exists, also between machines, and never shows a half-written file.
 *
 * @param {string} draft
 * @param {string} path
 */
async function linkIfFree(draft, path) {
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false;
    throw error;
  }
}

/**
 * @param {string} path
 * @returns {Promise<{ text: string, owner: Owner | undefined, touchedAt: number } | undefined>}
 */
async function readHolder(path) {
  try {
    const text = await readFile(path, "utf8");
    const { mtimeMs } = await stat(path);
    return { text, owner: parseOwner(text), touchedAt: mtimeMs };
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * @param {string} text
 * @returns {Owner | undefined}
 */
function parseOwner(text) {
  try {
    const value = JSON.parse(text);
    return typeof value?.pid === "number" && typeof value.where === "string" ? value : undefined;
  } catch {
    // Not written by this program: only its age can tell whether it is alive.
    return undefined;
  }
}

/**
 * @param {{ owner: Owner | undefined, touchedAt: number }} held
 * @param {number} silentMs
 */
async function isStale({ owner, touchedAt }, silentMs) {
  if (owner !== undefined && owner.where === (await whereabouts())) return (await birth(owner.pid)) !== owner.born;
  return Date.now() - touchedAt > silentMs;
}

/**
 * Removes a stale lock, unless somebody was faster. Only one process at a time does this (`.takeover`), so nobody can take
 * the lock between the look and the removal.
 *
 * @param {string} path
 * @param {string} staleText
 * @param {string} draft  a file that says who this is
 * @param {number} silentMs
 */
async function removeStale(path, staleText, draft, silentMs) {
  const mutex = `${path}.takeover`;
  if (await linkIfFree(draft, mutex)) {
    try {
      if ((await readHolder(path))?.text === staleText) await rm(path);
    } finally {
      await rm(mutex, { force: true });
    }
    return;
  }
  const holder = await readHolder(mutex);
  // Its owner was ended in the instant between the two lines above.
  if (holder !== undefined && (await isStale(holder, silentMs))) await rm(mutex, { force: true });
}
