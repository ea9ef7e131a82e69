import { setTimeout as delay, setImmediate } from "node:timers/promises";
import {
  ChanceryError,
  checkFiles,
  type FrozenScope,
  freeze,
  type KnownTree,
  type LoadResult,
  type OperationalLog,
  ParseCache,
  type Problem,
  type ResourceFiles,
  readTree,
  registryProblems,
  resourceFiles,
  type SettledReading,
} from "../resources/index.ts";
import { type Digest, EncodeCache, type SigningKey } from "../revision/index.ts";
import type { Bus, SequencedHead, Subscription } from "./bus.ts";
import { unprovenNumber } from "./head-check.ts";
import { HeadReader } from "./head-reader.ts";
import { commitInForce, publish } from "./publish.ts";
import { openPublisherState, type PublisherState } from "./publisher-state.ts";
import { RegistryWatch } from "./registry-watch.ts";
import { type Compiled, resolveTree } from "./resolve-tree.ts";
import { type Checkout, demandDescent, sourceLineage } from "./source-lineage.ts";
import { type ChangedPaths, type TreeWatch, watchTree } from "./tree-watch.ts";

/** A file that was written less than this long ago (milliseconds) is not taken yet. */
const SETTLE_MS = 40;
/** Milliseconds until it is looked at again, and how often that is done before anything is taken. */
const LOOK_AGAIN_MS = 100;
const FIRST_LOOKS = 10;
/** Milliseconds of parsing without a pause: whoever leads must go on saying so. */
const SLICE_MS = 10;

export interface PublisherOptions {
  /** The resource tree. */
  readonly directory: string;
  /** Where the publisher keeps the last good tree and its number. One publisher at a time. */
  readonly stateDirectory: string;
  readonly bus: Bus;
  /** None: revisions are unsigned, good only on this machine. */
  readonly signers: readonly SigningKey[];
  /** Text of the trust file, which travels with each revision. */
  readonly trust?: string | undefined;
  /**
   * How to treat the git history of the tree: "follow" refuses a tree whose commit does not come after that of the revision
   * in force, "force" publishes it all the same. Left out: nobody looks, and revisions name no commit.
   */
  readonly history?: "follow" | "force" | undefined;
  readonly compile: (loaded: LoadResult) => Promise<Compiled> | Compiled;
  /**
   * Where several processes publish: the epoch under which this one leads, undefined while it does not. Then the tree is
   * compiled all the same, so that its errors are seen and `refresh` is quick, and nothing is published.
   */
  readonly epoch?: () => number | undefined;
  /** What the API and controllers did; empty unless given. Call `refresh` when it has grown. */
  readonly log?: () => Promise<OperationalLog>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly onEvent: (event: PublisherEvent) => void;
  /** Milliseconds between two looks at every file; 1,000 unless given. */
  readonly pollMs?: number;
  /** Milliseconds without a further change before a change is taken up; 50 unless given. */
  readonly quietMs?: number;
  /** Milliseconds after which a change is taken up though others follow; 2,000 unless given. */
  readonly maximumWaitMs?: number;
  /** Milliseconds that a file which is empty gets to be written; 1,000 unless given. */
  readonly emptiedMs?: number;
}

/** Each is told when it is other than the last time. */
export type PublisherEvent =
  | {
      readonly type: "published";
      readonly number: number;
      readonly digest: Digest;
      /** Milliseconds since the epoch. */
      readonly at: number;
      /** From the first sign of a change until the revision was on the bus. */
      readonly durationMs: number;
      readonly warnings: readonly Problem[];
    }
  /** The tree compiles, and another process leads. */
  | { readonly type: "standby"; readonly source: string }
  /** The tree changed, and what it means did not. */
  | { readonly type: "unchanged"; readonly number: number }
  /** Scopes that stay at their last good state; none: all is as written again. */
  | { readonly type: "frozen"; readonly scopes: readonly FrozenScope[] }
  /** Entries of the operational log that do not hold in the tree as it is. */
  | { readonly type: "leftOut"; readonly problems: readonly Problem[] }
  /** The tree as a whole is not taken; the last good revision stays. */
  | { readonly type: "refused"; readonly problems: readonly Problem[] }
  /** The work was hindered; it is tried again within `pollMs`. */
  | { readonly type: "failed"; readonly error: ChanceryError }
  | { readonly type: "alarm"; readonly error: ChanceryError };

