import { WireHeaders } from "./headers.ts";
import { BYTES, NO_BYTES, shortLength, VARINT, WireReader } from "./wire.ts";

/** What `CheckPlaces` knows the place of. */
export const PART = {
  attributes: 1,
  source: 2,
  destination: 3,
  request: 4,
  metadata: 5,
  tls: 6,
  http: 7,
  time: 8,
  id: 9,
  scheme: 10,
  protocol: 11,
  body: 12,
  rawBody: 13,
  headers: 14,
  route: 15,
  layout: 16,
  nodeGroup: 17,
  /** Of the extension that was read last. */
  extension: 18,
  key: 19,
  value: 20,
} as const;

export type Part = (typeof PART)[keyof typeof PART];

const PARTS = 21;

/** What a field number means: a part, whether it may come only once, and whether its own fields are read, too. */
const PART_BITS = 0x1f;
const ONCE = 0x20;
const ENTERED = 0x40;

/** Field numbers up to 15 have tags of one byte. */
const NUMBERS = 16;
/** Field number of the size in AttributeContext.HttpRequest, which is no text or message. */
const SIZE = 9;

/** By part: what its fields are. Of a field that may come again the last one counts, as protobuf has it. */
const FIELDS = new Uint8Array(PARTS * NUMBERS);

function describe(part: number, fields: Readonly<Record<number, number>>): void {
  for (const [number, meaning] of Object.entries(fields)) FIELDS[part * NUMBERS + Number(number)] = meaning;
}

/** The CheckRequest itself. */
const WHOLE = 0;
describe(WHOLE, { 1: PART.attributes | ONCE | ENTERED });
describe(PART.attributes, {
  1: PART.source | ONCE,
  2: PART.destination | ONCE,
  4: PART.request | ONCE | ENTERED,
  10: PART.extension | ENTERED,
  11: PART.metadata | ONCE,
  12: PART.tls | ONCE,
});
describe(PART.extension, { 1: PART.key, 2: PART.value });
describe(PART.request, { 1: PART.time | ONCE, 2: PART.http | ONCE | ENTERED });
describe(PART.http, {
  1: PART.id,
  6: PART.scheme,
  10: PART.protocol,
  11: PART.body,
  12: PART.rawBody,
  13: PART.headers | ONCE | ENTERED,
});

/** Where the parts of one CheckRequest at a time stand in its bytes. */
export class CheckPlaces {
  readonly headers = new WireHeaders();
  /** Bytes of the body as Envoy counts them. */
  size = 0;
  readonly #places = new Int32Array(PARTS * 2);
  readonly #odd = new WireReader(NO_BYTES, 0, 0);

  /** Where a part starts; -1: it is not there. */
  from(part: Part): number {
    return this.#places[part * 2] ?? -1;
  }

  /** Where it ends; -1: it is not there. */
  to(part: Part): number {
    return this.#places[part * 2 + 1] ?? -1;
  }

  has(part: Part): boolean {
    return this.from(part) >= 0;
  }

  /**
   * @param view  over the memory of `bytes`, of which the first `length` are read
   * @returns false: they are no such message, or one that only a whole decoder can read
   */
  read(bytes: Buffer, view: DataView, length: number): boolean {
    this.size = 0;
    const places = this.#places;
    for (let place = 0; place < places.length; place += 1) places[place] = -1;
    return this.#read(WHOLE, bytes, view, 0, length);
  }

  /** The fields of a part. */
  #read(part: number, bytes: Buffer, view: DataView, from: number, to: number): boolean {
    for (let pos = from; pos < to; ) {
      // Nearly all fields are texts and messages with a tag of one byte and a length of one or two.
      const tag = bytes[pos] ?? 0;
      const length = shortLength(bytes, pos + 1);
      const start = pos + (length < 0x80 ? 2 : 3);
      const end = start + length;
      if ((tag & 0x87) !== BYTES || tag < 8 || length < 0 || end > to) {
        pos = this.#readOdd(part, bytes, view, pos, to);
        if (pos < 0) return false;
        continue;
      }
      const meaning = FIELDS[part * NUMBERS + (tag >> 3)] ?? 0;
      if (meaning !== 0 && !this.#take(meaning, bytes, view, start, end)) return false;
      pos = end;
    }
    return true;
  }

  /** @returns where the next field stands, or -1 */
  #readOdd(part: number, bytes: Buffer, view: DataView, pos: number, to: number): number {
    const field = this.#odd;
    field.reset(bytes, pos, to);
    if (!field.next()) return -1;
    const { number, pos: next } = field;
    if (part === PART.http && number === SIZE) {
      if (!field.is(VARINT)) return -1;
      this.size = field.varint;
      return next;
    }
    const meaning = number < NUMBERS ? FIELDS[part * NUMBERS + number] : 0;
    if (meaning === undefined || meaning === 0) return next;
    return field.is(BYTES) && this.#take(meaning, bytes, view, field.from, field.to) ? next : -1;
  }

  #take(meaning: number, bytes: Buffer, view: DataView, from: number, to: number): boolean {
    const part = meaning & PART_BITS;
    if ((meaning & ONCE) !== 0 && (this.#places[part * 2] ?? -1) >= 0) return false;
    this.#put(part, from, to);
    if ((meaning & ENTERED) === 0) return true;
    if (part === PART.headers) return this.headers.read(bytes, view, from, to);
    if (part === PART.extension) return this.#readExtension(bytes, view, from, to);
    return this.#read(part, bytes, view, from, to);
  }

  #put(part: number, from: number, to: number): void {
    this.#places[part * 2] = from;
    this.#places[part * 2 + 1] = to;
  }

  /** An entry of the context extensions. Of one that comes again the last one counts, as in any map. */
  #readExtension(bytes: Buffer, view: DataView, from: number, to: number): boolean {
    this.#put(PART.key, from, from);
    this.#put(PART.value, from, from);
    if (!this.#read(PART.extension, bytes, view, from, to)) return false;
    const part = extensionOf(bytes, this.from(PART.key), this.to(PART.key));
    if (part !== undefined) this.#put(part, this.from(PART.value), this.to(PART.value));
    return true;
  }
}

/** By its key. */
function extensionOf(bytes: Uint8Array, from: number, to: number): Part | undefined {
  switch (to - from) {
    case 5:
      return isText(bytes, from, "route") ? PART.route : undefined;
    case 6:
      return isText(bytes, from, "layout") ? PART.layout : undefined;
    case 10:
      return isText(bytes, from, "node_group") ? PART.nodeGroup : undefined;
    default:
      return undefined;
  }
}

/** Whether a text of ASCII stands there. */
function isText(bytes: Uint8Array, from: number, text: string): boolean {
  for (let at = 0; at < text.length; at += 1) if (bytes[from + at] !== text.charCodeAt(at)) return false;
  return true;
}
