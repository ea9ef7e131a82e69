import type { Digest } from "../revision/index.ts";
import type { SignedLogEntry } from "./log-statement.ts";

/** The operational log as one process sees it. */
export interface LogChain {
  /** Entry 1, 2, 3, …, each of which names the one before it. */
  readonly chain: readonly SignedLogEntry[];
  /**
   * Entries that have no place in it, by sequence: of a log that went another way while it could not be reached, or after
   * a gap. What they say holds all the same, and is appended anew.
   */
  readonly displaced: readonly SignedLogEntry[];
}

/**
 * Puts what the bus has and what this process holds into one order. Where two entries claim a place the bus's is taken,
 * of two on the bus the one that was first: so all who see the same bus come to the same chain.
 */
export function chainOf(onBus: readonly SignedLogEntry[], held: readonly SignedLogEntry[]): LogChain {
  const places = new Map<number, SignedLogEntry[]>();
  const all = new Map<Digest, SignedLogEntry>();
  for (const entry of [...onBus, ...held]) {
    if (all.has(entry.digest)) continue;
    all.set(entry.digest, entry);
    const place = places.get(entry.sequence);
    if (place === undefined) places.set(entry.sequence, [entry]);
    else place.push(entry);
  }
  const chain: SignedLogEntry[] = [];
  for (;;) {
    const previous = chain.at(-1)?.digest ?? "";
    const next = places.get(chain.length + 1)?.find((entry) => entry.previous === previous);
    if (next === undefined) break;
    chain.push(next);
    all.delete(next.digest);
  }
  return { chain, displaced: [...all.values()].sort((a, b) => a.sequence - b.sequence) };
}
