/** Blobs put since this many heads ago stay on the bus; a publisher therefore puts all blobs of each revision. */
export const KEPT_GENERATIONS = 16;
/** Reporters whose newest report is kept; beyond, the one that was silent longest is dropped. */
export const MAX_REPORTERS = 256;
/** The same on a bus of many machines: processes of all regions, each of which tells of its Envoys itself. */
export const MAX_NATS_REPORTERS = 4_096;
/** A reporter that is silent this long (milliseconds) is gone: its last report is dropped. */
export const KEPT_REPORT_MS = 15 * 60_000;
/** A report is one message. */
export const MAX_REPORT_BYTES = 192 * 1024;
export const MAX_REPORTER_NAME = 128;
/** Entries (restrictions and liftings) that a bus keeps; beyond, the oldest go, and who holds them puts them again. */
export const MAX_RESTRICTIONS = 512;
export const MAX_RESTRICTION_BYTES = 8 * 1024;
/** Longest time (milliseconds) that a restriction may last from when it is taken in; it can be renewed. */
export const MAX_RESTRICTION_MS = 7 * 86_400_000;
/** Clocks of two machines may differ by this much (milliseconds). */
export const RESTRICTION_SKEW_MS = 10 * 60_000;
/** Entries of the operational log since its last checkpoint; beyond, no more are taken: nothing of it may be forgotten. */
export const MAX_LOG_ENTRIES = 16_384;
/** Revocations that it takes all the same: one for every request that fits. */
export const RESERVED_LOG_ENTRIES = MAX_LOG_ENTRIES / 2;
/** Entries that a bus keeps: a log that is full, a checkpoint of all of it, and attempts at one that others came between. */
export const MAX_BUS_LOG_ENTRIES = 3 * MAX_LOG_ENTRIES;
export const MAX_LOG_ENTRY_BYTES = 8 * 1024;
/** What a checkpoint says again may be a little longer than it was, for the place that it has there. */
export const MAX_KEPT_LOG_ENTRY_BYTES = MAX_LOG_ENTRY_BYTES + 768;
/** How long (milliseconds) a bus keeps an entry: no entry means anything for longer. */
export const RESTRICTION_KEPT_MS = MAX_RESTRICTION_MS + 86_400_000;
/**
 * Greatest epoch of a leader. They go by the clock (milliseconds), so that only somebody who forges one comes near; heads
 * count below it, so that whoever leads can always go above them.
 */
export const MAX_EPOCH = 2 ** 52;
