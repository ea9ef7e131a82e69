import { ChanceryError, type Inventory } from "../resources/index.ts";
import type { Bus, SequencedHead } from "./bus.ts";
import { type PublishedVersions, readPublishedVersions } from "./published-versions.ts";
import type { PublisherState } from "./publisher-state.ts";

export interface RegistryWatchOptions {
  readonly bus: Bus;
  readonly trust?: string | undefined;
  readonly state: Pick<PublisherState, "learn" | "register">;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly onEvent: (event: { readonly type: "alarm"; readonly error: ChanceryError }) => void;
}

/**
 * Takes into the registry what other processes publish: of each revision the versions that its targets name, so that
 * whoever takes over refuses what they would have refused; and all of it, with the approvers, where the revision was
 * compiled from the very tree that this process stands by with.
 */
export class RegistryWatch {
  readonly #options: RegistryWatchOptions;
  /** The newest revision that is in the registry. */
  #number = 0;
  #seen: PublishedVersions | undefined;
  #tree: { readonly inventory: Inventory; readonly source: string } | undefined;
  /** Never rejects: one revision at a time. */
  #last: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: RegistryWatchOptions) {
    this.#options = options;
  }

  /**
   * @returns number of the newest revision that is known
   * @throws ChanceryError what the bus throws: then the revision is not known.
   */
  learn(head: SequencedHead): Promise<number> {
    const learnt = this.#last.then(() => this.#learn(head));
    this.#last = learnt.then(
      () => undefined,
      () => undefined,
    );
    return learnt.then(() => this.#number);
  }

  /** This process has compiled a tree, and another one publishes. */
  standBy(inventory: Inventory, source: string): Promise<void> {
    this.#tree = { inventory, source };
    return this.#register();
  }

  /** This process has published, and registers it itself. */
  published(number: number): void {
    this.#number = number;
    this.#seen = undefined;
    this.#tree = undefined;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#last;
  }

  async #learn(head: SequencedHead): Promise<void> {
    if (this.#closed || head.number <= this.#number) return;
    const { bus, trust, now, state, onEvent } = this.#options;
    try {
      const seen = await readPublishedVersions(bus, head, trust, now());
      // The head says more than what it names.
      if (seen.number <= this.#number) return;
      await state.learn(seen.versions);
      this.#seen = seen;
      this.#number = seen.number;
    } catch (thrown) {
      const error = ChanceryError.from(thrown, "unavailable");
      if (!UNREADABLE.has(error.code)) throw error;
      // What cannot be read, or was not published by whom it should, says nothing: it must not keep others from publishing.
      onEvent({ type: "alarm", error });
      return;
    }
    await this.#register();
  }

  async #register(): Promise<void> {
    const [tree, seen] = [this.#tree, this.#seen];
    if (tree === undefined || tree.source !== seen?.source) return;
    const { number, source, at } = seen;
    await this.#options.state.register(tree.inventory, { number, source, at });
  }
}

const UNREADABLE: ReadonlySet<string> = new Set(["not-found", "corrupt", "unsupported-format", "untrusted"]);
