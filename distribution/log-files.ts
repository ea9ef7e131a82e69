import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { ChanceryError } from "../resources/index.ts";
import { durableFiles, ensureDirectory, errorCode } from "../revision/index.ts";
import { MAX_LOG_ENTRY_BYTES } from "./bus-limits.ts";
import type { SignedLogEntry } from "./log-statement.ts";

/** The operational log on the disk of one process: `<sequence>-<first digits of the digest>.json`, each written whole. */
export interface LogFiles {
  /** As they were written, by sequence; not verified. */
  read(): Promise<readonly Uint8Array[]>;
  /** Resolves when it is durable; replaces what the file of this entry holds. */
  write(entry: SignedLogEntry): Promise<void>;
  remove(entry: SignedLogEntry): Promise<void>;
}

/** @param onAlarm  told of files that cannot be read */
export async function openLogFiles(directory: string, onAlarm: (alarm: ChanceryError) => void): Promise<LogFiles> {
  const temporary = join(directory, "tmp");
  await ensureDirectory(temporary);
  const files = durableFiles(temporary);
  await files.removeTemporary(Number.POSITIVE_INFINITY);
  const fileOf = ({ sequence, digest }: SignedLogEntry): string => {
    return join(directory, `${String(sequence).padStart(8, "0")}-${digest.replace("sha256:", "").slice(0, 16)}.json`);
  };
  return {
    read: async () => {
      const entries: Uint8Array[] = [];
      for (const name of (await readdir(directory)).filter((each) => each.endsWith(".json")).sort()) {
        const file = join(directory, name);
        try {
          if ((await stat(file)).size > MAX_LOG_ENTRY_BYTES) throw new ChanceryError("corrupt", "it is too large");
          entries.push(await readFile(file));
        } catch (cause) {
          if (errorCode(cause) === "ENOENT") continue;
          const { message } = ChanceryError.from(cause);
          onAlarm(new ChanceryError("corrupt", `the log entry in ${file} cannot be read: ${message}`, { cause }));
        }
      }
      return entries;
    },
    write: (entry) => files.write(fileOf(entry), entry.bytes),
    remove: (entry) => rm(fileOf(entry), { force: true }),
  };
}
