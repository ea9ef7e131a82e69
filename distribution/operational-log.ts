import { ChanceryError, type OperationalLog } from "../resources/index.ts";
import { type Digest, digestOf, type SigningKey, type Trust } from "../revision/index.ts";
import { type ApprovalState, type Approvals, applyAction, approvalLog } from "./approval-state.ts";
import type { LogStream, SequencedEntry, Subscription } from "./bus.ts";
import { MAX_LOG_ENTRIES } from "./bus-limits.ts";
import { withDeadline } from "./deadline.ts";
import { chainOf, type LogChain } from "./log-chain.ts";
import { type LogFiles, openLogFiles } from "./log-files.ts";
import {
  checkAction,
  type LogAction,
  resignLogEntry,
  type SignedLogEntry,
  signLogEntry,
  verifyLogEntry,
} from "./log-statement.ts";

const ANSWER_MS = 5_000;
const RETRY_MS = 2_000;
const MAX_ATTEMPTS = 8;
/** Refused entries and those without effect that are remembered, so that each is told and counted once. */
const MAX_TOLD = 1_024;

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
  /** Milliseconds until what failed is tried again; 2,000 unless given. */
  readonly retryMs?: number;
}

export type LogEvent =
  | { readonly type: "taken"; readonly entry: SignedLogEntry; readonly restored: boolean }
  /** Each once: not covered by the trust file, malformed, of an unknown kind, or without effect where it stands. */
  | { readonly type: "refused"; readonly error: ChanceryError };

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
  /** Safe to call twice. */
  close(): Promise<void>;
}

/** Resolves when what is on disk is taken up; the bus need not answer for that. */
export async function startOperationalLog(options: OperationalLogOptions): Promise<OperationalLogKeeper> {
  const keeper = new LogKeeper(options, await openLogFiles(options.directory, options.onAlarm));
  await keeper.start();
  return keeper;
}

interface BusEntry {
  readonly sequence: number;
  /** Of the bytes. */
  readonly bytesDigest: Digest;
  /** undefined: refused. */
  readonly entry: SignedLogEntry | undefined;
}

class LogKeeper implements OperationalLogKeeper {
  readonly #options: OperationalLogOptions;
  readonly #files: LogFiles;
  #log: LogChain = { chain: [], displaced: [] };
  /** What the log says; in the middle of putting it in order, that. */
  #states: Approvals = new Map();
  /** What it said when it was last in order. */
  #approvals: Approvals = new Map();
  #onBus: readonly BusEntry[] = [];
  /** Digest → as it is on disk. */
  readonly #onDisk = new Map<Digest, SignedLogEntry>();
  /** What was told already. */
  readonly #told = new Set<string>();
  #refusals = 0;
  #subscription: Subscription | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #looking = false;
  #retry: NodeJS.Timeout | undefined;
  #failure: string | undefined;
  #closed = false;

  constructor(options: OperationalLogOptions, files: LogFiles) {
    this.#options = options;
    this.#files = files;
  }

