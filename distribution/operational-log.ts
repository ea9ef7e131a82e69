import { ChanceryError, type OperationalLog } from "../resources/index.ts";
import { digestOf } from "../revision/index.ts";
import { type Approvals, applyAction, approvalLog } from "./approval-state.ts";
import type { Subscription } from "./bus.ts";
import { MAX_KEPT_LOG_ENTRY_BYTES, MAX_LOG_ENTRIES, RESERVED_LOG_ENTRIES } from "./bus-limits.ts";
import { chainOf, type LogChain, noLog } from "./log-chain.ts";
import { isBefore, planCheckpoint } from "./log-checkpoint.ts";
import { openLogFiles } from "./log-files.ts";
import { type Folded, foldLog } from "./log-fold.ts";
import type { Compacted, LogSize, OperationalLogKeeper, OperationalLogOptions } from "./log-keeper.ts";
import { LogOnBus } from "./log-on-bus.ts";
import { LogOnDisk } from "./log-on-disk.ts";
import {
  checkAction,
  type LogAction,
  type LogStatement,
  resignLogEntry,
  type SignedLogEntry,
  signLogEntry,
  verifyLogEntry,
} from "./log-statement.ts";

const RETRY_MS = 2_000;
const MAX_ATTEMPTS = 8;
/** Refused entries and those without effect that are remembered, so that each is told and counted once. */
const MAX_TOLD = 1_024;

/** Resolves when what is on disk is taken up; the bus need not answer for that. */
export async function startOperationalLog(options: OperationalLogOptions): Promise<OperationalLogKeeper> {
  const keeper = new LogKeeper(options, new LogOnDisk(await openLogFiles(options.directory, options.onAlarm)));
  await keeper.start();
  return keeper;
}

class LogKeeper implements OperationalLogKeeper {
  readonly #options: OperationalLogOptions;
  readonly #disk: LogOnDisk;
  readonly #bus: LogOnBus;
  #log: LogChain = noLog;
  /** What the log says; in the middle of putting it in order, that. */
  #states: Approvals = new Map();
  /** What it said when it was last in order. */
  #approvals: Approvals = new Map();
  /** What was told already. */
  readonly #told = new Set<string>();
  #refusals = 0;
  #subscription: Subscription | undefined;
  #last: Promise<unknown> = Promise.resolve();
  #looking = false;
  #retry: NodeJS.Timeout | undefined;
  #failure: string | undefined;
  /** Why the bus keeps entries of before the checkpoint. */
  #keeping: string | undefined;
  #closed = false;

