import type { ChanceryError, OperationalLog } from "../resources/index.ts";
import type { SigningKey, Trust } from "../revision/index.ts";
import type { Approvals } from "./approval-state.ts";
import type { LogStream } from "./bus.ts";
import type { LogAction, SignedLogEntry } from "./log-statement.ts";

export interface OperationalLogOptions {
  readonly bus: LogStream;
  /** Where entries are kept over restarts. */
  readonly directory: string;
  readonly trust: Trust;
  /** Keys that sign what is appended from here; none: nothing is. */
  readonly signers: readonly SigningKey[];
  /** Called when what the log says has changed, after the start. */
  readonly onChange?: () => void;
  readonly onEvent?: (event: LogEvent) => void;
  readonly onAlarm: (alarm: ChanceryError) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Entries with which the log is full; 16,384 unless given. */
  readonly capacity?: number;
  /** Milliseconds until what failed is tried again; 2,000 unless given. */
  readonly retryMs?: number;
}

export type LogEvent =
  | { readonly type: "taken"; readonly entry: SignedLogEntry; readonly restored: boolean }
  /** Each once: not covered by the trust file, malformed, of an unknown kind, or without effect where it stands. */
  | { readonly type: "refused"; readonly error: ChanceryError };

/** How full the log is. */
export interface LogSize {
  /** Since the last checkpoint, which counts. */
  readonly entries: number;
  /** With so many, revocations alone are taken until it was compacted. */
  readonly capacity: number;
  /** Of the newest entry; 0 before the first. */
  readonly sequence: number;
  /** The last checkpoint; left out where there is none. */
  readonly checkpoint?: { readonly sequence: number; readonly at: string; readonly by: string };
}

/** What a compaction did. */
export interface Compacted {
  /** Entries that the log had, and those that say again what is needed of them. */
  readonly before: number;
  readonly kept: number;
  /** Of the checkpoint. */
  readonly sequence: number;
}

/** The operational log of one process: what the API and controllers did, signed, in one order for everybody. */
export interface OperationalLogKeeper {
  readonly approvals: Approvals;
  /** In order. */
  entries(): readonly SignedLogEntry[];
  /** What it adds to the authored tree now. */
  replay(): OperationalLog;
  /** Entries that were refused since the start. */
  refused(): number;
  /**
   * Appends what somebody did. It is on the bus and on disk when this resolves.
   *
   * @param by  who did it
   * @throws ChanceryError "invalid-argument"; "untrusted" without a key; what `applyAction` throws; "unavailable" where the
   *   bus or the disk does not take it
   */
  append(action: LogAction, by: string): Promise<SignedLogEntry>;
  size(): LogSize;
  /**
   * Puts a signed checkpoint behind the log, which says again what is needed of it; what came before goes to the archive
   * beside the log of each process, and from the bus. Approvals that were over before `closedBefore` (milliseconds since
   * the epoch) are in the archive alone.
   *
   * @throws ChanceryError "conflict" where nothing can be left out, or others append all the time; else as `append`
   */
  compact(by: string, closedBefore: number): Promise<Compacted>;
  /** Safe to call twice. */
  close(): Promise<void>;
}
