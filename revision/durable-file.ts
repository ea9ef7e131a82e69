import { randomUUID } from "node:crypto";
import { link, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { ChanceryError } from "../resources/index.ts";

/**
 * Writing so that after a crash a file is there whole or not at all: bytes to a temporary file, fsync, rename (or link),
 * fsync of the directory. Temporary files lie in one directory per store, so that what a crash leaves is found.
 */
export interface DurableFiles {
  /** Creates or replaces `file`. */
  write(file: string, bytes: Uint8Array): Promise<void>;
  /** Creates `file`; false, and nothing is changed, when it is there already. */
  create(file: string, bytes: Uint8Array): Promise<boolean>;
  /** Removes temporary files that were last written before `time` (milliseconds since the epoch). */
  removeTemporary(time: number): Promise<void>;
}

/** @param temporary  directory for temporary files, on the same file system as the files to be written */
export function durableFiles(temporary: string): DurableFiles {
  const writeTemporary = async (bytes: Uint8Array): Promise<string> => {
    const file = join(temporary, randomUUID());
    try {
      const handle = await open(file, "wx", 0o600);
      try {
        await handle.writeFile(bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
    } catch (error) {
      await rm(file, { force: true });
      throw error;
    }
    return file;
  };
  return {
    write: async (file, bytes) => {
      await ensureDirectory(dirname(file));
      const written = await writeTemporary(bytes);
      try {
        await rename(written, file);
      } catch (error) {
        await rm(written, { force: true });
        throw error;
      }
      await syncDirectory(dirname(file));
    },
    create: async (file, bytes) => {
      await ensureDirectory(dirname(file));
      const written = await writeTemporary(bytes);
      try {
        // link, unlike rename, fails when the name is taken: of several writers exactly one gets it.
        await link(written, file);
      } catch (error) {
        if (errorCode(error) === "EEXIST") return false;
        throw error;
      } finally {
        await rm(written, { force: true });
      }
      await syncDirectory(dirname(file));
      return true;
    },
    removeTemporary: async (time) => {
      for (const name of await readdir(temporary)) {
        const file = join(temporary, name);
        try {
          if ((await stat(file)).mtimeMs < time) await rm(file, { force: true });
        } catch (error) {
          // Its writer was faster.
          if (errorCode(error) !== "ENOENT") throw error;
        }
      }
    },
  };
}

/**
 * Makes a directory (mode 0700) and its parents, and makes their names durable.
 *
 * @throws ChanceryError "unavailable" where it cannot be made: its place is read-only, full, not ours, or a file
 */
export async function ensureDirectory(directory: string): Promise<void> {
  try {
    // Not in one call: that of Node never ends where a file system answers ENOENT for a parent that is there (/proc).
    const missing: string[] = [];
    for (let at = resolve(directory); !(await isDirectory(at)); at = dirname(at)) missing.unshift(at);
    for (const path of missing) {
      await mkdir(path, { mode: 0o700 }).catch((error: unknown) => {
        // Another process was faster.
        if (errorCode(error) !== "EEXIST") throw error;
      });
      await syncDirectory(dirname(path));
    }
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ChanceryError("unavailable", `the directory ${directory} cannot be made: ${why}`, { cause });
  }
}

async function isDirectory(path: string): Promise<boolean> {
  try {
    if ((await stat(path)).isDirectory()) return true;
  } catch (error) {
    if (errorCode(error) === "ENOENT") return false;
    throw error;
  }
  throw new Error(`${path} is no directory`);
}

/** Makes creations, renames and removals in a directory durable. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** "ENOENT" and the like; undefined for what is no system error. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}