  async start(): Promise<void> {
    const held: SignedLogEntry[] = [];
    for (const bytes of await this.#files.read()) {
      const entry = this.#verify(bytes);
      if (entry === undefined) continue;
      this.#onDisk.set(entry.digest, entry);
      held.push(this.#underOwnKeys(entry));
    }
    this.#adopt(chainOf([], held), true);
    this.#approvals = this.#states;
    this.#subscription = this.#options.bus.watch(() => this.#look());
    this.#look();
    // What the bus has is in the first revision, where it answers.
    await this.#last;
  }

  get approvals(): Approvals {
    return this.#approvals;
  }

  entries(): readonly SignedLogEntry[] {
    return [...this.#log.chain, ...this.#log.displaced];
  }

  replay(): OperationalLog {
    return approvalLog(this.#approvals, this.#options.now());
  }

  refused(): number {
    return this.#refusals;
  }

  async append(action: LogAction, by: string): Promise<SignedLogEntry> {
    if (this.#closed) throw new ChanceryError("unavailable", "this process is stopping");
    checkAction(action);
    return await this.#inTurn(async () => {
      const at = new Date(this.#options.now()).toISOString();
      const appended = await this.#append(action, by, at);
      await this.#save();
      return appended;
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#subscription?.close();
    clearTimeout(this.#retry);
    await this.#last;
  }

  /** One thing at a time. What it changed is shown when it is done: in between, entries may be on their way elsewhere. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work).finally(() => {
      if (this.#approvals === this.#states) return;
      this.#approvals = this.#states;
      this.#options.onChange?.();
    });
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** Reads what is new, puts on the bus what it lacks, and writes to disk what is not there. Tells what fails. */
  #look(): void {
    // One that has not begun sees every change until then.
    if (this.#looking || this.#closed) return;
    this.#looking = true;
    clearTimeout(this.#retry);
    void this.#inTurn(async () => {
      this.#looking = false;
      if (this.#closed) return;
      try {
        await this.#read();
        await this.#save();
        await this.#refill();
        await this.#replace();
        await this.#save();
        this.#failure = undefined;
      } catch (thrown) {
        const error = ChanceryError.from(thrown, "unavailable");
        if (error.message !== this.#failure) this.#options.onAlarm(error);
        this.#failure = error.message;
        if (!this.#closed) this.#retry = setTimeout(() => this.#look(), this.#options.retryMs ?? RETRY_MS);
      }
    });
  }

  async #append(action: LogAction, by: string, at: string): Promise<SignedLogEntry> {
    const { signers, trust, now } = this.#options;
    if (signers.length === 0) {
      throw new ChanceryError(
        "untrusted",
        "this process has no key for the operational log that the trust file covers",
      );
    }
    for (let attempt = 1; ; attempt++) {
      await this.#read();
      await this.#refill();
      applyAction(this.#states.get(action.id), { at, by, action });
      const { chain } = this.#log;
      if (chain.length >= MAX_LOG_ENTRIES) {
        throw new ChanceryError("unavailable", `the operational log has ${chain.length} entries, and no more fit`);
      }
      const place = { sequence: chain.length + 1, previous: chain.at(-1)?.digest ?? "" };
      const bytes = signLogEntry({ format: 1, ...place, at, by, action }, signers);
      const entry = verifyLogEntry(bytes, trust, now());
      try {
        await this.#put(entry);
      } catch (error) {
        const isConflict = error instanceof ChanceryError && error.code === "conflict";
        if (!isConflict || attempt === MAX_ATTEMPTS) throw error;
        continue;
      }
      this.#adopt({ chain: [...chain, entry], displaced: this.#log.displaced }, false);
      return entry;
    }
  }

  async #put(entry: SignedLogEntry): Promise<void> {
    const expected = this.#onBus.at(-1)?.sequence ?? 0;
    const appending = this.#options.bus.append(entry.bytes, expected);
    const sequence = await withDeadline(appending, ANSWER_MS, "the bus took no log entry");
    this.#onBus = [...this.#onBus, { sequence, bytesDigest: digestOf(entry.bytes), entry }];
  }

  async #read(): Promise<void> {
    const last = this.#onBus.at(-1);
    const tail = await this.#after(Math.max(0, (last?.sequence ?? 0) - 1));
    const [first, ...newer] = tail;
    if (last !== undefined && first?.sequence === last.sequence && digestOf(first.entry) === last.bytesDigest) {
      if (newer.length === 0) return;
      this.#onBus = [...this.#onBus, ...newer.map((each) => this.#busEntry(each))];
    } else {
      // The first time, or another log than the one that was seen: it was wiped, or went back.
      if (last === undefined && tail.length === 0) return;
      if (last !== undefined) this.#options.onAlarm(new ChanceryError("unavailable", "the bus has lost log entries"));
      const all = last === undefined ? tail : await this.#after(0);
      this.#onBus = all.map((each) => this.#busEntry(each));
    }
    const onBus = this.#onBus.flatMap(({ entry }) => (entry === undefined ? [] : [entry]));
    this.#adopt(chainOf(onBus, this.entries()), false);
  }

  async #after(sequence: number): Promise<readonly SequencedEntry[]> {
    return await withDeadline(this.#options.bus.after(sequence), ANSWER_MS, "the bus gives no log entries");
  }

  #busEntry({ sequence, entry: bytes }: SequencedEntry): BusEntry {
    const entry = this.#verify(bytes);
    return {
      sequence,
      bytesDigest: digestOf(bytes),
      entry: entry === undefined ? undefined : this.#underOwnKeys(entry),
    };
  }

  #verify(bytes: Uint8Array): SignedLogEntry | undefined {
    const { trust, now } = this.#options;
    try {
      return verifyLogEntry(bytes, trust, now());
    } catch (error) {
      this.#refuse(digestOf(bytes), error);
      return undefined;
    }
  }

  /** Of a key that will be retired, while it is still trusted: the entry is to stand afterwards, too. */
  #underOwnKeys(entry: SignedLogEntry): SignedLogEntry {
    const { signers, trust, now } = this.#options;
    const [signer] = signers;
    if (signer === undefined || entry.signedBy.includes(signer.keyId)) return entry;
    try {
      return verifyLogEntry(resignLogEntry(entry, signers), trust, now());
    } catch {
      // The own key was not valid yet when the entry was made: it stands under the one that it has.
      return entry;
    }
  }

  /** Takes up a log, and tells what is new in it. */
  #adopt(log: LogChain, restored: boolean): void {
    const before = this.#log;
    if (log.chain.at(-1)?.digest === before.chain.at(-1)?.digest && sameDigests(log.displaced, before.displaced))
      return;
    const known = new Set(this.entries().map(({ digest }) => digest));
    this.#log = log;
    const states = new Map<string, ApprovalState>();
    for (const entry of this.entries()) {
      const { digest, sequence, kind, at, by, action } = entry;
      if (!known.has(digest)) this.#options.onEvent?.({ type: "taken", entry, restored });
      try {
        if (action === undefined) {
          const message = `it is of kind "${kind}", which this build does not know: update this process`;
          throw new ChanceryError("unsupported-format", message);
        }
        states.set(action.id, applyAction(states.get(action.id), { at, by, action }));
      } catch (thrown) {
        const error = ChanceryError.from(thrown);
        this.#refuse(
          digest,
          new ChanceryError(error.code, `log entry ${sequence}: ${error.message}`, { cause: error }),
        );
      }
    }
    this.#states = states;
  }

  /** Puts on the bus what it lacks of the chain: it was wiped, or what it has is not covered by the trust file any more. */
  async #refill(): Promise<void> {
    const there = new Set(this.#onBus.flatMap(({ entry }) => (entry === undefined ? [] : [entry.digest])));
    for (const entry of this.#log.chain) if (!there.has(entry.digest)) await this.#put(entry);
  }

  /** Appends anew what has no place in the chain, unless it is said there already. */
  async #replace(): Promise<void> {
    const moving = this.#log.displaced.filter(({ action }) => action !== undefined);
    for (const entry of moving) {
      const { action, by, at, digest, sequence } = entry;
      if (action === undefined) continue;
      const { chain, displaced } = this.#log;
      this.#adopt({ chain, displaced: displaced.filter((other) => other.digest !== digest) }, false);
      try {
        await this.#append(action, by, at);
      } catch (thrown) {
        const error = ChanceryError.from(thrown, "unavailable");
        if (error.code === "unavailable" || error.code === "untrusted") {
          this.#adopt({ chain: this.#log.chain, displaced: [entry, ...this.#log.displaced] }, false);
          throw error;
        }
        this.#refuse(
          digest,
          new ChanceryError(error.code, `log entry ${sequence}: ${error.message}`, { cause: error }),
        );
      }
    }
    if (moving.length === 0) return;
    const what = `${moving.length} log entries had no place in the log any more, and were appended anew`;
    this.#options.onAlarm(new ChanceryError("conflict", what));
  }