  constructor(options: OperationalLogOptions, disk: LogOnDisk) {
    this.#options = options;
    this.#disk = disk;
    this.#bus = new LogOnBus(options.bus, (bytes) => {
      const entry = this.#verify(bytes);
      return entry === undefined ? undefined : this.#underOwnKeys(entry);
    });
  }

  async start(): Promise<void> {
    const onDisk = await this.#disk.read((bytes) => this.#verify(bytes));
    const held = onDisk.map((entry) => this.#underOwnKeys(entry));
    this.#adopt(chainOf(held, noLog), true);
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

  size(): LogSize {
    const { chain } = this.#log;
    const [first] = chain;
    const sizes = { entries: chain.length, capacity: this.#capacity(), sequence: chain.at(-1)?.sequence ?? 0 };
    if (first?.checkpoint === undefined) return sizes;
    const { sequence, at, by } = first;
    return { ...sizes, checkpoint: { sequence, at, by } };
  }

  async compact(by: string, closedBefore: number): Promise<Compacted> {
    if (this.#closed) throw new ChanceryError("unavailable", "this process is stopping");
    return await this.#inTurn(async () => {
      const compacted = await this.#compact(by, closedBefore);
      await this.#save();
      await this.#shorten();
      return compacted;
    });
  }

  async append(action: LogAction, by: string): Promise<SignedLogEntry> {
    if (this.#closed) throw new ChanceryError("unavailable", "this process is stopping");
    checkAction(action);
    return await this.#inTurn(async () => {
      const appended = await this.#append(action, by, this.#time());
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
        await this.#shorten();
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
    this.#demandKey();
    for (let attempt = 1; ; attempt++) {
      await this.#read();
      await this.#refill();
      applyAction(this.#states.get(action.id), { at, by, action });
      const { length } = this.#log.chain;
      // What is in force can be taken out of force whatever else was written.
      const reserved = action.type === "approval-revoke" ? RESERVED_LOG_ENTRIES : 0;
      if (length >= this.#capacity() + reserved) {
        const remedy = '"chancery log compact" makes room';
        throw new ChanceryError("unavailable", `the operational log has ${length} entries, and no more fit: ${remedy}`);
      }
      try {
        const entry = await this.#putAll([{ action, by, at }]);
        this.#adopt({ ...this.#log, chain: [...this.#log.chain, entry] }, false);
        return entry;
      } catch (error) {
        if (!isConflict(error) || attempt === MAX_ATTEMPTS) throw error;
      }
    }
  }

  async #compact(by: string, closedBefore: number): Promise<Compacted> {
    this.#demandKey();
    for (let attempt = 1; ; attempt++) {
      await this.#read();
      await this.#refill();
      await this.#replace();
      const before = this.#log.chain.length;
      const { checkpoint, kept } = planCheckpoint(this.#log.chain, closedBefore);
      if (kept.length + 1 >= before) {
        throw new ChanceryError("conflict", `nothing can be left out: ${before} log entries are all still needed`);
      }
      if (!this.#bus.hasRoomFor(kept.length + 1)) {
        throw new ChanceryError("unavailable", "the bus has no room for a checkpoint: it keeps log entries of before");
      }
      try {
        const { sequence } = await this.#putAll([{ action: checkpoint, by, at: this.#time() }, ...kept]);
        // As every reader does: from here on it is the beginning.
        this.#adopt(chainOf(this.#bus.entries(), this.#log), false);
        if (this.#log.chain[0]?.sequence === sequence) return { before, kept: kept.length, sequence };
        throw new ChanceryError("internal", "the checkpoint is not taken: see the log of this process");
      } catch (error) {
        // What was put says nothing new where it stands; what is appended next follows on it.
        this.#adopt(chainOf(this.#bus.entries(), this.#log), false);
        // Others came between.
        if (!isConflict(error) || attempt === MAX_ATTEMPTS) throw error;
      }
    }
  }

  #capacity(): number {
    return this.#options.capacity ?? MAX_LOG_ENTRIES;
  }

  #time(): string {
    return new Date(this.#options.now()).toISOString();
  }

  #demandKey(): void {
    if (this.#options.signers.length > 0) return;
    throw new ChanceryError("untrusted", "this process has no key for the operational log that the trust file covers");
  }

  /** Puts on the bus what follows the chain as it is. @returns the first */
  async #putAll(said: readonly Pick<LogStatement, "action" | "by" | "at">[]): Promise<SignedLogEntry> {
    const { signers, trust, now } = this.#options;
    const put: SignedLogEntry[] = [];
    for (const { action, by, at } of said) {
      const last = put.at(-1) ?? this.#log.chain.at(-1);
      const place = { sequence: (last?.sequence ?? 0) + 1, previous: last?.digest ?? "" };
      const bytes = signLogEntry({ format: 1, ...place, at, by, action }, signers, MAX_KEPT_LOG_ENTRY_BYTES);
      const entry = verifyLogEntry(bytes, trust, now());
      await this.#bus.put(entry);
      put.push(entry);
    }
    const [first] = put;
    if (first === undefined) throw new ChanceryError("internal", "nothing to append");
    return first;
  }

  async #read(): Promise<void> {
    const [first] = this.#log.chain;
    const found = await this.#bus.read();
    if (found === "same") return;
    this.#adopt(chainOf(this.#bus.entries(), this.#log), false);
    // Where there is a new checkpoint, it is meant to have lost what came before.
    if (found === "other" && this.#log.chain[0]?.digest === first?.digest) {
      this.#options.onAlarm(new ChanceryError("unavailable", "the bus has lost log entries"));
    }
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
    for (const { entry, reason } of log.refused) {
      this.#refuse(entry.digest, new ChanceryError("conflict", `the checkpoint at ${entry.sequence}: ${reason}`));
    }
    const before = this.#log;
    const [base] = log.chain;
    if (
      base?.digest === before.chain[0]?.digest &&
      log.chain.at(-1)?.digest === before.chain.at(-1)?.digest &&
      sameDigests(log.displaced, before.displaced)
    ) {
      return;
    }
    const known = new Set(this.entries().map(({ digest }) => digest));
    const folded = foldLog(log.chain);
    const aside = foldLog(log.displaced, folded.approvals);
    // What was over when the checkpoint was made, or is said by it, need not be appended anew.
    const done = new Set(
      [...aside.repeated, ...aside.refused.map(({ entry }) => entry).filter((entry) => isBefore(entry, base))].map(
        ({ digest }) => digest,
      ),
    );
    this.#log = { ...log, displaced: log.displaced.filter(({ digest }) => !done.has(digest)) };
    for (const entry of this.entries()) {
      if (!known.has(entry.digest)) this.#options.onEvent?.({ type: "taken", entry, restored });
    }
    this.#refuseOf(folded);
    this.#refuseOf({ ...aside, refused: aside.refused.filter(({ entry }) => !done.has(entry.digest)) });
    this.#states = aside.approvals;
  }

  #refuseOf({ refused }: Folded): void {
    for (const { entry, error } of refused) {
      const { digest, sequence } = entry;
      this.#refuse(digest, new ChanceryError(error.code, `log entry ${sequence}: ${error.message}`, { cause: error }));
    }
  }

  /** Puts on the bus what it lacks of the chain: it was wiped, or what it has is not covered by the trust file any more. */
  async #refill(): Promise<void> {
    const there = new Set(this.#bus.entries().map(({ digest }) => digest));
    for (const entry of this.#log.chain) if (!there.has(entry.digest)) await this.#bus.put(entry);
  }

  /** Has the bus forget what came before the checkpoint: of one that was made here, or by a process that then ended. */
  async #shorten(): Promise<void> {
    const [base] = this.#log.chain;
    if (base?.checkpoint === undefined) return;
    try {
      await this.#bus.dropBefore(base.digest);
      this.#keeping = undefined;
    } catch (thrown) {
      // The log is what it is without it; it is tried again at the next look.
      const error = ChanceryError.from(thrown, "unavailable");
      if (error.message !== this.#keeping) this.#options.onAlarm(error);
      this.#keeping = error.message;
    }
  }

  /** Appends anew what has no place in the chain, unless it is said there already. */
  async #replace(): Promise<void> {
    const moving = this.#log.displaced.filter(({ action }) => action !== undefined);
    for (const entry of moving) {
      const { action, by, at, digest, sequence } = entry;
      if (action === undefined) continue;
      const { displaced } = this.#log;
      this.#adopt({ ...this.#log, displaced: displaced.filter((other) => other.digest !== digest) }, false);
      try {
        await this.#append(action, by, at);
      } catch (thrown) {
        const error = ChanceryError.from(thrown, "unavailable");
        if (error.code === "unavailable" || error.code === "untrusted") {
          this.#adopt({ ...this.#log, displaced: [entry, ...this.#log.displaced] }, false);
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

  async #save(): Promise<void> {
    await this.#disk.save(this.entries(), this.#log.chain[0]);
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

function isConflict(error: unknown): boolean {
  return error instanceof ChanceryError && error.code === "conflict";
}

function sameDigests(one: readonly SignedLogEntry[], other: readonly SignedLogEntry[]): boolean {
  return one.length === other.length && one.every(({ digest }, index) => digest === other[index]?.digest);
}
