import { ChanceryError } from "../resources/index.ts";
import { type Digest, digestOf, MAX_BLOB_BYTES } from "../revision/index.ts";
import type { Bus, HeadAnnouncement, NodeReport, SequencedHead, Subscription } from "./bus.ts";
import { KEPT_GENERATIONS, MAX_REPORTERS, MAX_RESTRICTION_BYTES, MAX_RESTRICTIONS } from "./bus-limits.ts";
import { encodeHead, encodeReport, parseHead, parseReport } from "./bus-schema.ts";
import { InProcessLog } from "./in-process-log.ts";
import { subscribe } from "./subscribe.ts";

/** The bus of `chancery start` and of tests: everything in memory, nothing outlives the process. */
export function createInProcessBus(): Bus {
  return new InProcessBus();
}

class InProcessBus implements Bus {
  /** With the sequence that was the newest when the blob was last put. */
  readonly #blobs = new Map<Digest, { readonly bytes: Uint8Array; readonly putAt: number }>();
  readonly #reports = new Map<string, NodeReport>();
  readonly #restrictions = new Map<Digest, Uint8Array>();
  readonly #restrictionListeners = new Set<(entry: Uint8Array) => void>();
  readonly log = new InProcessLog(() => this.#refuseClosed());
  readonly #headListeners = new Set<(head: SequencedHead) => void>();
  readonly #reportListeners = new Set<(report: NodeReport) => void>();
  #head: SequencedHead | undefined;
  #closed = false;

  async putBlob(digest: Digest, bytes: Uint8Array): Promise<void> {
    this.#refuseClosed();
    checkBlob(digest, bytes);
    // A copy: whoever put it may go on using its buffer.
    this.#blobs.set(digest, { bytes: new Uint8Array(bytes), putAt: this.#sequence() });
  }

  async getBlob(digest: Digest): Promise<Uint8Array | undefined> {
    this.#refuseClosed();
    const bytes = this.#blobs.get(digest)?.bytes;
    if (bytes !== undefined && digestOf(bytes) !== digest) {
      throw new ChanceryError("corrupt", `the bytes of ${digest} were changed after they were put`);
    }
    return bytes;
  }

  async publishHead(head: HeadAnnouncement, expected: number): Promise<number> {
    this.#refuseClosed();
    if (this.#sequence() !== expected) throw conflict(expected, this.#sequence());
    if (!this.#blobs.has(head.manifest)) throw missingManifest(head);
    const published: SequencedHead = { ...parseHead(encodeHead(head)), sequence: expected + 1 };
    this.#head = published;
    for (const [digest, { putAt }] of this.#blobs) {
      if (putAt < published.sequence - KEPT_GENERATIONS) this.#blobs.delete(digest);
    }
    for (const listener of this.#headListeners) listener(published);
    return published.sequence;
  }

  async head(): Promise<SequencedHead | undefined> {
    this.#refuseClosed();
    return this.#head;
  }

  watchHead(listener: (head: SequencedHead) => void): Subscription {
    this.#refuseClosed();
    return subscribe(this.#headListeners, listener, () => (this.#head === undefined ? [] : [this.#head]));
  }

  async report(report: NodeReport): Promise<void> {
    this.#refuseClosed();
    const kept = parseReport(encodeReport(report));
    this.#reports.delete(kept.reporter);
    this.#reports.set(kept.reporter, kept);
    const [oldest] = this.#reports.keys();
    if (this.#reports.size > MAX_REPORTERS && oldest !== undefined) this.#reports.delete(oldest);
    for (const listener of this.#reportListeners) listener(kept);
  }

  watchReports(listener: (report: NodeReport) => void): Subscription {
    this.#refuseClosed();
    return subscribe(this.#reportListeners, listener, () => [...this.#reports.values()]);
  }

  async putRestriction(entry: Uint8Array): Promise<void> {
    this.#refuseClosed();
    checkRestriction(entry);
    const digest = digestOf(entry);
    if (this.#restrictions.has(digest)) return;
    const kept = new Uint8Array(entry);
    this.#restrictions.set(digest, kept);
    const [oldest] = this.#restrictions.keys();
    if (this.#restrictions.size > MAX_RESTRICTIONS && oldest !== undefined) this.#restrictions.delete(oldest);
    for (const listener of this.#restrictionListeners) listener(kept);
  }

  async restrictions(): Promise<readonly Uint8Array[]> {
    this.#refuseClosed();
    return [...this.#restrictions.values()];
  }

  watchRestrictions(listener: (entry: Uint8Array) => void): Subscription {
    this.#refuseClosed();
    return subscribe(this.#restrictionListeners, listener, () => [...this.#restrictions.values()]);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#restrictionListeners.clear();
    this.#restrictions.clear();
    this.log.clear();
    this.#headListeners.clear();
    this.#reportListeners.clear();
    this.#blobs.clear();
    this.#reports.clear();
  }

  #sequence(): number {
    return this.#head?.sequence ?? 0;
  }

  #refuseClosed(): void {
    if (this.#closed) throw closedBus();
  }
}

export function checkBlob(digest: Digest, bytes: Uint8Array): void {
  if (bytes.length > MAX_BLOB_BYTES) {
    throw new ChanceryError("invalid-argument", `${digest} has more than ${MAX_BLOB_BYTES} bytes`);
  }
  if (digestOf(bytes) !== digest) throw new ChanceryError("corrupt", `the bytes that were put are not ${digest}`);
}

/** @throws ChanceryError "invalid-argument" */
export function checkRestriction(entry: Uint8Array): void {
  if (entry.length > 0 && entry.length <= MAX_RESTRICTION_BYTES) return;
  throw new ChanceryError(
    "invalid-argument",
    `a restriction has ${entry.length} bytes; at most ${MAX_RESTRICTION_BYTES} fit`,
  );
}

export function conflict(expected: number, newest: number): ChanceryError {
  return new ChanceryError("conflict", `the newest head has sequence ${newest}, not ${expected}: read it again`);
}

export function missingManifest(head: HeadAnnouncement): ChanceryError {
  const message = `the manifest ${head.manifest} of revision ${head.number} is not on the bus: put blobs before the head`;
  return new ChanceryError("not-found", message);
}

export function closedBus(): ChanceryError {
  return new ChanceryError("unavailable", "the bus is closed");
}
