import type { Digest } from "../revision/index.ts";

/**
 * Moves revisions out and reports back. Implementations: in one process, over a directory (one machine), NATS. All pass
 * the same contract test. Content is addressed by digest and verified by the reader; blobs are put before the head that
 * names them. A bus never interprets content and never decides what is newer: it appends with an expected sequence.
 */
export interface Bus {
  /** Idempotent. */
  putBlob(digest: Digest, bytes: Uint8Array): Promise<void>;
  /**
   * undefined: not here. The bytes are verified against the digest before they are returned.
   *
   * @param size  bytes that it should have; known, it saves a round trip for what travels in pieces
   */
  getBlob(digest: Digest, size?: number): Promise<Uint8Array | undefined>;
  /** Appends a head. Throws ChanceryError "conflict" when the newest sequence is not `expected`. Returns the new one. */
  publishHead(head: HeadAnnouncement, expected: number): Promise<number>;
  /** The newest head; undefined before the first. */
  head(): Promise<SequencedHead | undefined>;
  /** Calls back with the newest head, now (if there is one) and after each change; intermediate ones may be skipped. */
  watchHead(listener: (head: SequencedHead) => void): Subscription;
  /** The newest report of each reporter is kept. */
  report(report: NodeReport): Promise<void>;
  watchReports(listener: (report: NodeReport) => void): Subscription;
  /** Adds a signed restriction, or its lifting, to a set that only grows. Idempotent; the newest ones are kept. */
  putRestriction(entry: Uint8Array): Promise<void>;
  /** All that are kept, in any order; not verified. */
  restrictions(): Promise<readonly Uint8Array[]>;
  /** Calls back with every entry at least once, now and as they come, in any order; not verified. */
  watchRestrictions(listener: (entry: Uint8Array) => void): Subscription;
  readonly log: LogStream;
  close(): Promise<void>;
}

/** The operational log as a bus has it: signed entries in the order in which they were appended, never dropped by itself. */
export interface LogStream {
  /**
   * @returns the sequence of the entry
   * @throws ChanceryError "conflict" when the newest sequence is not `expected`, "unavailable" when no more fit
   */
  append(entry: Uint8Array, expected: number): Promise<number>;
  /** Those after a sequence, oldest first; not verified. */
  after(sequence: number): Promise<readonly SequencedEntry[]>;
  /** Forgets the entries before a sequence; those that are left keep theirs, and new ones go on after them. */
  dropBefore(sequence: number): Promise<void>;
  /** Calls back now and whenever there may be more, or less. */
  watch(listener: () => void): Subscription;
}

export interface SequencedEntry {
  /** Greater than that of every entry before it; where the log was lost it may start anew. */
  readonly sequence: number;
  readonly entry: Uint8Array;
}

export interface Subscription {
  close(): void;
}

export interface HeadAnnouncement {
  /** Blob with the SignedManifest. */
  readonly manifest: Digest;
  readonly number: number;
  /** Of the lease under which it was published, where publishers have one: an older one is refused by whoever saw a newer. */
  readonly epoch?: number;
  /**
   * What the blob with the manifest holds, where it is at hand: a bus may carry it along, so that nobody has to ask for
   * it. Whoever takes it holds it against the digest.
   */
  readonly content?: Uint8Array;
}

export interface SequencedHead extends HeadAnnouncement {
  /** 1, 2, 3, … in the order of publishing. */
  readonly sequence: number;
}

/** What a data-path process says of itself. */
export interface NodeReport {
  readonly reporter: string;
  readonly role: "authz" | "xds" | "relay";
  /** RFC 3339. */
  readonly at: string;
  /** Newest revision whose tables are loaded. */
  readonly prepared: number;
  /** Revision by which it decides (authz), which it serves (xds), or which its region has (relay). */
  readonly active: number;
  /** Hashes of the layouts it can decide for. */
  readonly layouts: readonly string[];
  /** Layout → time (RFC 3339) of the first decision made with it. */
  readonly firstDecisions: Readonly<Record<string, string>>;
  /** Revision number → time (RFC 3339) since when it decides by it; the newest few. */
  readonly activeSince: Readonly<Record<string, string>>;
  readonly decisions: number;
  /** Revision number → time (RFC 3339) of the first decision by it; the newest few. */
  readonly decidedSince?: Readonly<Record<string, string>>;
  /** Of an xDS server: its Envoys, those that need attention first; as many as fit. */
  readonly nodes?: readonly NodeSummary[];
  /** How many it has. */
  readonly nodeCount?: number;
  /** Ids of the restrictions that are in force here; left out by those that take none. */
  readonly restrictions?: readonly string[];
  /** Why the newest head was refused. */
  readonly error?: string;
}

/** One Envoy, as its xDS server tells of it. Times are RFC 3339. */
export interface NodeSummary {
  readonly id: string;
  /** Node group. */
  readonly group: string;
  /** false: no revision names the group. */
  readonly knownGroup: boolean;
  readonly envoyVersion: string;
  readonly plan: string;
  readonly connected: boolean;
  readonly lastSeen: string;
  /** 0: none yet. */
  readonly acknowledged: number;
  readonly acknowledgedAt?: string;
  /** Hash of the layout that it acknowledged; empty: none. */
  readonly layout: string;
  readonly rejection?: {
    readonly typeUrl: string;
    readonly resources: readonly string[];
    readonly message: string;
    readonly at: string;
    readonly revision: number;
    /** Nothing that it accepted since has replaced what it refused. */
    readonly standing: boolean;
  };
  /** What it is not given since it, or nodes like it, refused it; the first few. */
  readonly heldBack?: readonly HeldBackSummary[];
}

export interface HeldBackSummary {
  readonly typeUrl: string;
  readonly name: string;
  /** Of the revision that brought what was refused. */
  readonly revision: number;
  /** "node", "build" or "group". */
  readonly scope: string;
  readonly since: string;
}