export interface PublisherStatus {
  /** The newest revision published or found unchanged; 0 before the first. */
  readonly number: number;
  /** Whether the tree as it is compiles, and another process publishes. */
  readonly standby?: boolean;
  readonly frozen: readonly FrozenScope[];
  /** Why the tree as it is now is not taken as a whole; empty when it is. */
  readonly refused: readonly Problem[];
  readonly error?: ChanceryError;
}

export interface Publisher {
  status(): PublisherStatus;
  /** Compiles and publishes now; for what changes outside the tree (fetched keys of issuers). */
  refresh(): Promise<PublisherStatus>;
  close(): Promise<void>;
}

/** Publishes the tree as it is, then after each change of it. Resolves after the first attempt, whatever came of it. */
export async function startPublisher(options: PublisherOptions): Promise<Publisher> {
  const alarm = (error: ChanceryError): void => options.onEvent({ type: "alarm", error });
  const { now, epoch } = options;
  const state = await openPublisherState(options.stateDirectory, { alone: epoch === undefined, now, onAlarm: alarm });
  const publisher = new TreePublisher(options, state);
  await publisher.refresh();
  return publisher;
}

class TreePublisher implements Publisher {
  readonly #options: PublisherOptions;
  readonly #state: PublisherState;
  readonly #watch: TreeWatch;
  readonly #cache = new ParseCache();
  readonly #encoded = new EncodeCache();
  readonly #headReader: HeadReader;
  readonly #told = new Map<PublisherEvent["type"], string>();
  readonly #known: KnownTree = { files: new Map(), directories: new Map() };
  /** What may be other than when the tree was read last. */
  #changed: ChangedPaths;
  #lastGood: ResourceFiles | undefined;
  /** Path → text, as last read. */
  #lastRead: ReadonlyMap<string, string> | undefined;
  #floor: number;
  #heads: Subscription | undefined;
  readonly #others: RegistryWatch;
  /** Never rejects: whoever waits for a number to be kept is told by its own promise. */
  #saving: Promise<void> = Promise.resolve();
  #status: PublisherStatus = { number: 0, frozen: [], refused: [] };
  #last: Promise<void> = Promise.resolve();
  /** An attempt that has not begun and so will see every change until then. */
  #next: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #settling: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: PublisherOptions, state: PublisherState) {
    const { directory, now, onEvent, pollMs = 1_000, quietMs = 50, maximumWaitMs = 2_000 } = options;
    this.#options = options;
    this.#state = state;
    this.#headReader = new HeadReader(options);
    this.#floor = state.number;
    this.#lastGood = state.lastGood === undefined ? undefined : resourceFiles(state.lastGood);
    this.#others = new RegistryWatch({ ...options, state });
    // Whoever takes over goes on after the newest number, also where the bus has lost it, and knows what was published.
    if (options.epoch !== undefined) {
      this.#heads = options.bus.watchHead((head) => {
        // What this process has published itself, it registers itself.
        if (head.epoch !== undefined && head.epoch === options.epoch?.()) return;
        void this.#learn(head).catch((error) => this.#alarm(error));
      });
    }
    const changed = (since: number, paths: ChangedPaths): void => {
      this.#changed = this.#changed && paths && this.#changed.union(paths);
      void this.#enqueue(since);
    };
    this.#watch = watchTree(directory, changed, {
      pollMs,
      quietMs,
      maximumWaitMs,
      now,
      onAlarm: (error) => onEvent({ type: "alarm", error }),
    });
  }

  status(): PublisherStatus {
    return this.#status;
  }

  async refresh(): Promise<PublisherStatus> {
    this.#changed = undefined;
    await this.#enqueue(this.#options.now());
    return this.#status;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#heads?.close();
    this.#watch.close();
    clearTimeout(this.#retry);
    clearTimeout(this.#settling);
    await this.#last;
    await this.#saving;
    await this.#others.close();
  }

  /** One attempt at a time, and at most one that waits; `#attempt` never throws. */
  #enqueue(since: number): Promise<void> {
    if (this.#next !== undefined) return this.#next;
    this.#next = this.#last.then(() => {
      this.#next = undefined;
      return this.#attempt(since);
    });
    this.#last = this.#next;
    return this.#last;
  }

  async #attempt(since: number): Promise<void> {
    if (this.#closed) return;
    clearTimeout(this.#retry);
    try {
      await this.#publish(since);
    } catch (thrown) {
      const error = ChanceryError.from(thrown);
      this.#status = { ...this.#status, error };
      this.#tell({ type: "failed", error }, error.message);
      const { pollMs = 1_000, now } = this.#options;
      if (!this.#closed) this.#retry = setTimeout(() => void this.#enqueue(now()), pollMs);
    }
  }

  async #publish(since: number): Promise<void> {
    const { directory, compile, bus, signers, trust, now, onEvent, epoch } = this.#options;
    // Git is asked where something may be published, and answers while the tree is worked on.
    const checking = epoch === undefined || epoch() !== undefined ? this.#checkout() : undefined;
    const unlearnt = await this.#learnNewest();
    const log = (await this.#options.log?.()) ?? [];
    const current = await this.#readTree(since);
    await this.#cache.prepare(current.files, {
      sliceMs: SLICE_MS,
      monotonic: () => performance.now(),
      rest: setImmediate,
    });
    const resolved = await resolveTree(current, this.#lastGood, {
      freeze: (tree, lastGood, problems) => {
        const check = (loaded: LoadResult) => registryProblems(loaded, this.#state.identities);
        return freeze(tree, lastGood, { log, problems, check, cache: this.#cache });
      },
      inspect: (loaded) => checkFiles(loaded, directory),
      compile,
    });
    if (resolved.outcome === "refused") {
      this.#status = { number: this.#status.number, frozen: this.#status.frozen, refused: resolved.problems };
      this.#tell({ type: "refused", problems: resolved.problems }, JSON.stringify(resolved.problems));
      return;
    }
    const leads = epoch === undefined || epoch() !== undefined;
    const checkout = leads ? await (checking ?? this.#checkout()) : undefined;
    // A wrong checkout must not become the last good tree either; it is looked at again when the head is replaced.
    if (checkout?.force === false) await demandDescent(checkout.lineage, await commitInForce(bus, this.#headReader));
    const saving = this.#saveLastGood(resolved.files);
    // Whoever waits for it is told.
    saving.catch(() => undefined);
    const source = `sha256:${resolved.files.digest}`;
    if (epoch !== undefined && epoch() === undefined) {
      await saving;
      await this.#others.standBy(resolved.inventory, source);
      this.#status = { number: this.#status.number, frozen: resolved.frozen, refused: [], standby: true };
      this.#tell({ type: "standby", source }, source);
      return;
    }
    // The tree was not held against what others have published: it must not replace that.
    if (unlearnt !== undefined) {
      await saving;
      throw unlearnt;
    }
    const fence = epoch === undefined ? {} : { epoch };
    const known = { cache: this.#encoded, heads: this.#headReader };
    const options = { bus, signers, trust, now, numberFloor: this.#floor, checkout, beforeHead: saving };
    const result = await publish(resolved.parts, source, { ...options, ...known, ...fence }).finally(() => saving);
    if (result.number > this.#floor) await this.#keepNumber(result.number);
    this.#others.published(result.number);
    await this.#state.register(resolved.inventory, { number: result.number, source, at: now() });
    this.#told.delete("standby");
    this.#status = { number: result.number, frozen: resolved.frozen, refused: [] };
    this.#told.delete("failed");
    this.#told.delete("refused");
    this.#tell({ type: "frozen", scopes: resolved.frozen }, JSON.stringify(resolved.frozen));
    this.#tell({ type: "leftOut", problems: resolved.leftOut }, JSON.stringify(resolved.leftOut));
    if (result.outcome === "unchanged") {
      onEvent({ type: "unchanged", number: result.number });
      return;
    }
    const { number, digest, at } = result;
    onEvent({ type: "published", number, digest, at, durationMs: at - since, warnings: resolved.warnings });
  }

  /** What the newest revision on the bus says, before a tree is held against it. @returns why that is not known */
  async #learnNewest(): Promise<ChanceryError | undefined> {
    try {
      const head = await this.#options.bus.head();
      if (head !== undefined) await this.#learn(head);
      return undefined;
    } catch (thrown) {
      return ChanceryError.from(thrown, "unavailable");
    }
  }

  /** @throws ChanceryError what the bus throws; what the disk throws */
  async #learn(head: SequencedHead): Promise<void> {
    const known = await this.#others.learn(head);
    // Without a trust file nobody has proven anything.
    const number = this.#options.trust === undefined ? unprovenNumber(known, this.#floor) : known;
    if (number > this.#floor) await this.#keepNumber(number);
  }

  async #checkout(): Promise<Checkout | undefined> {
    const { history, directory } = this.#options;
    return history === undefined ? undefined : { lineage: await sourceLineage(directory), force: history === "force" };
  }

  /** Before a tree is published: after a crash in between, the last good one is the one that was about to be. */
  async #saveLastGood(files: ResourceFiles): Promise<void> {
    if (files.digest !== this.#lastGood?.digest) await this.#state.saveLastGood(files.files);
    this.#lastGood = files;
  }

  /** One write at a time, each of the greatest number then. */
  #keepNumber(number: number): Promise<void> {
    this.#floor = Math.max(this.#floor, number);
    const saved = this.#saving.then(() => this.#state.saveNumber(this.#floor));
    this.#saving = saved.catch(() => undefined);
    return saved;
  }

  #alarm(thrown: unknown): void {
    this.#options.onEvent({ type: "alarm", error: ChanceryError.from(thrown) });
  }

  /**
   * The tree, with files that are being written as they were before: half a file of rules is not what anybody meant. Most
   * programs empty a file before they write it, and on a busy machine the writing may come much later.
   */
  async #readTree(since: number): Promise<ResourceFiles> {
    const { now, emptiedMs = 1_000 } = this.#options;
    for (let look = 1; ; look++) {
      let unsettled = 0;
      const current = await this.#readHeard({
        before: this.#lastRead ?? this.#lastGood?.files ?? new Map(),
        settleMs: SETTLE_MS,
        emptySettleMs: emptiedMs,
        now,
        known: this.#known,
        onUnsettled: () => {
          unsettled += 1;
        },
      });
      clearTimeout(this.#settling);
      // The first look of a process tells what is in force from now on: it has the time.
      if (unsettled > 0 && this.#lastRead === undefined && look <= FIRST_LOOKS && !this.#closed) {
        await delay(LOOK_AGAIN_MS);
        continue;
      }
      this.#lastRead = current.files;
      if (unsettled > 0 && !this.#closed) this.#settling = setTimeout(() => void this.#enqueue(since), LOOK_AGAIN_MS);
      return current;
    }
  }

  /** Looks at what was heard of since the tree was read last; where that failed, at everything. */
  async #readHeard(reading: SettledReading): Promise<ResourceFiles> {
    const changed = this.#changed;
    this.#changed = new Set();
    try {
      return await readTree(this.#options.directory, { ...reading, changed });
    } catch (error) {
      this.#changed = undefined;
      throw error;
    }
  }

  /** Tells what is other than the last time; that nothing is frozen is no news at first. */
  #tell(event: PublisherEvent, content: string): void {
    if ((this.#told.get(event.type) ?? "[]") === content) return;
    this.#told.set(event.type, content);
    this.#options.onEvent(event);
  }
}
