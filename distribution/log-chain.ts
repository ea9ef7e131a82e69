import type { Digest } from "../revision/index.ts";
import { isBefore, isWhole, saysWhatWas } from "./log-checkpoint.ts";
import type { SignedLogEntry } from "./log-statement.ts";

/** The operational log as one process sees it. */
export interface LogChain {
  /** From entry 1, or from a checkpoint on; each names the one before it. */
  readonly chain: readonly SignedLogEntry[];
  /**
   * Entries that have no place in it, by sequence: of a log that went another way while it could not be reached, or after
   * a gap. What they say holds all the same, and is appended anew; of before the checkpoint, only what they take back.
   */
  readonly displaced: readonly SignedLogEntry[];
  /** Checkpoints that are whole and not taken, and why. */
  readonly refused: readonly { readonly entry: SignedLogEntry; readonly reason: string }[];
}

export const noLog: LogChain = { chain: [], displaced: [], refused: [] };

/**
 * Puts what the bus has and what this process holds into one order. Where two entries claim a place the bus's is taken,
 * of two on the bus the one that was first: so all who see the same bus come to the same chain. It begins with the newest
 * checkpoint that comes after what is held, never with one of before it, whoever shows that.
 *
 * @param held  the log so far
 */
export function chainOf(onBus: readonly SignedLogEntry[], held: LogChain): LogChain {
  const index = new EntryIndex([...onBus, ...held.chain, ...held.displaced]);
  const { chain, refused } = chooseChain(index, held.chain[0]);
  const [base] = chain;
  const placed = new Set(chain.map(({ digest }) => digest));
  const displaced = index
    .entries()
    .filter((entry) => !placed.has(entry.digest) && entry.checkpoint === undefined)
    .filter((entry) => !isBefore(entry, base) || entry.action?.type === "approval-revoke")
    .sort((a, b) => a.sequence - b.sequence);
  return { chain, displaced, refused };
}

/** @param root  first of what is held */
function chooseChain(index: EntryIndex, root: SignedLogEntry | undefined): Omit<LogChain, "displaced"> {
  const refused: { entry: SignedLogEntry; reason: string }[] = [];
  const pinned = root?.checkpoint === undefined ? undefined : root;
  for (const candidate of index.checkpointsAfter(pinned?.sequence ?? 0)) {
    const chain = index.from(candidate);
    if (!isWhole(chain)) continue;
    const reason = whyNot(candidate, index, root);
    if (reason === undefined) return { chain, refused };
    refused.push({ entry: candidate, reason });
  }
  const first = pinned ?? index.first();
  return { chain: first === undefined ? [] : index.from(first), refused };
}

function whyNot(candidate: SignedLogEntry, index: EntryIndex, root: SignedLogEntry | undefined): string | undefined {
  const { checkpoint } = candidate;
  if (checkpoint === undefined) return "it is none";
  if (root !== undefined && !checkpoint.lineage.some(({ digest }) => digest === root.digest)) {
    return "it does not come after what is held here: one of the two logs is to be given up (docs/approvals.md)";
  }
  const before = index.before(candidate);
  if (before === undefined || saysWhatWas(checkpoint, before)) return undefined;
  return "it says other than the entries before it";
}

class EntryIndex {
  readonly #places = new Map<number, SignedLogEntry[]>();
  readonly #all = new Map<Digest, SignedLogEntry>();

  /** @param entries  of two that claim a place, the one to take first */
  constructor(entries: readonly SignedLogEntry[]) {
    for (const entry of entries) {
      if (this.#all.has(entry.digest)) continue;
      this.#all.set(entry.digest, entry);
      const place = this.#places.get(entry.sequence);
      if (place === undefined) this.#places.set(entry.sequence, [entry]);
      else place.push(entry);
    }
  }

  entries(): readonly SignedLogEntry[] {
    return [...this.#all.values()];
  }

  first(): SignedLogEntry | undefined {
    return this.#places.get(1)?.find(({ previous }) => previous === "");
  }

  /** Newest first. */
  checkpointsAfter(sequence: number): readonly SignedLogEntry[] {
    return this.entries()
      .filter((entry) => entry.checkpoint !== undefined && entry.sequence > sequence)
      .sort((a, b) => b.sequence - a.sequence);
  }

  /** An entry and those that follow on it. */
  from(entry: SignedLogEntry): readonly SignedLogEntry[] {
    const chain = [entry];
    for (let last = entry; ; ) {
      const next = this.#places.get(last.sequence + 1)?.find(({ previous }) => previous === last.digest);
      if (next === undefined) return chain;
      chain.push(next);
      last = next;
    }
  }

  /** All before an entry, from the first or a whole checkpoint on; undefined: some are missing. */
  before(entry: SignedLogEntry): readonly SignedLogEntry[] | undefined {
    const found: SignedLogEntry[] = [];
    for (let next = entry; next.previous !== ""; ) {
      const one = this.#all.get(next.previous);
      if (one === undefined || one.sequence !== next.sequence - 1) return undefined;
      found.push(one);
      next = one;
      if (one.checkpoint !== undefined && isWhole(found.toReversed())) break;
    }
    return found.reverse();
  }
}
