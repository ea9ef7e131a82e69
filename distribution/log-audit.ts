import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { ChanceryError } from "../resources/index.ts";
import { type Digest, digestOf, type Trust } from "../revision/index.ts";
import { chainOf, noLog } from "./log-chain.ts";
import { ARCHIVE, openLogFiles } from "./log-files.ts";
import { type SignedLogEntry, verifyLogEntry } from "./log-statement.ts";

/** The operational log of one control plane with its archive, read by somebody who runs none. */
export interface LogAudit {
  /** Oldest first, each named by the one after it; what compactions said again is among them. */
  readonly entries: readonly SignedLogEntry[];
  /** How many of them are in the archive. */
  readonly archived: number;
  /** Not part of that line: of logs that went another way, or before a gap. */
  readonly aside: readonly SignedLogEntry[];
  /** What could not be read, or is covered by no trust file. */
  readonly problems: readonly ChanceryError[];
}

/**
 * Reads and verifies everything that was ever kept in a log directory. Changes nothing there.
 *
 * @param trust  an entry is believed by the first that covers it: those of now, and of when older keys were retired
 * @param now  milliseconds since the epoch
 * @throws ChanceryError "not-found"
 */
export async function auditLog(directory: string, trust: readonly Trust[], now: number): Promise<LogAudit> {
  const problems: ChanceryError[] = [];
  const verify = (bytes: Uint8Array): readonly SignedLogEntry[] => {
    const failures: ChanceryError[] = [];
    for (const each of trust) {
      try {
        return [verifyLogEntry(bytes, each, now)];
      } catch (error) {
        failures.push(ChanceryError.from(error));
      }
    }
    problems.push(failures.at(-1) ?? new ChanceryError("untrusted", "there is no trust file to verify it by"));
    return [];
  };
  const inLog = await liveEntries(directory, (problem) => problems.push(problem));
  const live = inLog.flatMap(verify);
  const archived = (await archivedEntries(join(directory, ARCHIVE))).flatMap(verify);
  const all = new Map<Digest, SignedLogEntry>();
  for (const entry of [...live, ...archived]) all.set(entry.digest, entry);
  const entries: SignedLogEntry[] = [];
  for (let next = chainOf(live, noLog).chain.at(-1); next !== undefined; ) {
    entries.push(next);
    all.delete(next.digest);
    next = all.get(next.previous as Digest);
  }
  const fresh = new Set(live.map(({ digest }) => digest));
  return {
    entries: entries.reverse(),
    archived: entries.filter(({ digest }) => !fresh.has(digest)).length,
    aside: [...all.values()].sort((a, b) => a.sequence - b.sequence),
    problems,
  };
}

async function liveEntries(
  directory: string,
  onProblem: (problem: ChanceryError) => void,
): Promise<readonly Uint8Array[]> {
  try {
    await readdir(directory);
  } catch (cause) {
    throw new ChanceryError("not-found", `there is no operational log in ${directory}`, { cause });
  }
  return await openLogFiles(directory, onProblem, "read").then((files) => files.read());
}

async function archivedEntries(archive: string): Promise<readonly Uint8Array[]> {
  const names = await readdir(archive).catch(() => []);
  const found = new Map<Digest, Uint8Array>();
  for (const name of names.filter((each) => each.endsWith(".ndjson")).sort()) {
    for (const line of (await readFile(join(archive, name), "utf8")).split("\n")) {
      const bytes = Buffer.from(line);
      // A crash may have left an entry in two files.
      if (bytes.length > 0) found.set(digestOf(bytes), bytes);
    }
  }
  return [...found.values()];
}
