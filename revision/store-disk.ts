import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { readBlob, removeBlob, writeBlob } from "./blob-files.ts";
import { type DurableFiles, durableFiles, ensureDirectory, errorCode, syncDirectory } from "./durable-file.ts";
import { encodeRecord, parseRecord, type RevisionRecord, recordName, recordNumber } from "./record.ts";
import type { Digest } from "./revision.ts";

/** Where a revision store keeps its bytes. `getBlob` and `getRecord` throw ChanceryError "corrupt" for what is damaged. */
export interface StoreMedium {
  getBlob(digest: Digest): Promise<Uint8Array | undefined>;
  putBlob(digest: Digest, bytes: Uint8Array): Promise<void>;
  /** Numbers of the records, newest first, the damaged ones included. */
  numbers(): Promise<readonly number[]>;
  getRecord(number: number): Promise<RevisionRecord | undefined>;
  putRecord(record: RevisionRecord): Promise<void>;
  removeRecords(numbers: readonly number[]): Promise<void>;
  /** Removes every blob that is not named. */
  retainBlobs(wanted: ReadonlySet<Digest>): Promise<void>;
}

/** `blobs/sha256/ab/cdef…`, `revisions/<number>.json`, and `tmp/` for what is being written. */
export async function diskMedium(directory: string): Promise<StoreMedium> {
  const temporary = join(directory, "tmp");
  await ensureDirectory(temporary);
  const files = durableFiles(temporary);
  // One process writes to a store, so whatever lies here was left by a crash.
  await files.removeTemporary(Number.POSITIVE_INFINITY);
  return { ...readableMedium(directory), ...writableMedium(directory, files) };
}

/**
 * Reads from `directory`, which may be on a read-only file system or not exist, and keeps what is written in memory.
 */
export function readOnlyMedium(directory: string): StoreMedium {
  const disk = readableMedium(directory);
  const blobs = new Map<Digest, Uint8Array>();
  const records = new Map<number, RevisionRecord>();
  return {
    getBlob: async (digest) => blobs.get(digest) ?? (await disk.getBlob(digest)),
    putBlob: async (digest, bytes) => {
      blobs.set(digest, bytes);
    },
    numbers: async () => [...new Set([...records.keys(), ...(await disk.numbers())])].sort((a, b) => b - a),
    getRecord: async (number) => records.get(number) ?? (await disk.getRecord(number)),
    putRecord: async (record) => {
      records.set(record.number, record);
    },
    removeRecords: async (numbers) => {
      for (const number of numbers) records.delete(number);
    },
    retainBlobs: async (wanted) => {
      for (const digest of [...blobs.keys()]) if (!wanted.has(digest)) blobs.delete(digest);
    },
  };
}

type Reading = Pick<StoreMedium, "getBlob" | "numbers" | "getRecord">;

function readableMedium(directory: string): Reading {
  const revisions = join(directory, "revisions");
  return {
    getBlob: (digest) => readBlob(join(directory, "blobs"), digest),
    numbers: async () => {
      const numbers = (await listed(revisions)).map(recordNumber);
      return numbers.filter((number) => number !== undefined).sort((a, b) => b - a);
    },
    getRecord: async (number) => {
      try {
        return parseRecord(await readFile(join(revisions, recordName(number))), number);
      } catch (error) {
        if (errorCode(error) === "ENOENT") return undefined;
        throw error;
      }
    },
  };
}

function writableMedium(directory: string, files: DurableFiles): Omit<StoreMedium, keyof Reading> {
  const blobs = join(directory, "blobs");
  const revisions = join(directory, "revisions");
  return {
    putBlob: (digest, bytes) => writeBlob(blobs, files, digest, bytes),
    putRecord: (record) => files.write(join(revisions, recordName(record.number)), encodeRecord(record)),
    removeRecords: async (numbers) => {
      for (const number of numbers) await rm(join(revisions, recordName(number)), { force: true });
      // Durable before the blobs go: a record never outlives what it names.
      if (numbers.length > 0) await syncDirectory(revisions);
    },
    retainBlobs: async (wanted) => {
      for (const prefix of await listed(join(blobs, "sha256"))) {
        for (const rest of await listed(join(blobs, "sha256", prefix))) {
          const digest = `sha256:${prefix}${rest}`;
          if (!wanted.has(digest)) await removeBlob(blobs, digest);
        }
      }
    },
  };
}

async function listed(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return [];
    throw error;
  }
}
