import type { FloodGate } from "./flood-gate.ts";
import type { JournalRecord } from "./record.ts";

export interface RefusalSummaryOptions {
  readonly gate: FloodGate;
  readonly serviceName: string;
  readonly appendRecord: (record: JournalRecord) => Promise<void>;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
  readonly log: { error(fields: object, message: string): void };
}

/** Writes once a second, in one record, how many refusals got none of their own. */
export class RefusalSummary {
  readonly #options: RefusalSummaryOptions;
  readonly #timer: NodeJS.Timeout;
  #countedSince: number;

  constructor(options: RefusalSummaryOptions) {
    this.#options = options;
    this.#countedSince = options.clock();
    this.#timer = setInterval(() => void this.#write(), 1000);
    this.#timer.unref();
  }

  /** Writes what was counted since. Never rejects. */
  close(): Promise<void> {
    clearInterval(this.#timer);
    return this.#write();
  }

  async #write(): Promise<void> {
    const { gate, serviceName, appendRecord, clock, log } = this.#options;
    const since = this.#countedSince;
    this.#countedSince = clock();
    const counts = gate.drain();
    if (counts === undefined) return;
    try {
      await appendRecord({
        format: 1,
        kind: "suppressed",
        at: new Date(this.#countedSince).toISOString(),
        since: new Date(since).toISOString(),
        service: serviceName,
        counts,
      });
    } catch (thrown) {
      gate.restore(counts);
      log.error({ err: thrown, counts }, "counted refusals could not be recorded");
    }
  }
}
