import { z } from "zod";
import type { Subscription } from "./bus.ts";
import { MAX_EPOCH } from "./bus-limits.ts";
import { conflict } from "./in-process-bus.ts";
import type { LeaseEntry, LeaseRecord } from "./lease.ts";
import type { LeaseCell } from "./lease-keeper.ts";
import type { NatsLink } from "./nats-connection.ts";
import { isWrongSequence } from "./nats-errors.ts";
import type { NatsStreams } from "./nats-streams.ts";

const schema = z.strictObject({
  holder: z.string().min(1).max(128),
  name: z.string().max(128),
  epoch: z.int().positive().max(MAX_EPOCH),
  ttlMs: z.int().positive().max(600_000),
  released: z.boolean(),
});

/** The lease as the newest message of a subject of its own. */
export function natsLease(link: NatsLink, streams: NatsStreams): LeaseCell {
  const { names } = streams;
  const read = async (): Promise<LeaseRecord | undefined> =>
    await streams.run("who leads cannot be read", async ({ manager }) => {
      const message = await manager.direct.getMessage(names.lease, { last_by_subj: names.leaseCell });
      return message === null ? undefined : { ...parse(message.data), sequence: message.seq };
    });
  return {
    read,
    write: async (entry: LeaseEntry, expected: number) => {
      const written = await streams.run("the lease cannot be written", async ({ client }) => {
        try {
          const expect = { lastSubjectSequence: expected };
          return (await client.publish(names.leaseCell, JSON.stringify(entry), { expect })).seq;
        } catch (error) {
          if (isWrongSequence(error)) return undefined;
          throw error;
        }
      });
      if (written === undefined) throw conflict(expected, (await read())?.sequence ?? 0);
      return written;
    },
    watch: (listener: () => void): Subscription => {
      const bell = link.subscribe(names.leaseBell, listener);
      // What was rung while there was no connection was missed.
      const connections = link.onConnected(listener);
      return {
        close: () => {
          bell.close();
          connections.close();
        },
      };
    },
  };
}

/** One that cannot be read is somebody's whose time is over like any other's. */
const UNKNOWN: LeaseEntry = { holder: "?", name: "somebody", epoch: 0, ttlMs: 10_000, released: false };

function parse(bytes: Uint8Array): LeaseEntry {
  try {
    const parsed = schema.safeParse(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)));
    return parsed.data ?? UNKNOWN;
  } catch {
    // Not even JSON: the same.
    return UNKNOWN;
  }
}
