/**
 * Keeps floods of refusals out of the journal without losing sight of them: of each code the first few of a second get
 * a record of their own, the rest are counted.
 */
export class FloodGate {
  readonly #perSecond: number;
  readonly #windows = new Map<string, { second: number; passed: number }>();
  #suppressed = new Map<string, number>();

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  /**
   * @param now  milliseconds
   * @returns whether this refusal gets its own record; else it is counted
   */
  admit(code: string, now: number): boolean {
    const second = Math.floor(now / 1000);
    const window = this.#windows.get(code);
    if (window === undefined || window.second !== second) {
      this.#windows.set(code, { second, passed: 1 });
      if (this.#perSecond > 0) return true;
    } else if (window.passed < this.#perSecond) {
      window.passed++;
      return true;
    }
    this.count(code);
    return false;
  }

  /** Counts a refusal that cannot have a record of its own. */
  count(code: string): void {
    this.#suppressed.set(code, (this.#suppressed.get(code) ?? 0) + 1);
  }

  /** What was counted since the last call; undefined when there was nothing. */
  drain(): Readonly<Record<string, number>> | undefined {
    if (this.#suppressed.size === 0) return undefined;
    const counts = Object.fromEntries(this.#suppressed);
    this.#suppressed = new Map();
    return counts;
  }

  /** Puts back what could not be written. */
  restore(counts: Readonly<Record<string, number>>): void {
    for (const [code, count] of Object.entries(counts)) {
      this.#suppressed.set(code, (this.#suppressed.get(code) ?? 0) + count);
    }
  }
}
