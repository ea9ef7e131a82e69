/** What waits no longer than until its time, with one timer for all. */
export class Deadlines<Item extends { readonly due: number }> {
  readonly #monotonic: () => number;
  readonly #late: (item: Item) => void;
  readonly #items = new Set<Item>();
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param monotonic  milliseconds, of the clock by which items are due
   * @param late  told of each item whose time came while it was here
   */
  constructor(monotonic: () => number, late: (item: Item) => void) {
    this.#monotonic = monotonic;
    this.#late = late;
  }

  /** Items come in the order in which they are due. */
  add(item: Item): void {
    this.#items.add(item);
    this.#arm(item);
  }

  /** It need not wait any more. The timer is left as it is: it costs more to set it anew than to let it find nothing. */
  delete(item: Item): void {
    this.#items.delete(item);
  }

  #arm(item: Item): void {
    if (this.#timer !== undefined) return;
    const ms = Math.max(1, Math.ceil(item.due - this.#monotonic()));
    this.#timer = setTimeout(() => this.#expire(), ms);
    this.#timer.unref();
  }

  #expire(): void {
    this.#timer = undefined;
    const now = this.#monotonic();
    for (const item of this.#items) {
      if (item.due > now) {
        this.#arm(item);
        return;
      }
      this.#items.delete(item);
      this.#late(item);
    }
  }
}
