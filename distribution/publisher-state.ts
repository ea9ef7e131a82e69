import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import {
  ChanceryError,
  type Inventory,
  parseResources,
  type RegisteredVersion,
  resourceFiles,
} from "../resources/index.ts";
import { durableFiles, ensureDirectory, errorCode } from "../revision/index.ts";
import { openLastGoodFiles } from "./last-good-files.ts";
import { openRegistryFile } from "./registry-file.ts";

const publishedSchema = z.strictObject({ format: z.literal(1), number: z.int().nonnegative() });

/** What a publisher must know again after a restart, in files that are written whole or not at all. */
export interface PublisherState {
  /** Path → text of the last tree that compiled; undefined before the first. */
  readonly lastGood: ReadonlyMap<string, string> | undefined;
  /** Number of the newest revision that was published from here; 0 before the first. */
  readonly number: number;
  saveLastGood(files: ReadonlyMap<string, string>): Promise<void>;
  saveNumber(number: number): Promise<void>;
  /** Every version that was published from here, as it was last. */
  readonly identities: ReadonlyMap<string, RegisteredVersion>;
  /** Notes what a published revision says of versions and approvals. */
  register(inventory: Inventory, revision: { number: number; source: string; at: number }): Promise<void>;
  /** Notes versions that another process has published. */
  learn(versions: readonly RegisteredVersion[]): Promise<void>;
}

export interface PublisherStateOptions {
  /** Nobody else publishes: what was compiled last was published. */
  readonly alone: boolean;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Told of a file that is damaged; it counts as not there. */
  readonly onAlarm: (alarm: ChanceryError) => void;
}

export async function openPublisherState(
  directory: string,
  { alone, now, onAlarm }: PublisherStateOptions,
): Promise<PublisherState> {
  const temporary = join(directory, "tmp");
  await ensureDirectory(temporary);
  const durable = durableFiles(temporary);
  await durable.removeTemporary(Number.POSITIVE_INFINITY);
  const numberFile = join(directory, "published.json");

  const registryFile = await openRegistryFile(directory, durable, onAlarm);
  const lastGoodFiles = await openLastGoodFiles(directory, durable, onAlarm);
  const lastGood = lastGoodFiles.files;
  const number = (await read(numberFile, publishedSchema, onAlarm))?.number ?? 0;
  // Without a registry the last good tree tells what was published last.
  if (alone && registryFile.isEmpty && lastGood !== undefined && number > 0) {
    const files = resourceFiles(lastGood);
    const source = `sha256:${files.digest}`;
    await registryFile.register(parseResources(files).inventory, { number, source, at: now() });
  }
  return {
    lastGood,
    number,
    saveLastGood: (files) => lastGoodFiles.save(files),
    get identities() {
      return registryFile.identities;
    },
    register: (inventory, revision) => registryFile.register(inventory, revision),
    learn: (versions) => registryFile.learn(versions),
    saveNumber: (number) => durable.write(numberFile, Buffer.from(JSON.stringify({ format: 1, number }))),
  };
}

async function read<T>(
  file: string,
  schema: z.ZodType<T>,
  onAlarm: (alarm: ChanceryError) => void,
): Promise<T | undefined> {
  try {
    return schema.parse(JSON.parse(await readFile(file, "utf8")));
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    onAlarm(new ChanceryError("corrupt", `${file} cannot be read and counts as not there`, { cause: error }));
    return undefined;
  }
}
