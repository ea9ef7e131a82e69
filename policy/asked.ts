import type { DecisionInput } from "./decision.ts";

/** A request of an application, as its rules see it. */
export type AskedContext = DecisionInput;

/** Requests of one application each; made when they are asked for. */
export type Asked = readonly Iterable<AskedContext>[];

/** Decisions that one question of an analysis is asked for; some ten seconds. */
export const MOST_DECISIONS = 250_000;

/** Counts decisions, so that a question about a large tree comes to an end. */
export interface DecisionBudget {
  /** Whether one more may be asked for. */
  take(): boolean;
  /** Whether one was refused. */
  readonly spent: boolean;
}

export function decisionBudget(most: number): DecisionBudget {
  let left = most;
  return {
    take() {
      left -= 1;
      return left >= 0;
    },
    get spent() {
      return left < 0;
    },
  };
}
