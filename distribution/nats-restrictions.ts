import { digestOf } from "../revision/index.ts";
import type { Subscription } from "./bus.ts";
import { MAX_RESTRICTIONS } from "./bus-limits.ts";
import type { NatsLink } from "./nats-connection.ts";
import type { NatsStreams } from "./nats-streams.ts";
import { type WatchOptions, watching } from "./nats-watch.ts";

export interface SequencedRestriction {
  readonly sequence: number;
  readonly entry: Uint8Array;
}

/** Every look this often starts from the first entry again: a stream that was made anew counts anew. */
const WHOLE_LOOK = 15;

/** Entries as messages of a subject each, which is their digest. */
export class NatsRestrictions {
  readonly #streams: NatsStreams;

  constructor(streams: NatsStreams) {
    this.#streams = streams;
  }

  async put(entry: Uint8Array): Promise<void> {
    const { names } = this.#streams;
    const copy = new Uint8Array(entry);
    await this.#streams.run("a restriction cannot be put on the bus", ({ client }) => {
      return client.publish(names.restriction(digestOf(copy)), copy);
    });
  }

  /** Those stored after a sequence, oldest first. */
  async after(sequence: number): Promise<readonly SequencedRestriction[]> {
    const { names } = this.#streams;
    return await this.#streams.run("restrictions cannot be read", async ({ manager }) => {
      const found: SequencedRestriction[] = [];
      for (let from = sequence + 1; found.length < MAX_RESTRICTIONS; from = (found.at(-1)?.sequence ?? from) + 1) {
        const query = { seq: from, next_by_subj: names.anyRestriction };
        const message = await manager.direct.getMessage(names.restrictions, query);
        if (message === null) return found;
        found.push({ sequence: message.seq, entry: message.data });
      }
      return found;
    });
  }
}

export interface RestrictionWatchOptions extends WatchOptions {
  readonly link: NatsLink;
  readonly streams: NatsStreams;
  readonly restrictions: NatsRestrictions;
}

/** Calls back with each entry as the server rings it, and with whatever a look finds. */
export function watchNatsRestrictions(
  listener: (entry: Uint8Array) => void,
  options: RestrictionWatchOptions,
): Subscription {
  const { link, streams, restrictions } = options;
  /** Everything up to this sequence was delivered by a look. */
  let complete = 0;
  let looks = 0;
  const look = async (): Promise<void> => {
    looks += 1;
    if (looks % WHOLE_LOOK === 0) complete = 0;
    for (const { sequence, entry } of await restrictions.after(complete)) {
      if (!watch.open) return;
      listener(entry);
      complete = Math.max(complete, sequence);
    }
  };
  // Before the watch looks because of the same connection: another server may count from 1 again.
  const connections = link.onConnected(() => {
    complete = 0;
  });
  const watch = watching(look, options);
  const bell = link.subscribe(streams.names.restrictionBell, (message) => {
    if (watch.open) listener(new Uint8Array(message.data));
  });
  return {
    close: () => {
      connections.close();
      watch.close();
      bell.close();
    },
  };
}
