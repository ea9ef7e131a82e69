import { ChanceryError } from "../resources/index.ts";
import { type Digest, digestOf, type Revision, type RevisionStore, type StoredRevision } from "../revision/index.ts";
import { type Backoff, createBackoff } from "./backoff.ts";
import type { Bus, NodeReport, SequencedHead, Subscription } from "./bus.ts";
import { withDeadline } from "./deadline.ts";
import { Reporter } from "./reporter.ts";

const MAX_ERROR_LENGTH = 500;
/** Twice the time after which a leader replaces what is not its own. */
const LATE_MS = 60_000;

/** What the process itself knows; the follower adds the rest of the report. */
export type ProcessState = Omit<NodeReport, "reporter" | "role" | "at" | "prepared" | "error">;

export interface FollowerOptions {
  readonly bus: Bus;
  /** Opened with the trust file, or as `unsigned-local` where the bus does not leave the machine. Stays the caller's. */
  readonly store: RevisionStore;
  /** What `store.lastGood()` gave, where it was read before. */
  readonly newest?: StoredRevision | undefined;
  /** Name of this process in reports. */
  readonly reporter: string;
  readonly role: NodeReport["role"];
  /**
   * Takes a revision in: the promise resolves when its tables are loaded. When it rejects, the revision is refused, the
   * one before stays, and it is tried again later. Never called twice at a time; numbers never go down.
   *
   * @param manifest  blob with the signed manifest, which is in the store with all parts
   */
  readonly onRevision: (revision: Revision, manifest: Digest) => Promise<void> | void;
  readonly state: () => ProcessState;
  readonly onAlarm: (alarm: ChanceryError) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
  /** Milliseconds between reports when nothing changes; 2,000 unless given. */
  readonly reportMs?: number;
  /** First and longest time (milliseconds) between attempts; 100 and 10,000 unless given. */
  readonly retryMs?: readonly [number, number];
  /** Longest time (milliseconds) that one answer of the bus is waited for; 30,000 unless given. */
  readonly answerMs?: number;
  /** Milliseconds after which a head under an older epoch is taken if no leader has replaced it; 60,000 unless given. */
  readonly lateMs?: number;
}

export interface RevisionFollower {
  /** The newest revision that was taken in. */
  revision(): Revision | undefined;
  /** The process's own state has changed: report soon. */
  reportSoon(): void;
  close(): Promise<void>;
}

/**
 * Follows the newest head of a bus: fetches what is not in the store, verifies, stores, and hands over. Resolves when the
 * last good revision from disk, if there is one, was taken in; the bus need not answer for that. Whatever fails
 * afterwards leaves the last good revision in force, is reported, and is tried again.
 */
export async function startFollower(options: FollowerOptions): Promise<RevisionFollower> {
  const follower = new HeadFollower(options);
  await follower.start();
  return follower;
}

class HeadFollower implements RevisionFollower {
  readonly #options: FollowerOptions;
  readonly #backoff: Backoff;
  readonly #subscribing: Backoff;
  #reporter: Reporter | undefined;
  #subscription: Subscription | undefined;
  #current: StoredRevision | undefined;
  #wanted: SequencedHead | undefined;
  /** Greatest epoch of a head whose revision was taken in. */
  #epoch = 0;
  /** Runs since the first head under an older epoch, until one is taken in. */
  #late: NodeJS.Timeout | undefined;
  #working: Promise<void> | undefined;
  #busy = false;
  #retry: NodeJS.Timeout | undefined;
  #resubscribe: NodeJS.Timeout | undefined;
  #error: ChanceryError | undefined;
  /** Rejects at the end, so that nothing waits for a bus that does not answer. */
  readonly #closing = Promise.withResolvers<never>();
  #closed = false;

  constructor(options: FollowerOptions) {
    const [first, maximum] = options.retryMs ?? [100, 10_000];
    this.#options = options;
    this.#backoff = createBackoff(first, maximum, options.random);
    this.#subscribing = createBackoff(first, maximum, options.random);
  }

  async start(): Promise<void> {
    await this.#startFromDisk();
    const { bus, reportMs = 2_000, onAlarm } = this.#options;
    this.#reporter = new Reporter({ bus, report: () => this.#report(), everyMs: reportMs, onAlarm });
    this.#subscribe();
  }

  revision(): Revision | undefined {
    return this.#current?.revision;
  }

