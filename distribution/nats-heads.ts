import type { StoredMsg } from "@nats-io/jetstream";
import { headers, type Msg, type MsgHdrs } from "@nats-io/nats-core";
import { ChanceryError } from "../resources/index.ts";
import type { HeadAnnouncement, SequencedHead } from "./bus.ts";
import { KEPT_GENERATIONS } from "./bus-limits.ts";
import { encodeHead, parseHead } from "./bus-schema.ts";
import { conflict } from "./in-process-bus.ts";
import type { NatsSession } from "./nats-connection.ts";
import { isWrongSequence } from "./nats-errors.ts";
import type { NatsStreams } from "./nats-streams.ts";

/** Header of a head: `<time at which the stream of blobs was made> <its newest sequence then>`. */
const BLOBS_HEADER = "Chancery-Blobs";
/** Header of a head: its manifest, in base64. */
const MANIFEST_HEADER = "Chancery-Manifest";
/** Manifests that are larger are asked for. */
const MAX_CARRIED_BYTES = 48 * 1024;
/** Header of what the server republishes. */
const SEQUENCE_HEADER = "Nats-Sequence";
/** Heads that cannot be read are passed over as far back as this. */
const MAX_DAMAGED = 16;

/** Heads as messages of one subject; the stream's sequence is theirs. */
export class NatsHeads {
  readonly #streams: NatsStreams;
  readonly #onAlarm: (alarm: ChanceryError) => void;
  #damaged = 0;

  constructor(streams: NatsStreams, onAlarm: (alarm: ChanceryError) => void) {
    this.#streams = streams;
    this.#onAlarm = onAlarm;
  }

  async append(head: HeadAnnouncement, expected: number): Promise<number> {
    const { names } = this.#streams;
    const what = `revision ${head.number} cannot be published`;
    const published = await this.#streams.run(what, async ({ client, manager }) => {
      const { created, state } = await manager.streams.info(names.blobs);
      const headHeaders = headers();
      headHeaders.set(BLOBS_HEADER, `${created} ${state.last_seq}`);
      if (head.content !== undefined && head.content.length <= MAX_CARRIED_BYTES) {
        headHeaders.set(MANIFEST_HEADER, Buffer.from(head.content).toString("base64"));
      }
      const body = encodeHead(head);
      try {
        // Of the subject, not of the stream: after a purge it starts at 0 again, and so does `newest`.
        const expect = { lastSubjectSequence: expected };
        return { sequence: (await client.publish(names.head, body, { headers: headHeaders, expect })).seq, created };
      } catch (error) {
        if (isWrongSequence(error)) return undefined;
        throw error;
      }
    });
    if (published === undefined) throw conflict(expected, (await this.newest())?.sequence ?? 0);
    // The head is published whatever becomes of the clearing.
    await this.#clear(published.sequence, published.created).catch((error) => this.#onAlarm(ChanceryError.from(error)));
    return published.sequence;
  }

  /**
   * The newest head that can be read, under the newest sequence: one that cannot takes part in the order, so that the
   * next writer goes past it, and says nothing else.
   */
  async newest(): Promise<SequencedHead | undefined> {
    const { names } = this.#streams;
    return await this.#streams.run("the head cannot be read", async (session) => {
      const newest = await session.manager.direct.getMessage(names.heads, { last_by_subj: names.head });
      if (newest === null) return undefined;
      let message: StoredMsg | null = newest;
      for (let back = 1; ; back++) {
        if (message !== null) {
          try {
            return { ...parseHead(message.data), ...carried(message.header), sequence: newest.seq };
          } catch (error) {
            this.#alarmOnce(message.seq, ChanceryError.from(error));
          }
        }
        if (back > MAX_DAMAGED || newest.seq - back < 1) return undefined;
        message = await at(session, names.heads, newest.seq - back);
      }
    });
  }

  /** A head as the server rings it; undefined where it cannot be read. */
  rung(message: Msg): SequencedHead | undefined {
    const sequence = Number(message.headers?.get(SEQUENCE_HEADER));
    if (!Number.isSafeInteger(sequence) || sequence < 1) return undefined;
    try {
      return { ...parseHead(message.data), ...carried(message.headers), sequence };
    } catch {
      // Looking tells what is wrong with it.
      return undefined;
    }
  }

  /** Clears blobs away that nobody put for any of the last heads. */
  async #clear(sequence: number, created: string): Promise<void> {
    const { names } = this.#streams;
    if (sequence <= KEPT_GENERATIONS) return;
    await this.#streams.run("old content cannot be cleared away", async (session) => {
      const old = await at(session, names.heads, sequence - KEPT_GENERATIONS);
      const [oldCreated, through] = old?.header.get(BLOBS_HEADER).split(" ") ?? [];
      // A stream that was lost and made again counts anew: what the old head says is about another.
      if (oldCreated !== created || !/^[0-9]{1,15}$/.test(through ?? "")) return;
      await session.manager.streams.purge(names.blobs, { seq: Number(through) + 1 });
    });
  }

  #alarmOnce(sequence: number, cause: ChanceryError): void {
    if (sequence === this.#damaged) return;
    this.#damaged = sequence;
    this.#onAlarm(new ChanceryError("corrupt", `head ${sequence} cannot be read: ${cause.message}`, { cause }));
  }
}

function carried(headHeaders: MsgHdrs | undefined): Pick<SequencedHead, "content"> {
  const text = headHeaders?.get(MANIFEST_HEADER) ?? "";
  if (text === "" || text.length > 2 * MAX_CARRIED_BYTES) return {};
  return { content: Buffer.from(text, "base64") };
}

async function at({ manager }: NatsSession, stream: string, seq: number): Promise<StoredMsg | null> {
  return await manager.direct.getMessage(stream, { seq });
}
