import type { Msg } from "@nats-io/nats-core";
import { ChanceryError } from "../resources/index.ts";
import type { NodeReport } from "./bus.ts";
import { MAX_NATS_REPORTERS } from "./bus-limits.ts";
import { encodeReport, parseReport } from "./bus-schema.ts";
import type { NatsStreams } from "./nats-streams.ts";

export interface SequencedReport {
  readonly sequence: number;
  readonly subject: string;
  /** undefined: what is stored there is no report of that reporter. */
  readonly report: NodeReport | undefined;
}

/** The newest report of each reporter, as the newest message of a subject of its own. */
export class NatsReports {
  readonly #streams: NatsStreams;
  readonly #onAlarm: (alarm: ChanceryError) => void;

  constructor(streams: NatsStreams, onAlarm: (alarm: ChanceryError) => void) {
    this.#streams = streams;
    this.#onAlarm = onAlarm;
  }

  async write(report: NodeReport): Promise<void> {
    const bytes = encodeReport(report);
    const { names } = this.#streams;
    await this.#streams.run("a report cannot be sent", ({ client }) => {
      return client.publish(names.report(report.role, report.reporter), bytes);
    });
  }

  /** Those stored after a sequence, oldest first. */
  async after(sequence: number): Promise<readonly SequencedReport[]> {
    const { names } = this.#streams;
    return await this.#streams.run("reports cannot be read", async ({ manager }) => {
      const found: SequencedReport[] = [];
      for (let from = sequence + 1; found.length < MAX_NATS_REPORTERS; from = (found.at(-1)?.sequence ?? from) + 1) {
        const query = { seq: from, next_by_subj: names.anyReport };
        const message = await manager.direct.getMessage(names.reports, query);
        if (message === null) return found;
        found.push(this.#read(message.seq, message.subject, message.data));
      }
      return found;
    });
  }

  /** A report as the server rings it. */
  rung(message: Msg): SequencedReport | undefined {
    const sequence = Number(message.headers?.get("Nats-Sequence"));
    const subject = message.headers?.get("Nats-Subject") ?? "";
    return Number.isSafeInteger(sequence) && sequence > 0 ? this.#read(sequence, subject, message.data) : undefined;
  }

  #read(sequence: number, subject: string, data: Uint8Array): SequencedReport {
    try {
      const report = parseReport(data);
      // Rights are given by subject: nobody may speak for another.
      if (this.#streams.names.report(report.role, report.reporter) === subject) return { sequence, subject, report };
      throw new ChanceryError("corrupt", `it says that it is of ${report.role} ${report.reporter}`);
    } catch (error) {
      this.#onAlarm(new ChanceryError("corrupt", `report ${subject}: ${ChanceryError.from(error).message}`));
      return { sequence, subject, report: undefined };
    }
  }
}
