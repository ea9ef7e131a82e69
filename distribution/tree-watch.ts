import { type FSWatcher, watch } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { ChanceryError } from "../resources/index.ts";
import { isLeftOut, lookAtTree, type TreeLook } from "./tree-look.ts";

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
 * Tells that something under a directory has changed, with the time (`now`) of the first sign of it. Names that begin
 * with a dot, and `node_modules`, are no part of a tree, nor is what lies below them.
 *
 * Every directory is watched by itself: the recursive watch of Node watches files, and on Linux it loses those that are
 * replaced by a rename, which is how most programs save.
 */
export function watchTree(root: string, changed: (since: number) => void, options: TreeWatchOptions): TreeWatch {
  const { pollMs, quietMs, maximumWaitMs, now, onAlarm } = options;
  let closed = false;
  let since: number | undefined;
  let quiet: NodeJS.Timeout | undefined;
  let poll: NodeJS.Timeout | undefined;
  let signature: string | undefined;
  let told: string | undefined;
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
    quiet = setTimeout(() => void tell(first), Math.max(0, Math.min(quietMs, first + maximumWaitMs - now())));
  };
  const watches = new DirectoryWatches(ring, alarm);

  const tell = async (first: number): Promise<void> => {
    since = undefined;
    tellings += 1;
    const telling = tellings;
    changed(first);
    try {
      // Looks are held against what was there when it was told: an event may be lost that takes the change back.
      const { look, watchesMore } = await sliced(root, watches);
      if (telling === tellings) signature = look.signature;
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
      if (before === tellings) {
        if (signature !== undefined && looked.look.signature !== signature) ring();
        signature = looked.look.signature;
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
    const first = whole(root, watches);
    signature = first.signature;
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
  readonly #ring: () => void;
  readonly #alarm: (error: unknown) => void;
  readonly #open = new Map<string, { readonly identity: string; readonly watcher: FSWatcher | undefined }>();
  #closed = false;

  constructor(ring: () => void, alarm: (error: unknown) => void) {
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
        if (name === null || !isLeftOut(name)) this.#ring();
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
