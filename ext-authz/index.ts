/**
 * In: the active revision and `CheckRequest`s. Out: a decision for each, its record, and Envoy's answer. Promises: fails
 * closed, never throws on the request path, and the record is durable before the answer leaves.
 */

export { canonicalPath } from "./canonical-path.ts";
export { chainOf, drawWeighted } from "./chain.ts";
export { type Check, CheckReader, type WireCheck } from "./check-request.ts";
export { decide, reachVerdict, resolveModel } from "./decide.ts";
export type { DecisionContext } from "./decision-context.ts";
export { decisionIds } from "./decision-id.ts";
export type { DecisionLog } from "./in-force.ts";
export type { Outcome } from "./outcome.ts";
export type * from "./record.ts";
export { canonicalHost } from "./request-attributes.ts";
export { type DecisionServer, type DecisionServerOptions, serveDecisions } from "./server.ts";
export {
  createDecisionService,
  type DecisionService,
  type DecisionServiceOptions,
  type DecisionServiceState,
} from "./service.ts";
export { type ActiveRevision, buildTables, type DecisionTables, type RouteTable } from "./tables.ts";
