import type { LogStream, SequencedEntry, Subscription } from "./bus.ts";
import { MAX_BUS_LOG_ENTRIES } from "./bus-limits.ts";
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
    const newest = this.#entries.at(-1)?.sequence ?? 0;
    if (newest !== expected) throw logConflict(expected, newest);
    if (this.#entries.length >= MAX_BUS_LOG_ENTRIES) throw logFull();
    // A copy: whoever appended it may go on using its buffer.
    this.#entries = [...this.#entries, { sequence: expected + 1, entry: new Uint8Array(entry) }];
    for (const listener of this.#listeners) listener(undefined);
    return expected + 1;
  }

  async after(sequence: number): Promise<readonly SequencedEntry[]> {
    this.#refuseClosed();
    return this.#entries.filter((entry) => entry.sequence > sequence);
  }

  async dropBefore(sequence: number): Promise<void> {
    this.#refuseClosed();
    this.#entries = this.#entries.filter((entry, index) => {
      return entry.sequence >= sequence || index === this.#entries.length - 1;
    });
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
