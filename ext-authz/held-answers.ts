import { Deadlines } from "./deadlines.ts";
import type { DecisionMetrics } from "./metrics.ts";
import type { Outcome } from "./outcome.ts";
import type { JournalRecord } from "./record.ts";

export interface HeldAnswer {
  readonly outcome: Outcome;
  /** Milliseconds of `monotonic`. */
  readonly started: number;
  /** When those that are not strict do not wait any longer. */
  readonly due: number;
}

export interface HeldAnswersOptions<Answer> {
  /** Resolves when the record is durable; rejects when it is not kept. */
  readonly appendRecord: (record: JournalRecord) => Promise<void>;
  /** Milliseconds of a clock that never goes back. */
  readonly monotonic: () => number;
  readonly metrics: DecisionMetrics;
  readonly log: { error(fields: object, message: string): void };
  /** Told of an answer that may leave; more than once where its record came after its time. */
  readonly release: (answer: Answer) => void;
  /** Told of an answer whose record was demanded and is not kept. */
  readonly refuse: (answer: Answer) => void;
}

/** Answers until their record is durable; those of applications that are not `strict` leave without when it is due. */
export class HeldAnswers<Answer extends HeldAnswer> {
  readonly #options: HeldAnswersOptions<Answer>;
  readonly #impatient: Deadlines<Answer>;

  constructor(options: HeldAnswersOptions<Answer>) {
    this.#options = options;
    this.#impatient = new Deadlines(options.monotonic, (answer) => {
      options.metrics.recordsLate += 1;
      options.release(answer);
    });
  }

  hold(answer: Answer): void {
    const appended = this.#options.appendRecord(answer.outcome.record);
    this.#options.metrics.recordsPending += 1;
    appended.then(
      () => this.#recorded(answer),
      (thrown: unknown) => this.#lost(answer, thrown),
    );
    if (!isStrict(answer)) this.#impatient.add(answer);
  }

  #recorded(answer: Answer): void {
    const { metrics, monotonic } = this.#options;
    metrics.recordsPending -= 1;
    metrics.recordSeconds.add((monotonic() - answer.started) / 1000);
    this.#release(answer);
  }

  #lost(answer: Answer, thrown: unknown): void {
    const { metrics, log, refuse } = this.#options;
    metrics.recordsPending -= 1;
    metrics.recordsLost += 1;
    log.error({ err: thrown, decision: answer.outcome.record.id }, "a decision could not be recorded");
    if (isStrict(answer)) refuse(answer);
    else this.#release(answer);
  }

  #release(answer: Answer): void {
    this.#impatient.delete(answer);
    this.#options.release(answer);
  }
}

/** Without an application there is nobody who could have asked for more. */
function isStrict({ outcome }: HeldAnswer): boolean {
  return outcome.application?.durability === "strict";
}
