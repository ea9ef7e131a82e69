/**
 * In: a resource tree that changes, revisions, node reports. Out: the same revision everywhere, in order, and what each
 * process made of it. Promises: blob before head, head with expected sequence, last good kept.
 */
export type * from "./bus.ts";
