import { createHash } from "node:crypto";
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import type { PoolEndpoint } from "../envoy/index.ts";
import { ChanceryError, type Key } from "../resources/index.ts";
import { durableFiles, ensureDirectory } from "../revision/index.ts";
import type { FeedMemory } from "./endpoint-feed.ts";
import { parseEndpointUpdate } from "./endpoint-update.ts";

/** What was fed, on disk: one file for each upstream, an update as a source would write it. */
export interface EndpointMemory extends FeedMemory {
  readonly remembered: ReadonlyMap<Key, readonly PoolEndpoint[]>;
  /** Resolves when all that was to be kept is on disk. Safe to call twice. */
  close(): Promise<void>;
}

const MAX_FILE_BYTES = 8 * 1024 * 1024;
const MAX_FILES = 20_000;

/** A file that cannot be read is reported and left out: that upstream has the endpoints of its revision. */
export async function openEndpointMemory(directory: string, log: Logger): Promise<EndpointMemory> {
  const temporary = join(directory, "tmp");
  await ensureDirectory(temporary);
  const files = durableFiles(temporary);
  await files.removeTemporary(Number.POSITIVE_INFINITY);
  const fileOf = (upstream: Key) => join(directory, `${createHash("sha256").update(upstream).digest("hex")}.json`);
  const remembered = new Map<Key, readonly PoolEndpoint[]>();
  for (const name of (await readdir(directory)).filter((each) => each.endsWith(".json")).slice(0, MAX_FILES)) {
    const file = join(directory, name);
    try {
      if ((await stat(file)).size > MAX_FILE_BYTES) throw new ChanceryError("corrupt", "it is too large");
      const update = parseEndpointUpdate(JSON.parse(await readFile(file, "utf8")));
      if (typeof update === "string" || "withdraw" in update)
        throw new ChanceryError("corrupt", "it holds no endpoints");
      remembered.set(update.upstream, update.endpoints);
    } catch (error) {
      log.error({ file, reason: ChanceryError.from(error).message }, "endpoints that were fed cannot be read");
    }
  }

  const unwritten = new Map<Key, readonly PoolEndpoint[] | undefined>();
  let writing: Promise<void> | undefined;

  async function write(): Promise<void> {
    for (;;) {
      const [next] = unwritten;
      if (next === undefined) return;
      const [upstream, endpoints] = next;
      unwritten.delete(upstream);
      try {
        if (endpoints === undefined) await rm(fileOf(upstream), { force: true });
        else
          await files.write(fileOf(upstream), Buffer.from(JSON.stringify({ upstream, endpoints, allowEmpty: true })));
      } catch (error) {
        // They are served all the same; after a restart those before them are.
        log.error({ upstream, reason: ChanceryError.from(error).message }, "endpoints that were fed cannot be kept");
      }
    }
  }

  return {
    remembered,
    keep(upstream, endpoints) {
      unwritten.set(upstream, endpoints);
      writing ??= write().finally(() => {
        writing = undefined;
      });
    },
    close: async () => {
      while (writing !== undefined) await writing;
    },
  };
}
