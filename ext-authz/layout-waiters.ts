/** A layout is looked for again after this time (milliseconds). */
const LOOK_MS = 1_000;
const MAX_LOOKED_FOR = 64;

/** Checks that wait for a layout that is about to be loaded. */
export class LayoutWaiters {
  readonly #waiting = new Set<{ readonly layout: string; readonly resolve: () => void }>();
  /** Layout → when it was last looked for (milliseconds). */
  readonly #lookedFor = new Map<string, number>();

  /** Whether it is time to look for a layout: of each once a second, of very many at a time not at all. */
  mayLook(layout: string, now: number): boolean {
    for (const [known, at] of this.#lookedFor) if (now - at >= LOOK_MS) this.#lookedFor.delete(known);
    if (this.#lookedFor.has(layout) || this.#lookedFor.size >= MAX_LOOKED_FOR) return false;
    this.#lookedFor.set(layout, now);
    return true;
  }

  /** Resolves when the layout is there, or when the time (milliseconds) is up. */
  wait(layout: string, ms: number): Promise<void> {
    return new Promise((done) => {
      const waiter = {
        layout,
        resolve: () => {
          clearTimeout(timer);
          this.#waiting.delete(waiter);
          done();
        },
      };
      const timer = setTimeout(waiter.resolve, ms);
      this.#waiting.add(waiter);
    });
  }

  /** Ends the waiting for layouts that are there now. */
  wake(layouts: ReadonlyMap<string, unknown>): void {
    for (const waiter of [...this.#waiting]) if (layouts.has(waiter.layout)) waiter.resolve();
  }

  /** Ends all waiting. */
  close(): void {
    for (const waiter of [...this.#waiting]) waiter.resolve();
  }
}
