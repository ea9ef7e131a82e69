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
