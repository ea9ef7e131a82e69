/** Delays that double from `firstMs` to `maximumMs`, each drawn from its upper half so that many do not come at once. */
export interface Backoff {
  /** Milliseconds to wait before the next attempt. */
  next(): number;
  reset(): void;
}

export function createBackoff(firstMs: number, maximumMs: number, random: () => number): Backoff {
  let bound = firstMs;
  return {
    next: () => {
      const delay = bound * (0.5 + random() / 2);
      bound = Math.min(maximumMs, bound * 2);
      return delay;
    },
    reset: () => {
      bound = firstMs;
    },
  };
}
