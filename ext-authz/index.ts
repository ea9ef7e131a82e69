/**
 * In: the active revision and `CheckRequest`s. Out: a decision for each, its record, and Envoy's answer. Promises: fails
 * closed, never throws on the request path, and the record is durable before the answer leaves.
 */
export type * from "./record.ts";
