/** Says how far long work is, on a line of its own every few seconds; short work says nothing. */
export interface Progress {
  /** One more is done. */
  step(): void;
}

export interface ProgressOptions {
  /** As in "12,000 of 50,000 requests asked". */
  readonly what: string;
  readonly total: number;
  /** Milliseconds; any origin. */
  readonly monotonic: () => number;
  readonly write: (line: string) => void;
}

const EVERY_MS = 5_000;
/** Steps between two looks at the clock. */
const LOOK_EVERY = 256;

export function progressOf({ what, total, monotonic, write }: ProgressOptions): Progress {
  let done = 0;
  let told = monotonic();
  return {
    step() {
      done += 1;
      if (done % LOOK_EVERY !== 0) return;
      const now = monotonic();
      if (now - told < EVERY_MS) return;
      told = now;
      write(`${done.toLocaleString("en")} of ${total.toLocaleString("en")} ${what}\n`);
    },
  };
}

/** To people, beside what a command prints. */
export function progressOnStderr(what: string, total: number): Progress {
  return progressOf({
    ...{ what, total, monotonic: () => performance.now() },
    write: (line) => void process.stderr.write(line),
  });
}
