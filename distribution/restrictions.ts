import type { Restriction } from "../policy/index.ts";
import { ChanceryError } from "../resources/index.ts";
import { type Digest, digestOf, type SigningKey, type Trust } from "../revision/index.ts";
import type { Subscription } from "./bus.ts";
import { MAX_RESTRICTIONS } from "./bus-limits.ts";
import { openRestrictionFiles, type RestrictionFiles } from "./restriction-files.ts";
import {
  activeRestrictions,
  pruneRestrictions,
  type RestrictionSet,
  type RestrictionState,
  restrictionStates,
} from "./restriction-set.ts";
import { type RestrictionBus, RestrictionSpread } from "./restriction-spread.ts";
import {
  mergeSignatures,
  type RestrictionEntry,
  type RestrictionStatement,
  signRestriction,
  verifyRestriction,
} from "./restriction-statement.ts";

const POLL_MS = 2_000;
/** Every so many polls a bus is asked for everything that it has. */
const COMPARE_EVERY = 5;
/** Restrictions, and liftings, that are held at a time. */
const MAX_HELD = MAX_RESTRICTIONS / 2;
/** Refused entries that are remembered, so that each is told and counted once. */
const MAX_REFUSED = 1_024;

export interface RestrictionsOptions {
  /** A region's, or the hub's; a relay has both, and carries entries from one to the other. */
  readonly buses: readonly RestrictionBus[];
  /** Where entries are kept over restarts. */
  readonly directory: string;
  readonly trust: Trust;
  /** Puts on each bus what it lacks: for processes that may write there. Others put what is given to them. */
  readonly spreads: boolean;
  /**
   * Signs what is taken in, too, so that it stands when the key that gave it is retired: restrictions of every key, and
   * liftings of those that may sign revisions. What anybody else lifted is in force again when their key is retired.
   */
  readonly countersigner?: SigningKey | undefined;
  /** Called in the step in which an entry arrived, with the same array until the next call. */
  readonly onChange?: (active: readonly Restriction[]) => void;
  readonly onEvent?: (event: RestrictionEvent) => void;
  readonly onAlarm: (alarm: ChanceryError) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  /** Upper bound of the time (milliseconds) until what a bus did not take is offered again; 2,000 unless given. */
  readonly pollMs?: number;
}

export type RestrictionEvent =
  | {
      readonly type: "taken";
      readonly statement: RestrictionStatement;
      readonly signedBy: readonly string[];
      /** From the disk, at the start. */
      readonly restored: boolean;
    }
  /** This process has signed it, too. */
  | {
      readonly type: "countersigned";
      readonly statement: RestrictionStatement;
      readonly signedBy: readonly string[];
    }
  /** Each once: not covered by the trust file, malformed, too long, or one too many. */
  | { readonly type: "refused"; readonly error: ChanceryError };

export interface Given {
  /** Whether every bus has taken it; else it is offered again until it does. */
  readonly spread: boolean;
}

/** The kill switch of one process. */
export interface Restrictions {
  /** For decisions; the same array until the set changes. Ends are in the entries. */
  active(): readonly Restriction[];
  /** What has not ended, lifted ones included. */
  states(): readonly RestrictionState[];
  /** Entries that were refused since the start. */
  refused(): number;
  /**
   * Takes in an entry from here: it is in force, and on disk, when this resolves.
   *
   * @throws ChanceryError "untrusted", "corrupt", "invalid-argument"; "conflict" for an id that stands for something else,
   *   or was lifted; "not-found" for the lifting of what is not known
   */
  give(entry: Uint8Array): Promise<Given>;
  /** Safe to call twice. */
  close(): Promise<void>;
}

/** Resolves when what is on disk is in force; no bus need answer for that. */
export async function startRestrictions(options: RestrictionsOptions): Promise<Restrictions> {
  const files = await openRestrictionFiles(options.directory, options.onAlarm);
  const keeper = new RestrictionKeeper(options, files);
  await keeper.start();
  return keeper;
}

class RestrictionKeeper implements Restrictions {
  readonly #options: RestrictionsOptions;
  readonly #files: RestrictionFiles;
  readonly #spreads: readonly RestrictionSpread[];
  readonly #subscriptions: Subscription[] = [];
  readonly #refused = new Set<Digest>();
  /** Held, and not known to be on disk. */
  readonly #unwritten = new Map<Digest, RestrictionEntry>();
  #set: RestrictionSet = new Map();
  #active: readonly Restriction[] = [];
  #refusals = 0;
  #writing: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #polls = 0;
  /** Of the trust file by which everything on the buses was read. */
  #serial: number;
  #closed = false;

