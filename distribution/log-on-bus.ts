import { type Digest, digestOf } from "../revision/index.ts";
import type { LogStream, SequencedEntry } from "./bus.ts";
import { MAX_BUS_LOG_ENTRIES } from "./bus-limits.ts";
import { withDeadline } from "./deadline.ts";
import type { SignedLogEntry } from "./log-statement.ts";

const ANSWER_MS = 5_000;

interface BusEntry {
  readonly sequence: number;
  /** Of the bytes. */
  readonly bytesDigest: Digest;
  /** undefined: refused. */
  readonly entry: SignedLogEntry | undefined;
}

/** The operational log of a bus, as it was when it was last read. */
export class LogOnBus {
  readonly #bus: LogStream;
  readonly #verify: (bytes: Uint8Array) => SignedLogEntry | undefined;
  #entries: BusEntry[] = [];

  /** @param verify  undefined for what is refused */
  constructor(bus: LogStream, verify: (bytes: Uint8Array) => SignedLogEntry | undefined) {
    this.#bus = bus;
    this.#verify = verify;
  }

  /** Those that are not refused, in the order of the bus. */
  entries(): readonly SignedLogEntry[] {
    return this.#entries.flatMap(({ entry }) => (entry === undefined ? [] : [entry]));
  }

  /** Whether so many more fit. */
  hasRoomFor(count: number): boolean {
    return this.#entries.length + count <= MAX_BUS_LOG_ENTRIES;
  }

  /** @returns "other": what was there is there no more, and everything was read anew */
  async read(): Promise<"same" | "more" | "other"> {
    const last = this.#entries.at(-1);
    const tail = await this.#after(Math.max(0, (last?.sequence ?? 0) - 1));
    const [first, ...newer] = tail;
    if (last !== undefined && first?.sequence === last.sequence && digestOf(first.entry) === last.bytesDigest) {
      if (newer.length === 0) return "same";
      for (const each of newer) this.#entries.push(this.#toEntry(each));
      return "more";
    }
    if (last === undefined && tail.length === 0) return "same";
    const all = last === undefined ? tail : await this.#after(0);
    this.#entries = all.map((each) => this.#toEntry(each));
    return last === undefined ? "more" : "other";
  }

  /** @throws ChanceryError "conflict" where it has entries that were not read yet */
  async put(entry: SignedLogEntry): Promise<void> {
    const expected = this.#entries.at(-1)?.sequence ?? 0;
    const appending = this.#bus.append(entry.bytes, expected);
    const sequence = await withDeadline(appending, ANSWER_MS, "the bus took no log entry");
    this.#entries.push({ sequence, bytesDigest: digestOf(entry.bytes), entry });
  }

  /** Has it forget what was appended before an entry that it has. */
  async dropBefore(digest: Digest): Promise<void> {
    const place = this.#entries.findIndex(({ entry }) => entry?.digest === digest);
    const sequence = this.#entries[place]?.sequence;
    if (place <= 0 || sequence === undefined) return;
    await withDeadline(this.#bus.dropBefore(sequence), ANSWER_MS, "the bus keeps its older log entries");
    this.#entries = this.#entries.slice(place);
  }

  async #after(sequence: number): Promise<readonly SequencedEntry[]> {
    return await withDeadline(this.#bus.after(sequence), ANSWER_MS, "the bus gives no log entries");
  }

  #toEntry({ sequence, entry: bytes }: SequencedEntry): BusEntry {
    return { sequence, bytesDigest: digestOf(bytes), entry: this.#verify(bytes) };
  }
}
