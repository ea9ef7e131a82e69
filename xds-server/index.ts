/**
 * In: the active revision and secret material. Out: Envoys that run it. Promises: a rejected resource leaves the last
 * good one, a change sends only what changed, a restart sends nothing that the Envoy already has.
 */
export type * from "./snapshot.ts";
