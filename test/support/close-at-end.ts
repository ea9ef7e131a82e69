import { onTestFinished } from "vitest";

/** Something with a lifetime. */
export interface Closable {
  close(): unknown;
}

/** Closes it when the running test ends, whatever its outcome; last opened, first closed. */
export function closeAtEnd<T extends Closable>(thing: T): T {
  onTestFinished(async () => {
    await thing.close();
  });
  return thing;
}
