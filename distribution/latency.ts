/** Samples that are kept; older ones leave. */
const KEPT = 1_024;

/** Milliseconds, the newest last. */
export type LatencyWindow = readonly number[];

export interface LatencySummary {
  /** Samples that the others are made of. */
  readonly count: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

export function addLatency(window: LatencyWindow, ms: number): LatencyWindow {
  return [...window.slice(1 - KEPT), ms];
}

/**
 * Quantiles by nearest rank: values that were measured, never in between.
 *
 * @returns undefined while there is no sample
 */
export function latencySummary(window: LatencyWindow): LatencySummary | undefined {
  const sorted = [...window].sort((one, other) => one - other);
  const at = (share: number): number | undefined => sorted[Math.ceil(share * sorted.length) - 1];
  const [p50, p99, max] = [at(0.5), at(0.99), sorted.at(-1)];
  if (p50 === undefined || p99 === undefined || max === undefined) return undefined;
  return { count: sorted.length, p50, p99, max };
}
