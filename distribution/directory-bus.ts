import { join } from "node:path";
import { ChanceryError } from "../resources/index.ts";
import { type Digest, durableFiles, ensureDirectory, readBlob, writeBlob } from "../revision/index.ts";
import type { Bus, HeadAnnouncement, NodeReport, SequencedHead, Subscription } from "./bus.ts";
import { DirectoryBlobs } from "./directory-blobs.ts";
import { DirectoryHeads } from "./directory-heads.ts";
import { DirectoryLog } from "./directory-log.ts";
import { DirectoryReports } from "./directory-reports.ts";
import { DirectoryRestrictions } from "./directory-restrictions.ts";
import { doorbell } from "./doorbell.ts";
import { checkBlob, checkRestriction, closedBus, missingManifest } from "./in-process-bus.ts";

const DEFAULT_POLL_MS = 250;
/** Temporary files of a writer that is gone. */
const ABANDONED_AFTER_MS = 10 * 60_000;
/** File systems round times, and not as `Date.now` does. */
const CLOCK_MARGIN_MS = 1_000;

export interface DirectoryBusOptions {
  /** Longest time (milliseconds) until a change is seen where the file system reports none; 250 unless given. */
  readonly pollMs?: number;
  /** In [0, 1). */
  readonly random?: () => number;
  /** What is damaged or not possible and did not stop the work. */
  readonly onAlarm?: (alarm: ChanceryError) => void;
}

/**
 * The bus of several processes on one machine: `blobs/sha256/ab/cdef…`, `heads/<sequence>.json`, `reports/<reporter>.json`,
 * `restrictions/<digest>.json`, `log/<sequence>.json` and `tmp/` for what is being written. Every file is written whole or
 * not at all, and of several writers of a sequence the file system lets one win, so a writer that is killed leaves a bus
 * that can be read and written on.
 */
export async function openDirectoryBus(directory: string, options: DirectoryBusOptions = {}): Promise<Bus> {
  const { pollMs = DEFAULT_POLL_MS, random = Math.random, onAlarm = () => undefined } = options;
  const paths = {
    blobs: join(directory, "blobs"),
    heads: join(directory, "heads"),
    reports: join(directory, "reports"),
    restrictions: join(directory, "restrictions"),
    log: join(directory, "log"),
    temporary: join(directory, "tmp"),
  };
  for (const path of Object.values(paths)) await ensureDirectory(path);
  const files = durableFiles(paths.temporary);
  await files.removeTemporary(Date.now() - ABANDONED_AFTER_MS);
  const blobs = new DirectoryBlobs(paths.blobs);
  const heads = new DirectoryHeads(paths.heads, files, onAlarm);
  const reports = new DirectoryReports(paths.reports, files, onAlarm);
  const restrictions = new DirectoryRestrictions(paths.restrictions, files);
  const log = new DirectoryLog(paths.log, files);

  const subscriptions = new Set<Subscription>();
  let closed = false;
  const refuseClosed = (): void => {
    if (closed) throw closedBus();
  };
  /** Runs `look` now and at each ring, never twice at a time; a ring during a run makes one more. */
  const watching = (path: string, look: (isOpen: () => boolean) => Promise<void>): Subscription => {
    refuseClosed();
    let open = true;
    let running = false;
    let again = false;
    let told: string | undefined;
    /** What stays wrong from one look to the next is told once. */
    const alarm = (thrown: unknown): void => {
      const error = ChanceryError.from(thrown, "unavailable");
      if (error.message !== told) onAlarm(error);
      told = error.message;
    };
    const run = async (): Promise<void> => {
      again = running;
      if (running || !open) return;
      running = true;
      try {
        await look(() => open);
        told = undefined;
      } catch (error) {
        alarm(error);
      }
      running = false;
      if (again) await run();
    };
    const bell = doorbell(path, run, { pollMs, random, onLost: alarm });
    const subscription = {
      close: () => {
        open = false;
        bell.close();
        subscriptions.delete(subscription);
      },
    };
    subscriptions.add(subscription);
    void run();
    return subscription;
  };

  return {
    putBlob: async (digest: Digest, bytes: Uint8Array) => {
      refuseClosed();
      checkBlob(digest, bytes);
      await writeBlob(paths.blobs, files, digest, bytes);
      await blobs.touch(digest);
    },
    getBlob: async (digest: Digest) => {
      refuseClosed();
      return await readBlob(paths.blobs, digest);
    },
    publishHead: async (head: HeadAnnouncement, expected: number) => {
      refuseClosed();
      if (!(await blobs.has(head.manifest))) throw missingManifest(head);
      const sequence = await heads.append(head, expected);
      const oldest = await heads.generationStart();
      // The head is published whatever becomes of the clearing.
      if (oldest !== undefined) {
        await blobs.removeBefore(oldest - CLOCK_MARGIN_MS).catch((error) => onAlarm(ChanceryError.from(error)));
      }
      return sequence;
    },
    head: async () => {
      refuseClosed();
      return await heads.newest();
    },
    watchHead: (listener: (head: SequencedHead) => void) => {
      let seen = 0;
      return watching(paths.heads, async (isOpen) => {
        const head = await heads.newest();
        if (head === undefined || head.sequence === seen || !isOpen()) return;
        seen = head.sequence;
        listener(head);
      });
    },
    report: async (report: NodeReport) => {
      refuseClosed();
      await reports.write(report);
    },
    watchReports: (listener: (report: NodeReport) => void) => {
      const seen = new Map<string, string>();
      return watching(paths.reports, async (isOpen) => {
        for (const report of await reports.changed(seen)) if (isOpen()) listener(report);
      });
    },
    putRestriction: async (entry: Uint8Array) => {
      refuseClosed();
      checkRestriction(entry);
      await restrictions.put(entry);
    },
    restrictions: async () => {
      refuseClosed();
      return await restrictions.changed(new Set());
    },
    watchRestrictions: (listener: (entry: Uint8Array) => void) => {
      const seen = new Set<string>();
      return watching(paths.restrictions, async (isOpen) => {
        for (const entry of await restrictions.changed(seen)) if (isOpen()) listener(entry);
      });
    },
    log: {
      append: async (entry: Uint8Array, expected: number) => {
        refuseClosed();
        return await log.append(entry, expected);
      },
      after: async (sequence: number) => {
        refuseClosed();
        return await log.after(sequence);
      },
      dropBefore: async (sequence: number) => {
        refuseClosed();
        await log.dropBefore(sequence);
      },
      watch: (listener: () => void) => {
        let seen: number | undefined;
        return watching(paths.log, async (isOpen) => {
          const newest = await log.newestSequence();
          if (newest === seen || !isOpen()) return;
          seen = newest;
          listener();
        });
      },
    },
    close: async () => {
      closed = true;
      for (const subscription of [...subscriptions]) subscription.close();
    },
  };
}
