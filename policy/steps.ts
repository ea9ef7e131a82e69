/**
 * Work in pieces of well under a millisecond, so that whoever drives it can rest in between: a generator that yields
 * after each piece and returns what it made.
 */
export type Steps<T> = Generator<void, T>;

/** Rests after so many values that are only gone over. */
export const STEP = 256;

/** Without a rest. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** How work that takes long shares the loop with requests. */
export interface Slicing {
  /** Milliseconds of work at a time. */
  readonly sliceMs: number;
  /** Milliseconds of a clock that never goes back. */
  readonly monotonic: () => number;
  /** Resolves when others have had their turn. */
  readonly rest: () => Promise<void>;
}

/** Milliseconds: a request waits that long at most, but for the last piece of work and a collection of garbage. */
export const SLICE_MS = 2;

/**
 * Resting after each slice.
 *
 * @param signal  gives up: the promise resolves to undefined
 */
export async function inSlices<T>(steps: Steps<T>, slicing: Slicing): Promise<T>;
export async function inSlices<T>(
  steps: Steps<T>,
  slicing: Slicing,
  signal: AbortSignal | undefined,
): Promise<T | undefined>;
export async function inSlices<T>(steps: Steps<T>, slicing: Slicing, signal?: AbortSignal): Promise<T | undefined> {
  for (;;) {
    const started = slicing.monotonic();
    do {
      const step = steps.next();
      if (step.done === true) return step.value;
    } while (slicing.monotonic() - started < slicing.sliceMs);
    await slicing.rest();
    if (signal?.aborted === true) return undefined;
  }
}