  reportSoon(): void {
    this.#reporter?.soon();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#closing.promise.catch(() => undefined);
    this.#closing.reject(new ChanceryError("unavailable", "the follower is closed"));
    this.#subscription?.close();
    clearTimeout(this.#retry);
    clearTimeout(this.#resubscribe);
    clearTimeout(this.#late);
    await this.#working;
    await this.#reporter?.close();
  }

  /** The newest revision on disk that this process can take in. */
  async #startFromDisk(): Promise<void> {
    const { store, newest, onRevision } = this.#options;
    let below: number | undefined;
    for (;;) {
      let stored = below === undefined ? newest : undefined;
      try {
        stored ??= await store.lastGood(below);
        if (stored === undefined) return;
        await onRevision(stored.revision, stored.manifest);
        this.#current = stored;
        return;
      } catch (error) {
        this.#fail(error, `revision ${stored?.revision.number ?? ""} from disk is passed over`);
        // A disk that cannot be read is no reason not to follow the bus.
        if (stored === undefined) return;
        below = stored.revision.number;
      }
    }
  }

  #subscribe(): void {
    if (this.#closed) return;
    try {
      this.#subscription = this.#options.bus.watchHead((head) => this.#follow(head));
    } catch (error) {
      this.#fail(error, "the bus cannot be watched");
      this.#resubscribe = setTimeout(() => this.#subscribe(), this.#subscribing.next());
    }
  }

  #follow(head: SequencedHead): void {
    if (this.#closed) return;
    this.#wanted = head;
    this.#backoff.reset();
    this.#work();
  }

  /** Takes in the newest wanted head; one that comes meanwhile is next, those in between are skipped. */
  #work(): void {
    clearTimeout(this.#retry);
    if (this.#busy) return;
    this.#busy = true;
    this.#working = this.#adoptWanted();
  }

  async #adoptWanted(): Promise<void> {
    let head: SequencedHead | undefined;
    while (this.#wanted !== undefined && this.#wanted !== head && !this.#closed) {
      head = this.#wanted;
      try {
        this.#refuseLate(head);
        await this.#adopt(head);
        this.#keepEpoch(head);
        this.#error = undefined;
        this.#backoff.reset();
      } catch (thrown) {
        if (!this.#closed) this.#refuse(thrown, head);
      }
      this.#reporter?.soon();
    }
    // In the same step as the last look at what is wanted, so that no head falls between the two.
    this.#busy = false;
  }

  #refuse(thrown: unknown, head: SequencedHead): void {
    const { code } = this.#fail(thrown, `revision ${head.number} is not taken in`);
    // No time and no further attempt makes these right; only another head does.
    const final = code === "stale" || code === "conflict";
    if (!final) this.#retry = setTimeout(() => this.#work(), this.#backoff.next());
  }

  /** A leader that was paused comes too late. What it says is in force all the same if nobody leads to say otherwise. */
  #refuseLate({ epoch }: SequencedHead): void {
    if (epoch === undefined || epoch >= this.#epoch) return;
    this.#late ??= setTimeout(() => {
      this.#late = undefined;
      this.#epoch = 0;
      this.#work();
    }, this.#options.lateMs ?? LATE_MS);
    const message = `it was published under epoch ${epoch}, and ${this.#epoch} is in force: by a leader that is none any more`;
    throw new ChanceryError("stale", message);
  }

  /** Nobody signs an epoch, so it counts at least not before its revision was verified, under the number that was told. */
  #keepEpoch({ epoch = 0, number }: SequencedHead): void {
    clearTimeout(this.#late);
    this.#late = undefined;
    if (this.#current?.revision.number === number) this.#epoch = Math.max(this.#epoch, epoch);
  }

  async #adopt(head: SequencedHead): Promise<void> {
    if (this.#current?.manifest === head.manifest) return;
    const { store, onRevision } = this.#options;
    const bytes = carriedManifest(head) ?? (await this.#fetch(head.manifest));
    if (bytes === undefined) throw new ChanceryError("not-found", `its manifest ${head.manifest} is not on the bus`);
    const stored = await store.accept(bytes, (digest, size) => this.#fetch(digest, size));
    // The same revision with other signatures has nothing new for the process.
    if (this.#current?.revision.digest !== stored.revision.digest) await onRevision(stored.revision, stored.manifest);
    this.#current = stored;
  }

  async #fetch(digest: Digest, size?: number): Promise<Uint8Array | undefined> {
    const { bus, answerMs = 30_000 } = this.#options;
    const answer = withDeadline(bus.getBlob(digest, size), answerMs, `the bus gave no answer about ${digest}`);
    return await Promise.race([answer, this.#closing.promise]);
  }

  /** Alarms are told when they are other than the last one; the report says what holds now. */
  #fail(thrown: unknown, what: string): ChanceryError {
    const cause = ChanceryError.from(thrown);
    const error = new ChanceryError(cause.code, `${what}: ${cause.message}`, { cause });
    if (error.message !== this.#error?.message) this.#options.onAlarm(error);
    this.#error = error;
    return error;
  }

  #report(): NodeReport {
    const { reporter, role, now, state } = this.#options;
    const error = this.#error?.message.slice(0, MAX_ERROR_LENGTH);
    return {
      ...state(),
      reporter,
      role,
      at: new Date(now()).toISOString(),
      prepared: this.#current?.revision.number ?? 0,
      ...(error === undefined ? {} : { error }),
    };
  }
}

/** The manifest that came with a head, where it is the one that the head names. */
function carriedManifest({ manifest, content }: SequencedHead): Uint8Array | undefined {
  return content !== undefined && digestOf(content) === manifest ? content : undefined;
}
