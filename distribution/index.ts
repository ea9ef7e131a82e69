/**
 * In: a resource tree that changes, revisions, node reports. Out: the same revision everywhere, in order, and what each
 * process made of it. Promises: blob before head, head with expected sequence, last good kept.
 */

export type { ApprovalState, ApprovalStep, Approvals } from "./approval-state.ts";
export type * from "./bus.ts";
export {
  type ConvergenceEvent,
  type ConvergenceInput,
  type ConvergenceState,
  convergence,
  formatConvergence,
  noConvergence,
} from "./convergence.ts";
export { type DirectoryBusOptions, openDirectoryBus } from "./directory-bus.ts";
export { type FollowerOptions, type ProcessState, type RevisionFollower, startFollower } from "./follower.ts";
export { isCovered } from "./head-check.ts";
export { createInProcessBus } from "./in-process-bus.ts";
export { createJwksReader, type JwksReader, type JwksReaderOptions } from "./jwks.ts";
export { type LatencySummary, latencySummary } from "./latency.ts";
export { LayoutGate, type LayoutGateOptions, type WaitingLayouts } from "./layout-gate.ts";
export {
  type LeaseCell,
  type LeaseKeeper,
  type LeaseKeeperOptions,
  type LeaseStatus,
  startLeaseKeeper,
} from "./lease-keeper.ts";
export { auditLog, type LogAudit } from "./log-audit.ts";
export type { Compacted, LogEvent, LogSize, OperationalLogKeeper, OperationalLogOptions } from "./log-keeper.ts";
export type { ApprovalRequest, LogAction, SignedLogEntry } from "./log-statement.ts";
export { type NatsBus, type NatsBusOptions, openNatsBus } from "./nats-bus.ts";
export { natsCredentials } from "./nats-credentials.ts";
export { keepFilled, type RefillOptions } from "./nats-refill.ts";
export { type Relay, type RelayOptions, type RelayStatus, startRelay } from "./nats-relay.ts";
export { startOperationalLog } from "./operational-log.ts";
export { claimHead, type PublishOptions, type PublishResult, publish } from "./publish.ts";
export {
  type Publisher,
  type PublisherEvent,
  type PublisherOptions,
  type PublisherStatus,
  startPublisher,
} from "./publisher.ts";
export { type Registry, type RegistryChange, type RegistryEntry, registryAt } from "./registry.ts";
export { readRegistry } from "./registry-file.ts";
export type { Compiled } from "./resolve-tree.ts";
export { type RestrictionState, restrictionStates } from "./restriction-set.ts";
export {
  mergeSignatures,
  RESTRICTION_KINDS,
  type RestrictionEntry,
  type RestrictionStatement,
  signRestriction,
  verifyRestriction,
} from "./restriction-statement.ts";
export {
  type Given,
  type RestrictionEvent,
  type Restrictions,
  type RestrictionsOptions,
  startRestrictions,
} from "./restrictions.ts";
export { RevisionTimes } from "./revision-times.ts";
