import { open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { ChanceryError } from "../resources/index.ts";
import { ensureDirectory } from "../revision/index.ts";

/** A state directory belongs to one process at a time. */
export interface StateLock {
  /** Safe to call twice. */
  close(): Promise<void>;
}

const ATTEMPTS = 5;

/**
 * Takes `<directory>/lock`, which names the process that holds it; one that is gone holds nothing.
 *
 * @throws ChanceryError "unavailable" when another process holds it
 */
export async function lockState(directory: string): Promise<StateLock> {
  await ensureDirectory(directory);
  const file = join(directory, "lock");
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    try {
      const handle = await open(file, "wx", 0o600);
      await handle.writeFile(`${process.pid} ${(await startOf(process.pid)) ?? ""}\n`);
      await handle.close();
      return { close: () => rm(file, { force: true }) };
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    }
    const [pid = "", start = ""] = (await readFile(file, "utf8").catch(() => "")).trim().split(" ");
    if (await isRunning(Number(pid), start)) {
      throw new ChanceryError(
        "unavailable",
        `the state directory ${directory} is in use by process ${pid}: stop it, or choose another by --state`,
      );
    }
    await rm(file, { force: true });
  }
  throw new ChanceryError("unavailable", `the state directory ${directory} could not be locked: others try as well`);
}

async function isRunning(pid: number, start: string): Promise<boolean> {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // It is there, and belongs to somebody else.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
  const now = await startOf(pid);
  return now !== "" && (now === undefined || start === "" || now === start);
}

/**
 * When a process was started, in ticks since boot: tells it from a later one with its number. "" for one that has ended
 * and that nobody has asked about yet (a zombie). Linux only.
 */
async function startOf(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    // proc(5): fields 3 and 22; the name in field 2 may hold anything, so count from its closing bracket.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? "" : fields[19];
  } catch {
    // No /proc here, or the process is gone: then its number alone decides.
    return undefined;
  }
}