  /** Brings the disk to what is held; what left the chain goes last. */
  async #save(): Promise<void> {
    const held = new Map(this.entries().map((entry) => [entry.digest, entry]));
    for (const [digest, entry] of held) {
      if (sameBytes(this.#onDisk.get(digest)?.bytes, entry.bytes)) continue;
      try {
        await this.#files.write(entry);
      } catch (cause) {
        const { message } = ChanceryError.from(cause);
        const what = `log entry ${entry.sequence} holds, but cannot be kept over a restart: ${message}`;
        throw new ChanceryError("unavailable", what, { cause });
      }
      this.#onDisk.set(digest, entry);
    }
    for (const [digest, entry] of this.#onDisk) {
      if (held.has(digest)) continue;
      await this.#files.remove(entry);
      this.#onDisk.delete(digest);
    }
  }

  #refuse(what: string, thrown: unknown): void {
    if (this.#told.has(what)) return;
    this.#told.add(what);
    const [oldest] = this.#told;
    if (this.#told.size > MAX_TOLD && oldest !== undefined) this.#told.delete(oldest);
    this.#refusals += 1;
    const cause = ChanceryError.from(thrown, "corrupt");
    const error = new ChanceryError(cause.code, `refused: ${cause.message}`, { cause });
    this.#options.onEvent?.({ type: "refused", error });
    this.#options.onAlarm(error);
  }
}

function sameBytes(one: Uint8Array | undefined, other: Uint8Array): boolean {
  return one === other || (one !== undefined && Buffer.compare(one, other) === 0);
}

function sameDigests(one: readonly SignedLogEntry[], other: readonly SignedLogEntry[]): boolean {
  return one.length === other.length && one.every(({ digest }, index) => digest === other[index]?.digest);
}
