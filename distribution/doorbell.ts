import { type FSWatcher, watch } from "node:fs";

export interface DoorbellOptions {
  /** Upper bound of the time between two rings (milliseconds), should the file system say nothing. */
  readonly pollMs: number;
  /** In [0, 1). */
  readonly random: () => number;
  /** Called where watching is not possible; polling goes on. */
  readonly onLost: (error: unknown) => void;
}

export interface Doorbell {
  close(): void;
}

/**
 * Rings when something in a directory may have changed: at once where the file system says so, and in any case every so
 * often, because watches are lost silently (network file systems, exhausted inotify). The time between two polls is
 * drawn from the upper half of `pollMs`, so that many processes do not read in step.
 */
export function doorbell(directory: string, ring: () => void, options: DoorbellOptions): Doorbell {
  let watcher: FSWatcher | undefined;
  let timer: NodeJS.Timeout | undefined;
  const schedule = (): void => {
    timer = setTimeout(
      () => {
        schedule();
        ring();
      },
      options.pollMs * (0.5 + options.random() / 2),
    );
  };
  try {
    watcher = watch(directory, ring);
    watcher.on("error", (error) => {
      watcher?.close();
      options.onLost(error);
    });
  } catch (error) {
    options.onLost(error);
  }
  schedule();
  return {
    close: () => {
      watcher?.close();
      clearTimeout(timer);
    },
  };
}
