import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "./logging.ts";

/** What had only begun to start when everything was ended may wait for something that never comes. */
const LINGER_MS = 5_000;

/** Something to end, with its name for the log. */
export interface Stoppable {
  readonly name: string;
  readonly close: () => Promise<void> | void;
}

/**
 * Ends things in the reverse of the order in which they were added. What takes longer than its share of the deadline
 * is named and left behind: the process ends anyway.
 */
export class ShutdownStack {
  readonly #log: Logger;
  readonly #deadlineMs: number;
  readonly #things: Stoppable[] = [];
  #closing: Promise<boolean> | undefined;

  /** @param deadlineMs  for all together */
  constructor(log: Logger, deadlineMs: number) {
    this.#log = log;
    this.#deadlineMs = deadlineMs;
  }

  /** What comes while the rest is ending, ends at once. */
  add(thing: Stoppable): void {
    this.#things.push(thing);
    if (this.#closing !== undefined)
      this.#closing = this.#closing.then(async (clean) => (await this.#close()) && clean);
  }

  get stopping(): boolean {
    return this.#closing !== undefined;
  }

  /** Safe to call twice. @returns whether everything ended in time and without an error */
  close(): Promise<boolean> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<boolean> {
    const end = performance.now() + this.#deadlineMs;
    let clean = true;
    for (let thing = this.#things.pop(); thing !== undefined; thing = this.#things.pop()) {
      const timer = new AbortController();
      const { name, close } = thing;
      const late = delay(Math.max(end - performance.now(), 50), "late" as const, { signal: timer.signal });
      // The timer is aborted when the thing ended first.
      late.catch(() => undefined);
      try {
        const outcome = await Promise.race([Promise.resolve(close()).then(() => "ended" as const), late]);
        if (outcome === "late") {
          clean = false;
          this.#log.warn({ part: name }, "did not stop in time, left behind");
        }
      } catch (error) {
        clean = false;
        this.#log.error({ part: name, err: error }, "failed while stopping");
      } finally {
        timer.abort();
      }
    }
    return clean;
  }
}

/**
 * Runs until a signal, the death of the parent process that supervises this one, or a failure; then closes the stack.
 *
 * @param failed  fulfilled when the process cannot go on
 * @returns the failure, if that is what ended it
 */
export async function runUntilStopped(
  log: Logger,
  stack: ShutdownStack,
  failed: Promise<Error> = new Promise(() => undefined),
): Promise<Error | undefined> {
  const stopped = new Promise<string>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve(signal));
    if (process.connected === true) process.once("disconnect", () => resolve("end of the parent process"));
    // It was supervised, and the parent ended while this process was starting.
    if (process.connected === false) resolve("end of the parent process");
  });
  const cause = await Promise.race([stopped, failed]);
  const failure = cause instanceof Error ? cause : undefined;
  log.info({ cause: failure?.message ?? cause }, "stopping");
  // A second signal does not wait.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
  await stack.close();
  if (process.connected === true) process.disconnect();
  const leave = (): void => {
    log.warn("what was still being started is left behind");
    // An exit waits for calls of the operating system that are under way, and one of them may be what does not end.
    process.kill(process.pid, "SIGKILL");
  };
  // It keeps nothing alive itself: in the usual case the process is gone by then.
  setTimeout(leave, LINGER_MS).unref();
  return failure;
}
