/**
 * In: YAML that people wrote, and the operational log. Out: an `Inventory`, validated and cross-referenced plain data,
 * or every problem at once with file:line:column and a hint. Promises: no partial inventory without its problems.
 */
export { ChanceryError, ERROR_CODES, type ErrorCode } from "./error.ts";
export type * from "./inventory.ts";
export { MATURITIES } from "./inventory.ts";
export { formatProblem, type Problem, type SourcePosition } from "./problem.ts";
