import type { LogStream, SequencedEntry, Subscription } from "./bus.ts";
import { MAX_LOG_ENTRIES } from "./bus-limits.ts";
import { checkLogEntry, logConflict } from "./log-checks.ts";
import type { NatsLink } from "./nats-connection.ts";
import { isWrongSequence } from "./nats-errors.ts";
import type { NatsStreams } from "./nats-streams.ts";
import { type WatchOptions, watching } from "./nats-watch.ts";

export interface NatsLogOptions extends WatchOptions {
  readonly link: NatsLink;
  readonly streams: NatsStreams;
  readonly refuseClosed: () => void;
  /** Closes the subscription with the bus. */
  readonly keep: (subscription: Subscription) => Subscription;
}

/** The operational log as messages of one subject; the stream's sequence is theirs. */
export function natsLog(options: NatsLogOptions): LogStream {
  const { link, streams, refuseClosed, keep } = options;
  const { names } = streams;
  const newest = async (): Promise<number> =>
    await streams.run("the operational log cannot be read", async ({ manager }) => {
      return (await manager.direct.getMessage(names.log, { last_by_subj: names.logEntry }))?.seq ?? 0;
    });
  return {
    append: async (entry, expected) => {
      refuseClosed();
      checkLogEntry(entry);
      const copy = new Uint8Array(entry);
      const sequence = await streams.run("the operational log cannot be written", async ({ client }) => {
        try {
          return (await client.publish(names.logEntry, copy, { expect: { lastSubjectSequence: expected } })).seq;
        } catch (error) {
          if (isWrongSequence(error)) return undefined;
          throw error;
        }
      });
      if (sequence === undefined) throw logConflict(expected, await newest());
      return sequence;
    },
    after: async (sequence) => {
      refuseClosed();
      return await streams.run("the operational log cannot be read", async ({ manager }) => {
        const found: SequencedEntry[] = [];
        for (let from = sequence + 1; found.length < MAX_LOG_ENTRIES; from = (found.at(-1)?.sequence ?? from) + 1) {
          const message = await manager.direct.getMessage(names.log, { seq: from, next_by_subj: names.logEntry });
          if (message === null) break;
          found.push({ sequence: message.seq, entry: message.data });
        }
        return found;
      });
    },
    watch: (listener) => {
      refuseClosed();
      const watch = watching(async () => listener(), options);
      const bell = link.subscribe(names.logBell, () => watch.look());
      return keep({
        close: () => {
          watch.close();
          bell.close();
        },
      });
    },
  };
}
