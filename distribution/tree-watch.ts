import { type FSWatcher, watch } from "node:fs";
import { basename, join, relative } from "node:path";
import { setImmediate } from "node:timers/promises";
import { ChanceryError } from "../resources/index.ts";
import { isLeftOut, lookAgain, lookAtTree, sameLook, type TreeLook } from "./tree-look.ts";

/** However long a look takes, the next one begins this long (milliseconds) after it at the latest, and `pollMs`. */
const MAXIMUM_REST_MS = 10_000;

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
 * What may have changed: paths relative to the root ("/"-separated) of files and directories, with all that lies below
 * these. undefined: anything.
 */
export type ChangedPaths = ReadonlySet<string> | undefined;

/** Paths that are told one by one; of more, it is told that anything may have changed. */
const MOST_PATHS = 1_000;

/**
 * Tells that something under a directory has changed, with the time (`now`) of the first sign of it. Names that begin
 * with a dot, and `node_modules`, are no part of a tree, nor is what lies below them.
 *
 * Every directory is watched by itself: the recursive watch of Node watches files, and on Linux it loses those that are
 * replaced by a rename, which is how most programs save.
 */
export function watchTree(
  root: string,
  changed: (since: number, paths: ChangedPaths) => void,
  options: TreeWatchOptions,
): TreeWatch {
  const { pollMs, quietMs, maximumWaitMs, now, onAlarm } = options;
  let closed = false;
  let since: number | undefined;
  let quiet: NodeJS.Timeout | undefined;
  let poll: NodeJS.Timeout | undefined;
  let seen: TreeLook | undefined;
  let told: string | undefined;
  let tellings = 0;
  /** Full paths since the last telling; undefined: anything. */
  let heard: Set<string> | undefined = new Set();

  const alarm = (thrown: unknown): void => {
    const error = ChanceryError.from(thrown, "unavailable");
    if (error.message !== told) onAlarm(error);
    told = error.message;
  };
  const ring = (path?: string): void => {
    if (closed) return;
    if (path === undefined || heard === undefined || heard.size >= MOST_PATHS) heard = undefined;
    else heard.add(path);
    const first = since ?? now();
    since = first;
    clearTimeout(quiet);
    quiet = setTimeout(() => void tell(first), Math.max(0, Math.min(quietMs, first + maximumWaitMs - now())));
  };
  const watches = new DirectoryWatches(ring, alarm);

  const tell = async (first: number): Promise<void> => {
    const paths = heard;
    heard = new Set();
    since = undefined;
    tellings += 1;
    const telling = tellings;
    // Looks are held against what was there when it was told: an event may be lost that takes the change back.
    const again = seen === undefined || paths === undefined ? undefined : lookAgain(seen, paths);
    changed(first, paths && new Set([...paths].map((path) => relative(root, path))));
    if (again !== undefined) {
      seen = again;
      return;
    }
    try {
      const { look, watchesMore } = await sliced(root, watches);
      if (telling === tellings) seen = look;
      // In a directory that was not watched until now, something may have come after the one who is told has read it.
      if (watchesMore) ring();
    } catch {
      // The next look fails as well, and says so.
    }
  };
  const look = async (): Promise<void> => {
    const before = tellings;
    let workMs = 0;
    try {
      const looked = await sliced(root, watches);
      workMs = looked.workMs;
      // What was heard of and is not told yet would seem to have been missed.
      if (before === tellings && since === undefined) {
        if (seen !== undefined && !sameLook(seen, looked.look)) ring();
        seen = looked.look;
      }
      told = undefined;
    } catch (error) {
      alarm(error);
    }
    // In a large tree a look is much work: a tenth of the time is enough for it.
    if (!closed) poll = setTimeout(look, Math.max(pollMs, Math.min(9 * workMs, MAXIMUM_REST_MS)));
  };

  // At once: whoever reads the tree after this has returned is told of every change since.
  try {
    seen = whole(root, watches);
  } catch (error) {
    alarm(error);
  }
  poll = setTimeout(look, pollMs);
  return {
    close: () => {
      closed = true;
      watches.close();
      clearTimeout(quiet);
      clearTimeout(poll);
    },
  };
}

/** One watch for each directory; a directory that was replaced by another of the same name gets a new one. */
class DirectoryWatches {
  readonly #ring: (path?: string) => void;
  readonly #alarm: (error: unknown) => void;
  readonly #open = new Map<string, { readonly identity: string; readonly watcher: FSWatcher | undefined }>();
  #closed = false;

  constructor(ring: (path?: string) => void, alarm: (error: unknown) => void) {
    this.#ring = ring;
    this.#alarm = alarm;
  }

  /** @returns whether it was not watched yet */
  open(directory: string, identity: string): boolean {
    const before = this.#open.get(directory);
    if (this.#closed || before?.identity === identity) return false;
    before?.watcher?.close();
    let watcher: FSWatcher | undefined;
    try {
      const opened = watch(directory, (_, name) => {
        // Of a directory that was itself moved or removed, its own name is told.
        if (name === null || name === basename(directory)) this.#ring();
        else if (!isLeftOut(name)) this.#ring(join(directory, name));
      });
      // The looks go on without it.
      opened.on("error", (error) => {
        opened.close();
        this.#alarm(error);
      });
      watcher = opened;
    } catch (error) {
      this.#alarm(error);
    }
    this.#open.set(directory, { identity, watcher });
    return true;
  }

  /** Lets go of those that are gone. */
  keep(directories: ReadonlyMap<string, string>): void {
    for (const [directory, { watcher }] of this.#open) {
      if (directories.has(directory)) continue;
      watcher?.close();
      this.#open.delete(directory);
    }
  }

  close(): void {
    this.#closed = true;
    for (const { watcher } of this.#open.values()) watcher?.close();
    this.#open.clear();
  }
}

function whole(root: string, watches: DirectoryWatches): TreeLook {
  const looking = lookAtTree(root, (path, identity) => void watches.open(path, identity));
  for (;;) {
    const step = looking.next();
    if (step.done !== true) continue;
    watches.keep(step.value.directories);
    return step.value;
  }
}

/** In slices, between which other work is done. `workMs`: without the pauses. */
async function sliced(root: string, watches: DirectoryWatches) {
  let watchesMore = false;
  let workMs = 0;
  const looking = lookAtTree(root, (path, identity) => {
    if (watches.open(path, identity)) watchesMore = true;
  });
  for (;;) {
    const started = performance.now();
    const step = looking.next();
    workMs += performance.now() - started;
    if (step.done === true) {
      watches.keep(step.value.directories);
      return { look: step.value, watchesMore, workMs };
    }
    await setImmediate();
  }
}
