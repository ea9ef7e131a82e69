import { randomUUID } from "node:crypto";
import { open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { ChanceryError } from "../resources/index.ts";
import { canonicalJson, type DurableFiles, digestOf, errorCode, syncDirectory } from "../revision/index.ts";

type Files = ReadonlyMap<string, string>;

const texts = z.record(z.string(), z.string());
/** Format 1 has no changes beside it: who knows no other must not take format 2 for all there is. */
const wholeSchema = z.discriminatedUnion("format", [
  z.strictObject({ format: z.literal(1), checksum: z.string(), files: texts }),
  z.strictObject({ format: z.literal(2), id: z.string(), checksum: z.string(), files: texts }),
]);
const changeSchema = z.strictObject({
  checksum: z.string(),
  change: z.strictObject({
    /** Id of the whole that it belongs to. */
    of: z.string(),
    /** From 0, without a gap. */
    index: z.int().nonnegative(),
    put: texts,
    removed: z.array(z.string()),
  }),
});
type Change = z.infer<typeof changeSchema>["change"];

const WHOLE = "last-good.json";
const CHANGES = "last-good.changes";
/** Bytes of changes from which on the whole is written anew, where the whole is no larger. */
const MOST_CHANGE_BYTES = 262_144;

/** The tree that compiled last, on disk: as it was at some time, and what changed since. One writer at a time. */
export interface LastGoodFiles {
  /** As it was when this was opened; undefined before the first. */
  readonly files: Files | undefined;
  /** It is on disk when this resolves; then it costs what changed, and now and then the whole. */
  save(files: Files): Promise<void>;
}

/** What is there for sure, and what it takes to add to it. */
interface OnDisk {
  readonly files: Files;
  readonly id: string;
  readonly wholeBytes: number;
  /** Of all changes. */
  readonly bytes: number;
  readonly changes: number;
}

/** @param onAlarm  told of a file that is damaged: it counts as not there */
export async function openLastGoodFiles(
  directory: string,
  durable: DurableFiles,
  onAlarm: (alarm: ChanceryError) => void,
): Promise<LastGoodFiles> {
  const [wholeFile, changesFile] = [join(directory, WHOLE), join(directory, CHANGES)];
  let stored: Files | undefined;
  try {
    stored = await readFiles(wholeFile, changesFile);
  } catch (error) {
    onAlarm(ChanceryError.from(error));
  }
  let state: OnDisk | undefined;

  const saveWhole = async (files: Files): Promise<void> => {
    state = undefined;
    const all = Object.fromEntries(files);
    const id = randomUUID();
    const bytes = Buffer.from(JSON.stringify({ format: 2, id, checksum: digestOf(canonicalJson(all)), files: all }));
    await durable.write(wholeFile, bytes);
    // Changes of another whole say nothing of this one.
    await rm(changesFile, { force: true });
    state = { files, id, wholeBytes: bytes.length, bytes: 0, changes: 0 };
  };
  return {
    files: stored,
    save: async (files) => {
      const before = state;
      if (before === undefined || before.bytes > Math.max(MOST_CHANGE_BYTES, before.wholeBytes)) {
        await saveWhole(files);
        return;
      }
      const { put, removed } = difference(before.files, files);
      const change: Change = {
        of: before.id,
        index: before.changes,
        put: Object.fromEntries(put),
        removed: [...removed],
      };
      const line = Buffer.from(`${JSON.stringify({ checksum: digestOf(canonicalJson(change)), change })}\n`);
      // A line of which only a part was written must not stand before others.
      state = undefined;
      await append(changesFile, line);
      if (before.changes === 0) await syncDirectory(directory);
      state = { ...before, files, bytes: before.bytes + line.length, changes: before.changes + 1 };
    },
  };
}

function difference(before: Files, after: Files): { put: Map<string, string>; removed: Set<string> } {
  const removed = new Set(before.keys());
  const put = new Map<string, string>();
  for (const [path, text] of after) {
    removed.delete(path);
    if (before.get(path) !== text) put.set(path, text);
  }
  return { put, removed };
}

async function append(file: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(file, "a", 0o600);
  try {
    await handle.writeFile(bytes);
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

/** @throws ChanceryError "corrupt" */
async function readFiles(wholeFile: string, changesFile: string): Promise<Files | undefined> {
  const text = await readFile(wholeFile, "utf8").catch((error: unknown) => {
    if (errorCode(error) === "ENOENT") return undefined;
    throw unreadable(wholeFile, error);
  });
  if (text === undefined) return undefined;
  const whole = parsed(wholeSchema, text, wholeFile);
  if (digestOf(canonicalJson(whole.files)) !== whole.checksum) {
    throw new ChanceryError("corrupt", `${wholeFile} does not match its checksum`);
  }
  const files = new Map(Object.entries(whole.files));
  const lines = await readFile(changesFile, "utf8").catch((error: unknown) => {
    if (errorCode(error) === "ENOENT") return "";
    throw unreadable(changesFile, error);
  });
  // What follows the last line break was being written when the process ended: nothing was published of it.
  for (const [index, line] of lines.split("\n").slice(0, -1).entries()) {
    const { checksum, change } = parsed(changeSchema, line, changesFile);
    // They were left behind when the whole was written anew.
    if (whole.format === 1 || change.of !== whole.id) break;
    if (digestOf(canonicalJson(change)) !== checksum || change.index !== index) {
      throw new ChanceryError("corrupt", `${changesFile} does not match its checksums`);
    }
    for (const path of change.removed) files.delete(path);
    for (const [path, put] of Object.entries(change.put)) files.set(path, put);
  }
  return files;
}

function parsed<T>(schema: z.ZodType<T>, text: string, file: string): T {
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    throw unreadable(file, error);
  }
}

function unreadable(file: string, cause: unknown): ChanceryError {
  return new ChanceryError("corrupt", `${file} cannot be read and counts as not there`, { cause });
}
