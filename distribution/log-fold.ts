import { ChanceryError } from "../resources/index.ts";
import { type ApprovalState, type Approvals, applyAction, type LoggedAction } from "./approval-state.ts";
import type { SignedLogEntry } from "./log-statement.ts";

/** What a log says, entry after entry. */
export interface Folded {
  readonly approvals: Approvals;
  /** Entries that changed something, in order. */
  readonly effective: readonly SignedLogEntry[];
  /** Without effect where they stand, or of a kind that this build does not know. */
  readonly refused: readonly { readonly entry: SignedLogEntry; readonly error: ChanceryError }[];
  /** Those that say what was said already: of a checkpoint that others came between, or appended twice. */
  readonly repeated: readonly SignedLogEntry[];
}

/** @param before  what was said before these entries */
export function foldLog(entries: readonly SignedLogEntry[], before: Approvals = new Map()): Folded {
  const approvals = new Map(before);
  const effective: SignedLogEntry[] = [];
  const refused: { entry: SignedLogEntry; error: ChanceryError }[] = [];
  const repeated: SignedLogEntry[] = [];
  for (const entry of entries) {
    const { kind, at, by, action, checkpoint } = entry;
    if (checkpoint !== undefined) continue;
    try {
      if (action === undefined) {
        const message = `it is of kind "${kind}", which this build does not know: update this process`;
        throw new ChanceryError("unsupported-format", message);
      }
      const known = approvals.get(action.id);
      if (isSaid(known, { at, by, action })) {
        repeated.push(entry);
        continue;
      }
      approvals.set(action.id, applyAction(known, { at, by, action }));
      effective.push(entry);
    } catch (error) {
      refused.push({ entry, error: ChanceryError.from(error) });
    }
  }
  return { approvals, effective, refused, repeated };
}

/** Whether the same person did the same then: not something of the same kind once more. */
function isSaid(known: ApprovalState | undefined, { at, by, action }: LoggedAction): boolean {
  const steps = {
    "approval-request": known?.requested,
    "approval-grant": known?.granted,
    "approval-revoke": known?.revoked,
  };
  const step = steps[action.type];
  return step !== undefined && step.at === at && step.by === by && step.reason === action.reason;
}
