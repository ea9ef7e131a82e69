/**
 * In: rules and the facts they read (`PolicyProgram`), then requests as rules see them (`DecisionInput`). Out: verdicts
 * with their explanation. Promises: pure, total, three-valued; an error is a value and never an allow.
 */
export type * from "./decision.ts";
export type * from "./program.ts";
