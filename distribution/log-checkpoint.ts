import { ChanceryError } from "../resources/index.ts";
import { canonicalJson, type Digest, digestOf } from "../revision/index.ts";
import type { ApprovalState, LoggedAction } from "./approval-state.ts";
import { RESTRICTION_SKEW_MS } from "./bus-limits.ts";
import { type Folded, foldLog } from "./log-fold.ts";
import { type Checkpoint, MAX_LINEAGE, type SignedLogEntry } from "./log-statement.ts";

/** A checkpoint, and what the entries after it say again. */
export interface CheckpointPlan {
  readonly checkpoint: Checkpoint;
  readonly kept: readonly LoggedAction[];
}

/**
 * What a checkpoint after this log says: everything about approvals that are not over, and about those that were not over
 * at `closedBefore`.
 *
 * @param chain  from the first entry or the last checkpoint on
 * @param closedBefore  milliseconds since the epoch
 * @throws ChanceryError "unsupported-format" for a log that holds what this build cannot say again
 */
export function planCheckpoint(chain: readonly SignedLogEntry[], closedBefore: number): CheckpointPlan {
  const [first] = chain;
  if (first === undefined) throw new ChanceryError("conflict", "the operational log is empty");
  const folded = foldLog(chain);
  const unknown = unknownKind(chain);
  if (unknown !== undefined) {
    const message = `log entry ${unknown.sequence} is of kind "${unknown.kind}", which this build does not know`;
    throw new ChanceryError("unsupported-format", `${message}: update this process first`);
  }
  const kept = keptOf(folded, closedBefore);
  const [origin, ...later] = [...(first.checkpoint?.lineage ?? []), { sequence: first.sequence, digest: first.digest }];
  const lineage = origin === undefined ? [] : [origin, ...later.slice(-(MAX_LINEAGE - 1))];
  const content = contentDigest(kept);
  return {
    checkpoint: {
      ...{ type: "checkpoint", entries: kept.length, content },
      ...{ closedBefore: new Date(closedBefore).toISOString(), lineage },
    },
    kept,
  };
}

/** Whether the entries of a chain that begins with a checkpoint say all that it announces, with nothing in between. */
export function isWhole(chain: readonly SignedLogEntry[]): boolean {
  const [first, ...rest] = chain;
  const checkpoint = first?.checkpoint;
  if (checkpoint === undefined || rest.length < checkpoint.entries) return false;
  const said: LoggedAction[] = [];
  for (const { at, by, action } of rest.slice(0, checkpoint.entries)) {
    if (action === undefined) return false;
    said.push({ at, by, action });
  }
  return contentDigest(said) === checkpoint.content;
}

/**
 * Whether a checkpoint says again what is needed of the entries before it.
 *
 * @param before  all entries before it, from the first or from an earlier checkpoint on
 */
export function saysWhatWas(checkpoint: Checkpoint, before: readonly SignedLogEntry[]): boolean {
  // What this build cannot read it cannot check: whoever signed it could.
  if (unknownKind(before) !== undefined) return true;
  return contentDigest(keptOf(foldLog(before), Date.parse(checkpoint.closedBefore))) === checkpoint.content;
}

/**
 * Whether an entry that has no place after a checkpoint is of before it: what it gave may have been taken back in entries
 * that are there no more, so that it gives nothing now. What it takes back, it does.
 */
export function isBefore(entry: SignedLogEntry, base: SignedLogEntry | undefined): boolean {
  if (base?.checkpoint === undefined) return false;
  return entry.sequence < base.sequence || Date.parse(entry.at) <= Date.parse(base.at) + RESTRICTION_SKEW_MS;
}

function unknownKind(chain: readonly SignedLogEntry[]): SignedLogEntry | undefined {
  return chain.find(({ action, checkpoint }) => action === undefined && checkpoint === undefined);
}

function keptOf({ approvals, effective }: Folded, closedBefore: number): readonly LoggedAction[] {
  const kept: LoggedAction[] = [];
  for (const { at, by, action } of effective) {
    const state = action === undefined ? undefined : approvals.get(action.id);
    if (action !== undefined && state !== undefined && closedAt(state) >= closedBefore) kept.push({ at, by, action });
  }
  return kept;
}

/** When it was, or will be, over: milliseconds since the epoch. */
function closedAt({ revoked, until }: ApprovalState): number {
  const ends = [revoked?.at, until].filter((time) => time !== undefined).map((time) => Date.parse(time));
  return Math.min(Number.POSITIVE_INFINITY, ...ends);
}

function contentDigest(actions: readonly LoggedAction[]): Digest {
  return digestOf(actions.map(({ at, by, action }) => digestOf(canonicalJson({ at, by, action }))).join("\n"));
}
