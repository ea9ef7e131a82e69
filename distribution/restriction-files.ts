import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { ChanceryError } from "../resources/index.ts";
import { type Digest, durableFiles, ensureDirectory, errorCode } from "../revision/index.ts";
import { MAX_RESTRICTION_BYTES } from "./bus-limits.ts";
import type { RestrictionEntry } from "./restriction-statement.ts";

/** Entries on disk, so that they are in force after a restart without any bus: `<hex digits of the digest>.json`. */
export interface RestrictionFiles {
  /** As they were written; not verified. */
  read(): Promise<readonly Uint8Array[]>;
  /** Resolves when it is durable. */
  write(entry: RestrictionEntry): Promise<void>;
  remove(digest: Digest): Promise<void>;
}

/** @param onAlarm  told of files that cannot be read */
export async function openRestrictionFiles(
  directory: string,
  onAlarm: (alarm: ChanceryError) => void,
): Promise<RestrictionFiles> {
  const temporary = join(directory, "tmp");
  await ensureDirectory(temporary);
  const files = durableFiles(temporary);
  await files.removeTemporary(Number.POSITIVE_INFINITY);
  const fileOf = (digest: Digest): string => join(directory, `${digest.replace("sha256:", "")}.json`);
  return {
    read: async () => {
      const entries: Uint8Array[] = [];
      for (const name of (await readdir(directory)).filter((each) => each.endsWith(".json"))) {
        const file = join(directory, name);
        try {
          if ((await stat(file)).size > MAX_RESTRICTION_BYTES) throw new ChanceryError("corrupt", "it is too large");
          entries.push(await readFile(file));
        } catch (cause) {
          if (errorCode(cause) === "ENOENT") continue;
          const { message } = ChanceryError.from(cause);
          onAlarm(new ChanceryError("corrupt", `the restriction in ${file} cannot be read: ${message}`, { cause }));
        }
      }
      return entries;
    },
    write: (entry) => files.write(fileOf(entry.digest), entry.bytes),
    remove: (digest) => rm(fileOf(digest), { force: true }),
  };
}
