import type { Restriction } from "../policy/index.ts";
import type { DecisionTables } from "./tables.ts";

export interface DecisionContext {
  readonly tables: DecisionTables;
  readonly service: string;
  readonly decisionId: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly random: () => number;
  /** The same array until the set changes. */
  readonly restrictions?: readonly Restriction[] | undefined;
  /** Microseconds since the Check came in. */
  readonly elapsedUs: () => number;
}
