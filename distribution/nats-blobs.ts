import { createHash } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { headers, type MsgHdrs } from "@nats-io/nats-core";
import { ChanceryError } from "../resources/index.ts";
import { type Digest, digestOfHash, eachOf, MAX_BLOB_BYTES } from "../revision/index.ts";
import type { NatsSession } from "./nats-connection.ts";
import { MAX_MESSAGE_BYTES, type NatsStreams } from "./nats-streams.ts";

/** What is left of a message beside its headers. */
const PART_BYTES = MAX_MESSAGE_BYTES - 1024;
const MAX_PARTS = Math.ceil(MAX_BLOB_BYTES / PART_BYTES);
/** Parts that are on their way at the same time. */
const IN_FLIGHT = 8;
const PARTS_HEADER = "Chancery-Parts";

interface Part {
  readonly bytes: Uint8Array;
  /** How many the whole has. */
  readonly of: number;
}

/**
 * Content as messages `blob.<hex digits>.<index>`, the newest of each kept. Putting writes every part each time: that
 * mends what is damaged, and makes the content young, which is how long-unused content is told apart.
 */
export class NatsBlobs {
  readonly #streams: NatsStreams;

  constructor(streams: NatsStreams) {
    this.#streams = streams;
  }

  /** The caller has checked the digest, and may change `bytes` once this has returned its promise. */
  async put(digest: Digest, bytes: Uint8Array): Promise<void> {
    const { names } = this.#streams;
    const copy = new Uint8Array(bytes);
    const count = Math.max(1, Math.ceil(copy.length / PART_BYTES));
    await this.#streams.run(`${digest} cannot be put on the bus`, async ({ client }) => {
      const put = async (index: number): Promise<void> => {
        const part = copy.subarray(index * PART_BYTES, (index + 1) * PART_BYTES);
        const partHeaders = headers();
        partHeaders.set(PARTS_HEADER, String(count));
        await client.publish(names.blobPart(digest, index), part, { headers: partHeaders });
      };
      await eachOf(count - 1, IN_FLIGHT, (index) => put(index + 1));
      // The first part last: where it is, the others are.
      await put(0);
    });
  }

  async has(digest: Digest): Promise<boolean> {
    return await this.#streams.run(`${digest} cannot be looked for on the bus`, async (session) => {
      return (await this.#part(session, digest, 0)) !== undefined;
    });
  }

  /**
   * @param size  bytes that it should have; unknown, or wrong, the first part is waited for before others are asked for
   * @throws ChanceryError "corrupt"
   */
  async get(digest: Digest, size = 0): Promise<Uint8Array | undefined> {
    return await this.#streams.run(`${digest} cannot be read from the bus`, async (session) => {
      const parts = new Map<number, Part>();
      const read = async (index: number): Promise<void> => {
        const part = parts.has(index) ? undefined : await this.#part(session, digest, index);
        if (part !== undefined) parts.set(index, part);
      };
      await eachOf(Math.min(MAX_PARTS, Math.max(1, Math.ceil(size / PART_BYTES))), IN_FLIGHT, read);
      const first = parts.get(0);
      if (first === undefined) return undefined;
      await eachOf(first.of, IN_FLIGHT, read);
      const whole: Uint8Array[] = [];
      const hash = createHash("sha256");
      for (let index = 0; index < first.of; index++) {
        const part = parts.get(index);
        // Cleared away, or lost, while it was being read.
        if (part === undefined) return undefined;
        whole.push(part.bytes);
        hash.update(part.bytes);
        // Hashing all of them in one go would hold the loop.
        if (first.of > 1) await setImmediate();
      }
      const bytes = Buffer.concat(whole);
      if (digestOfHash(hash) !== digest) {
        throw new ChanceryError("corrupt", `the bytes on the bus are not ${digest}: publishing again mends them`);
      }
      return bytes;
    });
  }

  async #part({ manager }: NatsSession, digest: Digest, index: number): Promise<Part | undefined> {
    const { names } = this.#streams;
    const message = await manager.direct.getMessage(names.blobs, { last_by_subj: names.blobPart(digest, index) });
    if (message === null) return undefined;
    return { bytes: message.data, of: partsOf(message.header, digest) };
  }
}

function partsOf(partHeaders: MsgHdrs, digest: Digest): number {
  const count = Number(partHeaders.get(PARTS_HEADER));
  if (Number.isInteger(count) && count >= 1 && count <= MAX_PARTS) return count;
  throw new ChanceryError("corrupt", `a part of ${digest} on the bus does not say of how many it is one`);
}
