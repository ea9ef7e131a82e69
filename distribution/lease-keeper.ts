import { ChanceryError } from "../resources/index.ts";
import type { Subscription } from "./bus.ts";
import { withDeadline } from "./deadline.ts";
import {
  type LeaseConfig,
  type LeaseEffect,
  type LeaseEntry,
  type LeaseInput,
  type LeaseRecord,
  type LeaseState,
  type LeaseStep,
  leads,
  lease,
  noLease,
  release,
} from "./lease.ts";

/** Where the lease is written: one record, with an expected sequence. */
export interface LeaseCell {
  read(): Promise<LeaseRecord | undefined>;
  /** Returns the new sequence. Throws ChanceryError "conflict" when the newest one is not `expected` (0: there is none). */
  write(entry: LeaseEntry, expected: number): Promise<number>;
  /** Calls back when it may have been written. */
  watch(listener: () => void): Subscription;
}

export interface LeaseKeeperOptions extends LeaseConfig {
  readonly cell: LeaseCell;
  /** @param waitedMs  how long nothing was heard of the leader before; 0 where nobody was waited for */
  readonly onElected: (epoch: number, waitedMs: number) => void;
  readonly onLost: (epoch: number, reason: string) => void;
  readonly onAlarm: (alarm: ChanceryError) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds that never go back. */
  readonly monotonic: () => number;
  /** In [0, 1). */
  readonly random: () => number;
}

/** Who leads, as far as this process knows. */
export interface LeaseStatus {
  /** Empty: nobody that is known of. */
  readonly leader: string;
  readonly epoch: number;
  /** Whether it is this process. */
  readonly leading: boolean;
}

export interface LeaseKeeper {
  /** The epoch under which this process leads now; undefined: it does not. */
  epoch(): number | undefined;
  status(): LeaseStatus;
  /** An epoch was seen on a head. */
  heard(epoch: number): void;
  /** Gives the lease back where it is held. Safe to call twice. */
  close(): Promise<void>;
}

/** Fulfilled when the lease was looked at once and taken where it is free, or could not be looked at. */
export async function startLeaseKeeper(options: LeaseKeeperOptions): Promise<LeaseKeeper> {
  const keeper = new Keeper(options);
  await keeper.start();
  return keeper;
}

class Keeper implements LeaseKeeper {
  readonly #options: LeaseKeeperOptions;
  #state: LeaseState = noLease;
  #watch: Subscription | undefined;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> | undefined;
  #writing: Promise<void> = Promise.resolve();
  #told: string | undefined;
  #closed = false;

  constructor(options: LeaseKeeperOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    this.#watch = this.#options.cell.watch(() => void this.#look());
    await this.#look();
    await this.#writing;
    this.#schedule();
  }

  epoch(): number | undefined {
    return leads(this.#state, this.#options, this.#options.monotonic());
  }

  status(): LeaseStatus {
    const { record, since = 0 } = this.#state.seen ?? {};
    const leading = this.epoch() !== undefined;
    const isOver =
      record === undefined || record.released || this.#options.monotonic() - since > record.ttlMs + this.#answerMs();
    return { leader: isOver ? "" : record.name, epoch: record?.epoch ?? 0, leading };
  }

  heard(epoch: number): void {
    this.#apply({ type: "heard", epoch, at: this.#options.monotonic() });
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#watch?.close();
    await this.#writing;
    this.#take(release(this.#state, this.#options, this.#options.monotonic()));
    await this.#writing;
  }

  /** Several looks and writes fit into one lease. */
  #answerMs(): number {
    return this.#options.ttlMs / 3;
  }

  #schedule(): void {
    const { ttlMs, random, monotonic, now } = this.#options;
    this.#timer = setTimeout(
      () => {
        this.#schedule();
        this.#apply({ type: "tick", at: monotonic(), clock: now() });
        if (this.epoch() === undefined) void this.#look();
      },
      (ttlMs / 6) * (0.5 + random() / 2),
    );
  }

  #look(): Promise<void> {
    this.#looking ??= this.#read().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async #read(): Promise<void> {
    const { cell, monotonic, now } = this.#options;
    try {
      const record = await withDeadline(cell.read(), this.#answerMs(), "the bus did not say who leads");
      this.#told = undefined;
      if (!this.#closed) this.#apply({ type: "looked", record, at: monotonic(), clock: now() });
    } catch (thrown) {
      this.#alarm(thrown);
    }
  }

  #apply(input: LeaseInput): void {
    this.#take(lease(this.#state, input, this.#options));
  }

  #take({ state, effects }: LeaseStep): void {
    this.#state = state;
    for (const effect of effects) this.#perform(effect);
  }

  #perform(effect: LeaseEffect): void {
    const { onElected, onLost } = this.#options;
    switch (effect.type) {
      case "look":
        if (!this.#closed) void this.#look();
        return;
      case "write":
        this.#writing = this.#write(effect.entry, effect.expected);
        return;
      case "elected":
        onElected(effect.epoch, effect.waitedMs);
        return;
      case "lost":
        onLost(effect.epoch, effect.reason);
        return;
    }
  }

  async #write(entry: LeaseEntry, expected: number): Promise<void> {
    const { cell, monotonic } = this.#options;
    try {
      const written = cell.write(entry, expected);
      const sequence = await withDeadline(written, this.#answerMs(), "the bus took no lease");
      this.#told = undefined;
      this.#apply({ type: "written", sequence, at: monotonic() });
    } catch (thrown) {
      // That somebody else was faster is what the sequence is for.
      if (!(thrown instanceof ChanceryError && thrown.code === "conflict")) this.#alarm(thrown);
      this.#apply({ type: "notWritten", at: monotonic() });
    }
  }

  /** What stays wrong is told once. */
  #alarm(thrown: unknown): void {
    const error = ChanceryError.from(thrown, "unavailable");
    if (!this.#closed && error.message !== this.#told) this.#options.onAlarm(error);
    this.#told = error.message;
  }
}
