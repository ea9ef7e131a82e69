import { setTimeout as delay } from "node:timers/promises";

export interface HeadStartOptions {
  /** How long a revision is held back (milliseconds); asked for each. */
  readonly ms: () => number;
  /** A revision is let through after this long (milliseconds), though newer ones come all the time. */
  readonly longestMs: number;
  /** Called then. */
  readonly onLongest: (number: number) => void;
}

/**
 * Stands in for the layout gate where nobody reports: straight from a directory, decision services compile the same tree
 * by themselves, and get a head start before Envoys run routes that they have to know. Of a tree that changes several
 * times in a row every process may see other states in between, so only the one that lasts is let through.
 */
export class HeadStart {
  readonly #options: HeadStartOptions;
  #newest = 0;
  #held: AbortController | undefined;
  /** Since when nothing was let through that should have been (milliseconds); undefined: nothing is held up. */
  #since: number | undefined;
  #closed = false;

  constructor(options: HeadStartOptions) {
    this.#options = options;
  }

  /** To be called with the number of every new head. */
  head(number: number): void {
    this.#newest = Math.max(this.#newest, number);
    if (this.#since === undefined || performance.now() - this.#since < this.#options.longestMs) this.#held?.abort();
  }

  /** Resolves when a revision may be pushed; false: do not push it, a newer one is there, or all is closed. */
  async over(number: number): Promise<boolean> {
    const { ms, longestMs, onLongest } = this.#options;
    this.#since ??= performance.now();
    if (this.#newest <= number && !this.#closed) {
      this.#held = new AbortController();
      // It is aborted by a newer head, and at the end.
      await delay(ms(), undefined, { signal: this.#held.signal }).catch(() => undefined);
      this.#held = undefined;
    }
    if (this.#closed) return false;
    if (this.#newest > number) {
      if (performance.now() - this.#since < longestMs) return false;
      onLongest(number);
    }
    this.#since = undefined;
    return true;
  }

  close(): void {
    this.#closed = true;
    this.#held?.abort();
  }
}
