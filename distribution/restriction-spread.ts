import { ChanceryError } from "../resources/index.ts";
import { type Digest, digestOf } from "../revision/index.ts";
import type { Bus } from "./bus.ts";
import { withDeadline } from "./deadline.ts";
import type { RestrictionEntry } from "./restriction-statement.ts";

const ANSWER_MS = 5_000;

/** The part of a bus that restrictions travel over. */
export type RestrictionBus = Pick<Bus, "putRestriction" | "restrictions" | "watchRestrictions">;

/** Entries that a bus is to have: they are put there until it takes them. */
export class RestrictionSpread {
  readonly bus: RestrictionBus;
  readonly #onAlarm: (alarm: ChanceryError) => void;
  readonly #owed = new Map<Digest, RestrictionEntry>();
  #paying: Promise<void> | undefined;
  #told: string | undefined;

  constructor(bus: RestrictionBus, onAlarm: (alarm: ChanceryError) => void) {
    this.bus = bus;
    this.#onAlarm = onAlarm;
  }

  owe(entry: RestrictionEntry): void {
    this.#owed.set(entry.digest, entry);
  }

  /** It came from there, or has ended. */
  forget(digest: Digest): void {
    this.#owed.delete(digest);
  }

  owes(digest: Digest): boolean {
    return this.#owed.has(digest);
  }

  /** Puts what is owed. Never rejects; what the bus does not take stays owed. */
  pay(): Promise<void> {
    this.#paying ??= this.#pay().finally(() => {
      this.#paying = undefined;
    });
    return this.#paying;
  }

  /** Owes what the bus has lost. Never rejects. */
  async compare(held: Iterable<RestrictionEntry>): Promise<void> {
    const listed = await this.list();
    if (listed === undefined) return;
    const there = new Set(listed.map((bytes) => digestOf(bytes)));
    for (const entry of held) if (!there.has(digestOf(entry.bytes))) this.owe(entry);
  }

  /** What the bus has; undefined: it does not say. Never rejects. */
  async list(): Promise<readonly Uint8Array[] | undefined> {
    try {
      return await withDeadline(this.bus.restrictions(), ANSWER_MS, "the bus lists no restrictions");
    } catch (thrown) {
      this.#alarm(thrown);
      return undefined;
    }
  }

  async #pay(): Promise<void> {
    for (const [digest, entry] of this.#owed) {
      try {
        await withDeadline(this.bus.putRestriction(entry.bytes), ANSWER_MS, "the bus took no restriction");
        // Signed by others, too, meanwhile, it is owed anew.
        if (this.#owed.get(digest) === entry) this.#owed.delete(digest);
        this.#told = undefined;
      } catch (thrown) {
        this.#alarm(thrown);
        return;
      }
    }
  }

  #alarm(thrown: unknown): void {
    const error = ChanceryError.from(thrown, "unavailable");
    if (error.message !== this.#told) this.#onAlarm(error);
    this.#told = error.message;
  }
}
