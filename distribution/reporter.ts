import { ChanceryError } from "../resources/index.ts";
import type { Bus, NodeReport } from "./bus.ts";
import { withDeadline } from "./deadline.ts";

/** A change waits this long (milliseconds) for others that come with it. */
const GATHER_MS = 20;
const ANSWER_MS = 5_000;

export interface ReporterOptions {
  readonly bus: Pick<Bus, "report">;
  readonly report: () => NodeReport;
  /** Milliseconds between reports when nothing changes. */
  readonly everyMs: number;
  readonly onAlarm: (alarm: ChanceryError) => void;
}

/** Sends what a process says of itself, at changes and every so often: one report at a time, always the newest. */
export class Reporter {
  readonly #options: ReporterOptions;
  #timer: NodeJS.Timeout | undefined;
  #due = Number.POSITIVE_INFINITY;
  #sending: Promise<void> | undefined;
  #told: string | undefined;
  #closed = false;

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#schedule(0);
  }

  /** Something changed that others wait for. */
  soon(): void {
    this.#schedule(GATHER_MS);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#sending;
  }

  #schedule(delay: number): void {
    const due = performance.now() + delay;
    if (this.#closed || (due >= this.#due && this.#timer !== undefined)) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#due = Number.POSITIVE_INFINITY;
      this.#sending = this.#send();
    }, delay);
  }

  async #send(): Promise<void> {
    // The one before it has ended: the next is only scheduled here, or by a change, which waits for its turn.
    const before = this.#sending;
    await before;
    try {
      await withDeadline(this.#options.bus.report(this.#options.report()), ANSWER_MS, "the bus took no report");
      this.#told = undefined;
    } catch (thrown) {
      const error = ChanceryError.from(thrown, "unavailable");
      if (error.message !== this.#told && !this.#closed) this.#options.onAlarm(error);
      this.#told = error.message;
    }
    this.#schedule(this.#options.everyMs);
  }
}
