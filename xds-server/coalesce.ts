import type { Clock } from "./clock.ts";

export interface CoalesceSettings {
  /** How long there must be no further change, ms, before a burst of changes is pushed. 0: each change at once. */
  readonly quietMs: number;
  /** How long changes are held at most, ms. */
  readonly maxMs: number;
}

/** Makes one push of a burst of changes. */
export interface Coalescer {
  /** A change came. The first one after a pause is pushed at once: what comes alone waits for nothing. */
  changed(): void;
  close(): void;
}

/** @param push  must not throw */
export function createCoalescer({ quietMs, maxMs }: CoalesceSettings, clock: Clock, push: () => void): Coalescer {
  let last = Number.NEGATIVE_INFINITY;
  let deadline: number | undefined;
  let cancel = () => {};

  function flush(): void {
    deadline = undefined;
    cancel = () => {};
    push();
  }

  return {
    changed() {
      const now = clock.now();
      const alone = now - last >= quietMs;
      last = now;
      if (alone && deadline === undefined) {
        flush();
        return;
      }
      deadline ??= now + maxMs;
      cancel();
      cancel = clock.after(Math.max(0, Math.min(quietMs, deadline - now)), flush);
    },
    close: () => cancel(),
  };
}
