/** Blobs put since this many heads ago stay on the bus; a publisher therefore puts all blobs of each revision. */
export const KEPT_GENERATIONS = 16;
/** Reporters whose newest report is kept; beyond, the one that was silent longest is dropped. */
export const MAX_REPORTERS = 256;
export const MAX_REPORT_BYTES = 64 * 1024;
export const MAX_REPORTER_NAME = 128;
