/**
 * In: the active revision and secret material. Out: Envoys that run it. Promises: a rejected resource leaves the last
 * good one, a change sends only what changed, a restart sends nothing that the Envoy already has.
 */
export { type Clock, systemClock } from "./clock.ts";
export { createEndpointDns, DEFAULT_DNS_SETTINGS, type DnsSettings, type EndpointDns } from "./endpoint-dns.ts";
export {
  createEndpointFeed,
  type EndpointFeed,
  type EndpointFeedOptions,
  type FeedAnswer,
  type FeedMemory,
  type FeedOutcome,
} from "./endpoint-feed.ts";
export { type EndpointFiles, type EndpointFilesOptions, watchEndpointFiles } from "./endpoint-files.ts";
export { type EndpointMemory, openEndpointMemory } from "./endpoint-memory.ts";
export type { ClusterLoad } from "./load-table.ts";
export type { NodeDetail, ResourceDetail, ResourceStanding } from "./node-detail.ts";
export type { NodeIdentity, NodePlan } from "./node-identity.ts";
export type { NodeHeldBack, NodeNack, NodeState, NodeTypeState } from "./node-state.ts";
export { openQuarantineMemory, type QuarantineFiles, type QuarantineMemory } from "./quarantine-memory.ts";
export { createSecretSource, type SecretSource, type SecretSourceOptions } from "./secret-source.ts";
export {
  createXdsServer,
  DEFAULT_XDS_SETTINGS,
  type XdsServer,
  type XdsServerOptions,
  type XdsSettings,
} from "./server.ts";
export type { GroupChange, GroupSnapshot, ServedResource } from "./snapshot.ts";
export type { XdsEvent } from "./stream.ts";
