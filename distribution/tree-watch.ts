import { createHash } from "node:crypto";
import { type FSWatcher, watch } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { ChanceryError } from "../resources/index.ts";
import { errorCode } from "../revision/index.ts";

const MAX_ENTRIES = 50_000;
const MAX_DEPTH = 32;

export interface TreeWatchOptions {
  /** Least time (milliseconds) between two looks at every file, for what the file system does not report. */
  readonly pollMs: number;
  /** A change is told when nothing more has happened for this long (milliseconds) … */
  readonly quietMs: number;
  /** … but at the latest after this long. */
  readonly maximumWaitMs: number;
  /** Milliseconds; any origin. */
  readonly now: () => number;
  readonly onAlarm: (alarm: ChanceryError) => void;
}

export interface TreeWatch {
  close(): void;
}

/**
 * Tells that something under a directory has changed, with the time (`now`) of the first sign of it. Names that begin
 * with a dot are no part of a tree, nor is what lies below them.
 */
export function watchTree(root: string, changed: (since: number) => void, options: TreeWatchOptions): TreeWatch {
  const { pollMs, quietMs, maximumWaitMs, now, onAlarm } = options;
  let closed = false;
  let since: number | undefined;
  let quiet: NodeJS.Timeout | undefined;
  let poll: NodeJS.Timeout | undefined;
  let watcher: FSWatcher | undefined;
  let looks: string | undefined;
  let told: string | undefined;
  let heard = false;
  let tellings = 0;

  const alarm = (thrown: unknown): void => {
    const error = ChanceryError.from(thrown, "unavailable");
    if (error.message !== told) onAlarm(error);
    told = error.message;
  };
  const ring = (): void => {
    if (closed) return;
    const first = since ?? now();
    since = first;
    clearTimeout(quiet);
    const wait = Math.max(0, Math.min(quietMs, first + maximumWaitMs - now()));
    quiet = setTimeout(() => {
      since = undefined;
      const telling = ++tellings;
      // Looks are held against what was there when it was told: an event may be lost that takes the change back.
      void signature(root).then(
        (seen) => {
          if (telling === tellings) looks = seen;
        },
        // The next look fails as well, and says so.
        () => undefined,
      );
      changed(first);
    }, wait);
  };
  const open = (): void => {
    watcher?.close();
    watcher = undefined;
    try {
      const opened = watch(root, { recursive: true }, (_, name) => {
        heard = true;
        if (name === null || !name.split(/[/\\]/).some((part) => part.startsWith("."))) ring();
      });
      watcher = opened;
      // The looks go on without it.
      opened.on("error", (error) => {
        opened.close();
        alarm(error);
      });
    } catch (error) {
      alarm(error);
    }
  };
  const look = async (): Promise<void> => {
    const started = now();
    const before = tellings;
    try {
      const seen = await signature(root);
      const overtaken = before !== tellings;
      if (!overtaken && looks !== undefined && seen !== looks && !closed) {
        // Not a word of it was heard: the watch has gone (a directory that was replaced), or never was.
        if (!heard) open();
        ring();
      }
      if (!overtaken) {
        looks = seen;
        heard = false;
      }
      told = undefined;
    } catch (error) {
      alarm(error);
    }
    // In a large tree a look takes long: a tenth of the time is enough for it.
    if (!closed) poll = setTimeout(look, Math.max(pollMs, 9 * (now() - started)));
  };

  open();
  void look();
  return {
    close: () => {
      closed = true;
      watcher?.close();
      clearTimeout(quiet);
      clearTimeout(poll);
    },
  };
}

/** Equal while no file was added, removed, replaced or written. */
async function signature(root: string): Promise<string> {
  const hash = createHash("sha256");
  let entries = 0;
  const walk = async (directory: string, depth: number): Promise<void> => {
    if (depth > MAX_DEPTH)
      throw new ChanceryError("invalid-resources", `${directory} is nested too deep to be watched`);
    for (const entry of (await list(directory)).sort((a, b) => (a.name < b.name ? -1 : 1))) {
      if (entry.name.startsWith(".")) continue;
      const path = join(directory, entry.name);
      if (++entries > MAX_ENTRIES) {
        throw new ChanceryError(
          "invalid-resources",
          `${root} has more than ${MAX_ENTRIES} files: changes may be missed`,
        );
      }
      try {
        const { ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
        hash.update(`${path}\0${ino} ${entry.isDirectory() ? "" : `${size} ${mtimeNs} ${ctimeNs}`}\n`);
      } catch (error) {
        // Gone since it was listed, or a link to nothing.
        if (errorCode(error) !== "ENOENT") throw error;
      }
      if (entry.isDirectory()) await walk(path, depth + 1);
    }
  };
  await walk(root, 0);
  return hash.digest("hex");
}

async function list(directory: string) {
  try {
    return await readdir(directory, { withFileTypes: true });
  } catch (error) {
    if (errorCode(error) === "ENOENT") return [];
    throw error;
  }
}