  constructor(options: RestrictionsOptions, files: RestrictionFiles) {
    this.#options = options;
    this.#files = files;
    this.#serial = options.trust.serial;
    this.#spreads = options.buses.map((bus) => new RestrictionSpread(bus, options.onAlarm));
  }

  async start(): Promise<void> {
    const { trust, now } = this.#options;
    for (const bytes of await this.#files.read()) {
      try {
        const entry = verifyRestriction(bytes, { trust, now: now(), age: "stored" });
        if (!this.#adopt(entry, undefined, true)) await this.#files.remove(entry.digest);
      } catch (error) {
        this.#refuse(bytes, error);
      }
    }
    for (const spread of this.#spreads) {
      this.#subscriptions.push(spread.bus.watchRestrictions((bytes) => this.#arrive(bytes, spread)));
    }
    this.#schedule();
  }

  active(): readonly Restriction[] {
    return this.#active;
  }

  states(): readonly RestrictionState[] {
    return restrictionStates(this.#set, this.#options.now());
  }

  refused(): number {
    return this.#refusals;
  }

  async give(bytes: Uint8Array): Promise<Given> {
    if (this.#closed) throw new ChanceryError("unavailable", "this process is stopping");
    const { trust, now } = this.#options;
    const entry = verifyRestriction(bytes, { trust, now: now(), age: "new" });
    this.#demandMeaning(entry.statement);
    this.#adopt(entry, undefined, false);
    await this.#write();
    if (this.#unwritten.has(entry.digest)) {
      throw new ChanceryError("unavailable", `${entry.statement.id} is in force, but not on disk: see the log`);
    }
    await Promise.all(this.#spreads.map((spread) => spread.pay()));
    return { spread: this.#spreads.every((spread) => !spread.owes(entry.digest)) };
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const subscription of this.#subscriptions) subscription.close();
    await this.#writing;
  }

  #arrive(bytes: Uint8Array, from: RestrictionSpread): void {
    if (this.#closed) return;
    const { trust, now } = this.#options;
    try {
      const entry = verifyRestriction(bytes, { trust, now: now(), age: "new" });
      if (this.#adopt(entry, from, false)) void this.#write();
    } catch (error) {
      this.#refuse(bytes, error);
    }
  }

  /** Puts an entry in force, at once. @returns whether it is new */
  #adopt(entry: RestrictionEntry, from: RestrictionSpread | undefined, restored: boolean): boolean {
    const { now, onEvent, spreads } = this.#options;
    // What has ended is no news, wherever it lay.
    if (pruneRestrictions(new Map([[entry.digest, entry]]), now()).size === 0) {
      from?.forget(entry.digest);
      return false;
    }
    const known = this.#set.get(entry.digest);
    const merged = known === undefined ? entry : mergeSignatures(known, entry);
    if (merged === undefined) {
      if (isSame(known, entry)) from?.forget(entry.digest);
      return false;
    }
    if (known === undefined) this.#demandRoom(entry.statement);
    const held = this.#countersigned(merged);
    this.#replace(new Map([...this.#set, [held.digest, held]]));
    const isOnDisk = restored && isSame(held, entry);
    if (!isOnDisk) this.#unwritten.set(held.digest, held);
    for (const spread of this.#spreads) {
      // Where it came from, it is as it was.
      const isThere = spread === from && isSame(held, entry);
      if (isThere) spread.forget(held.digest);
      else if (!isOnDisk && (spreads || from === undefined)) spread.owe(held);
    }
    if (from !== undefined && (this.#spreads.length > 1 || !isSame(held, entry))) void this.#pay();
    if (known === undefined) {
      onEvent?.({ type: "taken", statement: held.statement, signedBy: held.signedBy, restored });
    }
    return true;
  }

  #countersigned(entry: RestrictionEntry): RestrictionEntry {
    const { countersigner, trust, now } = this.#options;
    if (countersigner === undefined || entry.signedBy.includes(countersigner.keyId)) return entry;
    const isOurs = entry.signedBy.some((keyId) => trust.keys.get(keyId)?.purposes.has("revision") === true);
    if (entry.statement.type === "lift" && !isOurs) return entry;
    try {
      const bytes = signRestriction(entry.statement, [countersigner]);
      const own = verifyRestriction(bytes, { trust, now: now(), age: "new" });
      const both = mergeSignatures(entry, own) ?? entry;
      this.#options.onEvent?.({ type: "countersigned", statement: both.statement, signedBy: both.signedBy });
      return both;
    } catch {
      // The own key is not valid now, which is told elsewhere: it stands under the keys that it has.
      return entry;
    }
  }

  #replace(set: RestrictionSet): void {
    this.#set = set;
    this.#active = activeRestrictions(set, this.#options.now());
    this.#options.onChange?.(this.#active);
  }

  #demandRoom({ type, id }: RestrictionStatement): void {
    const held = [...this.#set.values()].filter(({ statement }) => statement.type === type).length;
    if (held < MAX_HELD) return;
    throw new ChanceryError("invalid-argument", `${type} ${id}: ${held} are held already, and no more are taken`);
  }

  /** What merges well may still not be what somebody means. */
  #demandMeaning(statement: RestrictionStatement): void {
    const same = this.states().filter(({ id }) => id === statement.id);
    if (statement.type === "lift") {
      if (same.length > 0) return;
      throw new ChanceryError("not-found", `there is no restriction ${statement.id} here that has not ended`);
    }
    if (same.some(({ kind, value }) => kind !== statement.kind || value !== statement.value)) {
      throw new ChanceryError("conflict", `${statement.id} is about something else`);
    }
    if (same.some(({ lifted }) => lifted !== undefined)) {
      throw new ChanceryError("conflict", `${statement.id} was lifted: give a new restriction`);
    }
  }

  #refuse(bytes: Uint8Array, thrown: unknown): void {
    const digest = digestOf(bytes);
    if (this.#refused.has(digest)) return;
    this.#refused.add(digest);
    const [oldest] = this.#refused;
    if (this.#refused.size > MAX_REFUSED && oldest !== undefined) this.#refused.delete(oldest);
    this.#refusals += 1;
    const cause = ChanceryError.from(thrown, "corrupt");
    const error = new ChanceryError(cause.code, `a restriction is refused: ${cause.message}`, { cause });
    this.#options.onEvent?.({ type: "refused", error });
    this.#options.onAlarm(error);
  }

  /** Writes what is not on disk. Never rejects; what fails is tried again at the next poll. */
  #write(): Promise<void> {
    this.#writing = this.#writing.then(async () => {
      for (const [digest, entry] of this.#unwritten) {
        try {
          await this.#files.write(entry);
          if (this.#unwritten.get(digest) === entry) this.#unwritten.delete(digest);
        } catch (cause) {
          const { message } = ChanceryError.from(cause);
          const what = `${entry.statement.id} is in force, but cannot be kept over a restart: ${message}`;
          this.#options.onAlarm(new ChanceryError("unavailable", what, { cause }));
        }
      }
    });
    return this.#writing;
  }

  async #pay(): Promise<void> {
    await Promise.all(this.#spreads.map((spread) => spread.pay()));
  }

  #schedule(): void {
    const { pollMs = POLL_MS, random } = this.#options;
    const next = async (): Promise<void> => {
      await this.#poll();
      if (!this.#closed) this.#schedule();
    };
    this.#timer = setTimeout(() => void next(), pollMs * (0.5 + random() / 2));
  }

  async #poll(): Promise<void> {
    this.#polls += 1;
    await this.#prune();
    await this.#readAgain();
    await this.#write();
    if (this.#options.spreads && this.#polls % COMPARE_EVERY === 1) {
      await Promise.all(this.#spreads.map((spread) => spread.compare(this.#set.values())));
    }
    if (!this.#closed) await this.#pay();
  }

  /** Keys that are trusted since may have signed, too, what is held: those that it has may be retired next. */
  async #readAgain(): Promise<void> {
    const { serial } = this.#options.trust;
    if (serial === this.#serial) return;
    for (const [digest, entry] of this.#set) {
      const both = this.#countersigned(entry);
      if (both === entry) continue;
      this.#set = new Map([...this.#set, [digest, both]]);
      this.#unwritten.set(digest, both);
      for (const spread of this.#spreads) spread.owe(both);
    }
    for (const spread of this.#spreads) {
      // What cannot be read now is read at the next poll.
      const entries = await spread.list();
      if (entries === undefined) return;
      for (const bytes of entries) this.#arrive(bytes, spread);
    }
    this.#serial = serial;
  }

  async #prune(): Promise<void> {
    const left = pruneRestrictions(this.#set, this.#options.now());
    if (left.size === this.#set.size) return;
    const ended = [...this.#set.keys()].filter((digest) => !left.has(digest));
    this.#replace(left);
    for (const digest of ended) {
      this.#unwritten.delete(digest);
      for (const spread of this.#spreads) spread.forget(digest);
      await this.#files
        .remove(digest)
        .catch((error) => this.#options.onAlarm(ChanceryError.from(error, "unavailable")));
    }
  }
}

/** Whether both are the same bytes: the same statement under the same signatures. */
function isSame(one: RestrictionEntry | undefined, other: RestrictionEntry): boolean {
  return one !== undefined && Buffer.compare(one.bytes, other.bytes) === 0;
}
