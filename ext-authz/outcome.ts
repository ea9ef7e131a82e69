import type { ApplicationFacts, Verdict } from "../policy/index.ts";
import { type Answer, encodeAnswer } from "./answer.ts";
import type { AnswerTemplates } from "./answer-templates.ts";
import type { DecisionRecord } from "./record.ts";

/** A decision with everything that follows from it. */
export interface Outcome {
  /** What Envoy is told; holds until the Check is read over. */
  readonly answer: Answer;
  /** The bytes of `answer`; to be called as long as that holds. */
  encode(): Uint8Array;
  readonly record: DecisionRecord;
  /** Whose request it is; undefined while that is not known. */
  readonly application: ApplicationFacts | undefined;
}

export class Decided implements Outcome {
  readonly record: DecisionRecord;
  readonly application: ApplicationFacts | undefined;
  readonly #decisionId: string;
  readonly #make: (decisionId: string) => Answer;
  readonly #templates: AnswerTemplates | undefined;
  readonly #verdict: Verdict | undefined;
  readonly #variant: string | undefined;

  constructor(
    record: DecisionRecord,
    application: ApplicationFacts | undefined,
    decisionId: string,
    make: (decisionId: string) => Answer,
    templates: AnswerTemplates | undefined,
    verdict: Verdict | undefined,
    variant: string | undefined,
  ) {
    this.record = record;
    this.application = application;
    this.#decisionId = decisionId;
    this.#make = make;
    this.#templates = templates;
    this.#verdict = verdict;
    this.#variant = variant;
  }

  get answer(): Answer {
    return this.#make(this.#decisionId);
  }

  encode(): Uint8Array {
    if (this.#templates === undefined || this.#verdict === undefined || this.#variant === undefined) {
      return encodeAnswer(this.answer);
    }
    return this.#templates.encode(this.#verdict, this.#variant, this.#decisionId, this.#make);
  }
}
