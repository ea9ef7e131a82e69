import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { ChanceryError } from "../resources/index.ts";
import { digestOf, durableFiles, ensureDirectory, errorCode } from "../revision/index.ts";
import { MAX_KEPT_LOG_ENTRY_BYTES } from "./bus-limits.ts";
import type { SignedLogEntry } from "./log-statement.ts";

/** The operational log on the disk of one process: `<sequence>-<first digits of the digest>.json`, each written whole. */
export interface LogFiles {
  /** As they were written, by sequence; not verified. */
  read(): Promise<readonly Uint8Array[]>;
  /** Resolves when it is durable; replaces what the file of this entry holds. */
  write(entry: SignedLogEntry): Promise<void>;
  remove(entry: SignedLogEntry): Promise<void>;
  /**
   * Keeps entries that are about to be removed, for whoever asks what was done: in `archive/`, one entry a line, which
   * nothing reads or removes.
   */
  archive(entries: readonly SignedLogEntry[]): Promise<void>;
}

/** Entries of one file of the archive. */
const ARCHIVED_TOGETHER = 1_024;

/** Directory of what was compacted, in that of the log. */
export const ARCHIVE = "archive";

/**
 * @param onAlarm  told of files that cannot be read
 * @param mode  "read": nothing is written, nor anything made ready for it
 */
export async function openLogFiles(
  directory: string,
  onAlarm: (alarm: ChanceryError) => void,
  mode: "read" | "write" = "write",
): Promise<LogFiles> {
  const temporary = join(directory, "tmp");
  const files = durableFiles(temporary);
  if (mode === "write") {
    await ensureDirectory(temporary);
    await files.removeTemporary(Number.POSITIVE_INFINITY);
  }
  const fileOf = ({ sequence, digest }: SignedLogEntry): string => {
    return join(directory, `${String(sequence).padStart(8, "0")}-${digest.replace("sha256:", "").slice(0, 16)}.json`);
  };
  return {
    read: async () => {
      const entries: Uint8Array[] = [];
      for (const name of (await readdir(directory)).filter((each) => each.endsWith(".json")).sort()) {
        const file = join(directory, name);
        try {
          if ((await stat(file)).size > MAX_KEPT_LOG_ENTRY_BYTES) throw new ChanceryError("corrupt", "it is too large");
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
    archive: async (entries) => {
      if (entries.length === 0) return;
      const archive = join(directory, ARCHIVE);
      await ensureDirectory(archive);
      const sorted = entries.toSorted((a, b) => a.sequence - b.sequence);
      for (let from = 0; from < sorted.length; from += ARCHIVED_TOGETHER) {
        const part = sorted.slice(from, from + ARCHIVED_TOGETHER);
        const content = Buffer.concat(part.flatMap(({ bytes }) => [bytes, Buffer.from("\n")]));
        const [first, last] = [part[0], part.at(-1)].map((entry) => String(entry?.sequence).padStart(8, "0"));
        // Named by what it holds: after a crash the rest is kept beside what was kept before.
        const name = `${first}-${last}-${digestOf(content).replace("sha256:", "").slice(0, 16)}.ndjson`;
        await files.write(join(archive, name), content);
      }
    },
    remove: (entry) => rm(fileOf(entry), { force: true }),
  };
}
