import type { LogStream, SequencedEntry, Subscription } from "./bus.ts";
import { MAX_BUS_LOG_ENTRIES } from "./bus-limits.ts";
import { checkLogEntry, logConflict, logFull } from "./log-checks.ts";
import type { NatsLink, NatsSession } from "./nats-connection.ts";
import { isFullStream, isWrongSequence } from "./nats-errors.ts";
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
      const publishing = async ({ client }: NatsSession): Promise<number | undefined> => {
        try {
          return (await client.publish(names.logEntry, copy, { expect: { lastSubjectSequence: expected } })).seq;
        } catch (error) {
          if (isWrongSequence(error)) return undefined;
          throw error;
        }
      };
      const sequence = await streams.run("the operational log cannot be written", async (session) => {
        try {
          return await publishing(session);
        } catch (error) {
          if (!isFullStream(error)) throw error;
        }
        // A stream that another build made may be the smaller one.
        await streams.renew(session);
        try {
          return await publishing(session);
        } catch (error) {
          throw isFullStream(error) ? logFull() : error;
        }
      });
      if (sequence === undefined) throw logConflict(expected, await newest());
      return sequence;
    },
    after: async (sequence) => {
      refuseClosed();
      return await streams.run("the operational log cannot be read", async ({ manager }) => {
        const found: SequencedEntry[] = [];
        for (let from = sequence + 1; found.length < MAX_BUS_LOG_ENTRIES; from = (found.at(-1)?.sequence ?? from) + 1) {
          const message = await manager.direct.getMessage(names.log, { seq: from, next_by_subj: names.logEntry });
          if (message === null) break;
          found.push({ sequence: message.seq, entry: message.data });
        }
        return found;
      });
    },
    dropBefore: async (sequence) => {
      refuseClosed();
      await streams.run("the operational log cannot be shortened", async ({ manager }) => {
        // The newest stays: its sequence is what the next is appended after.
        const last = await manager.direct.getMessage(names.log, { last_by_subj: names.logEntry });
        if (last === null) return;
        await manager.streams.purge(names.log, { filter: names.logEntry, seq: Math.min(sequence, last.seq) });
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
