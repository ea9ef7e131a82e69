import { type FSWatcher, watch } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "pino";
import { parse } from "yaml";
import { ChanceryError } from "../resources/index.ts";
import type { Clock } from "./clock.ts";
import type { EndpointFeed } from "./endpoint-feed.ts";

export interface EndpointFilesOptions {
  /** Its files *.yaml, *.yml and *.json hold one update each, or a list of them. */
  readonly directory: string;
  readonly feed: Pick<EndpointFeed, "offer">;
  readonly log: Logger;
  readonly clock: Clock;
  /** How often files are looked at even if the file system reports nothing, ms. */
  readonly pollMs?: number;
}

/** A directory of files that say what endpoints there are. A file that is removed changes nothing. */
export interface EndpointFiles {
  /** Reads what changed, and what was refused when it was read; resolves when what they say was offered. */
  again(): Promise<void>;
  /** Safe to call twice. */
  close(): void;
}

const MAX_FILES = 1_000;
const MAX_FILE_BYTES = 8 * 1024 * 1024;
const DEBOUNCE_MS = 50;

export function watchEndpointFiles(options: EndpointFilesOptions): EndpointFiles {
  const { directory, feed, log, clock, pollMs = 1_000 } = options;
  let known = new Map<string, { readonly stamp: string; readonly refused: boolean }>();
  let closed = false;
  let cancel = () => {};
  let reading: Promise<void> = Promise.resolve();
  let watcher: FSWatcher | undefined;

  /** @returns whether something of it was refused that a later revision may take */
  async function read(file: string): Promise<boolean> {
    try {
      if ((await stat(file)).size > MAX_FILE_BYTES) {
        throw new ChanceryError("invalid-argument", `it is larger than ${MAX_FILE_BYTES} bytes`);
      }
      const content: unknown = parse(await readFile(file, "utf8"), { maxAliasCount: 0 });
      const answers = (Array.isArray(content) ? content : [content]).map((update) => feed.offer("file", update));
      return answers.some(({ outcome }) => outcome === "unknown-upstream" || outcome === "out-of-range");
    } catch (error) {
      log.error(
        { file, reason: ChanceryError.from(error).message },
        "endpoints cannot be read: the last good ones stay",
      );
      return false;
    }
  }

  async function scan(withRefused: boolean): Promise<void> {
    const next: typeof known = new Map();
    try {
      const names = (await readdir(directory)).filter((name) => /\.(ya?ml|json)$/.test(name)).sort();
      if (names.length > MAX_FILES) {
        log.error(
          { directory, files: names.length, read: MAX_FILES },
          "too many files of endpoints: the rest is left out",
        );
      }
      for (const name of names.slice(0, MAX_FILES)) {
        const file = join(directory, name);
        const { mtimeMs, size, ino } = await stat(file);
        const stamp = `${mtimeMs} ${size} ${ino}`;
        const before = known.get(file);
        if (closed) return;
        if (before?.stamp === stamp && !(withRefused && before.refused)) next.set(file, before);
        else next.set(file, { stamp, refused: await read(file) });
      }
      known = next;
    } catch (error) {
      log.error(
        { directory, reason: ChanceryError.from(error).message },
        "endpoints cannot be read: the last good ones stay",
      );
    }
  }

  /** One scan at a time. */
  function rescan(withRefused: boolean): Promise<void> {
    reading = reading.then(async () => {
      if (closed) return;
      await scan(withRefused);
      plan(pollMs);
    });
    return reading;
  }

  function plan(ms: number): void {
    cancel();
    if (!closed) cancel = clock.after(ms, () => void rescan(false));
  }

  try {
    watcher = watch(directory, { persistent: false }, () => plan(DEBOUNCE_MS));
    watcher.on("error", () => watcher?.close());
  } catch {
    // The directory does not exist; reading it says so, and polling will find it.
  }

  return {
    again: () => rescan(true),
    close() {
      closed = true;
      cancel();
      watcher?.close();
    },
  };
}
