/**
 * One level of a protobuf message, field by field, without decoding what nobody asks for. It knows what Envoy writes;
 * whatever else protobuf allows (groups, say) sets `ok` to false, and is for a whole decoder to read.
 *
 * @see https://protobuf.dev/programming-guides/encoding/
 */
export class WireReader {
  bytes: Uint8Array;
  end: number;
  pos: number;
  ok = true;
  /** Of the field that `next` found. */
  number = 0;
  wire = 0;
  /** The value of a varint, as an int64; beyond 2^53 the nearest number. */
  varint = 0;
  /** Where the value stands, for all others. */
  from = 0;
  to = 0;

  constructor(bytes: Uint8Array, from: number, end: number) {
    this.bytes = bytes;
    this.pos = from;
    this.end = end;
  }

  /** Reads something else from now on. */
  reset(bytes: Uint8Array, from: number, end: number): void {
    this.bytes = bytes;
    this.pos = from;
    this.end = end;
    this.ok = true;
  }

  /** Goes to the next field; false at the end, and where there is something that this reader does not know. */
  next(): boolean {
    const { bytes, pos, end } = this;
    if (pos >= end || !this.ok) return false;
    // Nearly all are short texts and messages, with a tag of one byte and a length of one or two.
    const tag = bytes[pos] ?? 0;
    if (tag < 8 || tag >= 0x80 || (tag & 7) !== BYTES || pos + 3 > end) return this.#nextOfAnyKind();
    let length = bytes[pos + 1] ?? 0;
    let from = pos + 2;
    if (length >= 0x80) {
      const high = bytes[from] ?? 0x80;
      if (high >= 0x80) return this.#nextOfAnyKind();
      length += (high - 1) * 0x80;
      from += 1;
    }
    if (length > end - from) return this.#fail();
    this.number = tag >> 3;
    this.wire = BYTES;
    this.from = from;
    this.to = from + length;
    this.pos = from + length;
    return true;
  }

  #nextOfAnyKind(): boolean {
    const tag = this.#readVarint();
    if (!this.ok || tag < 8 || tag > 0xffffffff) return this.#fail();
    const wire = tag & 7;
    this.number = tag >>> 3;
    this.wire = wire;
    if (wire === VARINT) {
      this.varint = this.#readVarint();
      return this.ok;
    }
    const length = wire === BYTES ? this.#readVarint() : wire === FIXED64 ? 8 : wire === FIXED32 ? 4 : -1;
    if (!this.ok || length < 0 || length > this.end - this.pos) return this.#fail();
    this.from = this.pos;
    this.to = this.pos + length;
    this.pos = this.to;
    return true;
  }

  /** Whether the field found is of this kind; if not, another reader has to read the message. */
  is(wire: number): boolean {
    if (this.wire === wire) return true;
    return this.#fail();
  }

  inner(): WireReader {
    return new WireReader(this.bytes, this.from, this.to);
  }

  #readVarint(): number {
    const first = this.pos < this.end ? (this.bytes[this.pos] ?? 0) : 0x80;
    if (first < 0x80) {
      this.pos += 1;
      return first;
    }
    return this.#readWideVarint();
  }

  #readWideVarint(): number {
    const { bytes, end } = this;
    let value = 0;
    let scale = 1;
    for (let count = 0; count < 7; count += 1) {
      if (this.pos >= end) break;
      const byte = bytes[this.pos] ?? 0;
      this.pos += 1;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
    return this.pos < end ? this.#readLongVarint(value) : Number(this.#fail());
  }

  /** The rest of an int64 after its first seven bytes. */
  #readLongVarint(low: number): number {
    let value = BigInt(low);
    for (let shift = 49n; shift < 70n; shift += 7n) {
      if (this.pos >= this.end) break;
      const byte = this.bytes[this.pos] ?? 0;
      this.pos += 1;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return Number(BigInt.asIntN(64, value));
    }
    return Number(this.#fail());
  }

  #fail(): false {
    this.ok = false;
    return false;
  }
}

/**
 * A length as it stands behind a tag: of one byte or, where it needs two, of two; -1: it is written in another way, or not
 * there.
 */
export function shortLength(bytes: Uint8Array, at: number): number {
  const low = bytes[at] ?? 0x80;
  if (low < 0x80) return low;
  const high = bytes[at + 1] ?? 0;
  return high > 0 && high < 0x80 ? low + (high - 1) * 0x80 : -1;
}

export const NO_BYTES: Buffer = Buffer.alloc(0);

/** Wire types. */
export const VARINT = 0;
export const FIXED64 = 1;
export const BYTES = 2;
const FIXED32 = 5;

/** A Buffer over the same memory, for its decoders. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Longest text that is interned, in bytes. */
const INTERNED_BYTES = 128;
const SLOTS = 4_096;

/**
 * Texts that come again and again (header names, methods, hosts, route ids), so that they are decoded once. As large as
 * it gets, whatever clients send: a text that falls on a place that is taken replaces the other.
 */
export class TextInterner {
  readonly #texts: (string | undefined)[] = new Array(SLOTS).fill(undefined);
  readonly #bytes: (Uint8Array | undefined)[] = new Array(SLOTS).fill(undefined);
  readonly #decode: (bytes: Buffer) => string;

  constructor(decode: (bytes: Buffer) => string) {
    this.#decode = decode;
  }

  text(bytes: Buffer, from: number, to: number): string {
    const length = to - from;
    if (length === 0) return "";
    if (length > INTERNED_BYTES) return this.#decode(bytes.subarray(from, to));
    const slot = slotOf(bytes, from, length);
    const known = this.#bytes[slot];
    const text = this.#texts[slot];
    if (known !== undefined && text !== undefined && equal(known, bytes, from, to)) return text;
    const decoded = internalized(this.#decode(bytes.subarray(from, to)));
    this.#bytes[slot] = Uint8Array.prototype.slice.call(bytes, from, to);
    this.#texts[slot] = decoded;
    return decoded;
  }
}

/** Of some of the bytes: what falls together is told apart by all of them. */
function slotOf(bytes: Uint8Array, from: number, length: number): number {
  let hash = length;
  hash = Math.imul(hash, 31) + (bytes[from] ?? 0);
  hash = Math.imul(hash, 31) + (bytes[from + (length >> 2)] ?? 0);
  hash = Math.imul(hash, 31) + (bytes[from + (length >> 1)] ?? 0);
  hash = Math.imul(hash, 31) + (bytes[from + length - 1 - (length >> 2)] ?? 0);
  hash = Math.imul(hash, 31) + (bytes[from + length - 2] ?? 0);
  hash = Math.imul(hash, 31) + (bytes[from + length - 1] ?? 0);
  hash = Math.imul(hash, 0x9e3779b1);
  return (hash ^ (hash >>> 16)) & (SLOTS - 1);
}

/** The same text as the engine keeps names: two of them are compared by identity. */
function internalized(text: string): string {
  for (const name in { [text]: true }) return name;
  return text;
}

function equal(known: Uint8Array, bytes: Uint8Array, from: number, to: number): boolean {
  if (known.length !== to - from) return false;
  for (let at = 0; at < known.length; at += 1) if (known[at] !== bytes[from + at]) return false;
  return true;
}
