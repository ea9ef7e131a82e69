import type { LogStream, SequencedEntry, Subscription } from "./bus.ts";
import { MAX_LOG_ENTRIES } from "./bus-limits.ts";
import { checkLogEntry, logConflict, logFull } from "./log-checks.ts";
import { subscribe } from "./subscribe.ts";

export class InProcessLog implements LogStream {
  readonly #refuseClosed: () => void;
  readonly #listeners = new Set<(value: undefined) => void>();
  #entries: readonly SequencedEntry[] = [];

  constructor(refuseClosed: () => void) {
    this.#refuseClosed = refuseClosed;
  }

  async append(entry: Uint8Array, expected: number): Promise<number> {
    this.#refuseClosed();
    checkLogEntry(entry);
    const newest = this.#entries.length;
    if (newest !== expected) throw logConflict(expected, newest);
    if (newest >= MAX_LOG_ENTRIES) throw logFull();
    // A copy: whoever appended it may go on using its buffer.
    this.#entries = [...this.#entries, { sequence: expected + 1, entry: new Uint8Array(entry) }];
    for (const listener of this.#listeners) listener(undefined);
    return expected + 1;
  }

  async after(sequence: number): Promise<readonly SequencedEntry[]> {
    this.#refuseClosed();
    return this.#entries.slice(sequence);
  }

  watch(listener: () => void): Subscription {
    this.#refuseClosed();
    return subscribe(this.#listeners, listener, () => [undefined]);
  }

  /** Forgets everything. */
  clear(): void {
    this.#listeners.clear();
    this.#entries = [];
  }
}
