import { isUtf8 } from "node:buffer";
import { BYTES, NO_BYTES, shortLength, TextInterner, WireReader } from "./wire.ts";

/**
 * Headers as Envoy has them (`encode_raw_headers`): raw bytes, repeated ones apart. Headers that Envoy keeps inline
 * (authorization, content-type, …) are joined by a comma when they are repeated; who reads those looks out for it.
 */
export interface RequestHeaders {
  /** Every value of a header, in order, by its lower-case name; undefined: it is not there. Not for pseudo headers. */
  get(name: string): readonly string[] | undefined;
  /** ":path", ":method", … with one char per byte; undefined when it is missing or stands more than once. */
  pseudo(name: PseudoHeader): string | undefined;
  /** As `pseudo`, for what comes again and again. */
  knownPseudo(name: PseudoHeader): string | undefined;
  /** How many there are, repeated ones and pseudo headers counted. */
  readonly count: number;
  /** Lower-case name → every value, in order. Without pseudo headers. */
  readonly fields: ReadonlyMap<string, readonly string[]>;
}

/** Up to so many headers rules may ask for them one by one (`DecisionInput.header`). */
export const FEW_HEADERS = 1_000;

/** Headers that are found when headers are read, since each request is asked for them; by length. */
const KEPT = [
  ":path",
  ":method",
  ":scheme",
  "api-key",
  "x-api-key",
  ":authority",
  "content-type",
  "authorization",
] as const;

type PseudoHeader = Extract<(typeof KEPT)[number], `:${string}`>;

/** What `WireHeaders.onlyIndex` is asked for. */
export const KEPT_HEADER = {
  path: 0,
  method: 1,
  scheme: 2,
  apiKey: 3,
  xApiKey: 4,
  authority: 5,
  contentType: 6,
  authorization: 7,
} as const;

/** By the length of a name: the first of `KEPT` that is as long, and the one behind the last. */
const LENGTHS = 16;
const KEPT_FROM = Uint8Array.from(
  { length: LENGTHS },
  (_, length) => KEPT.filter((each) => each.length < length).length,
);
const KEPT_TO = Uint8Array.from(
  { length: LENGTHS },
  (_, length) => KEPT.filter((each) => each.length <= length).length,
);
/** Each of them in four words, which overlap where it is shorter than 16 bytes. */
const KEPT_WORDS = Int32Array.from(KEPT.flatMap((name) => wordsOfName(Buffer.from(name))));
function wordsOfName(name: Buffer): readonly number[] {
  const last = name.length - 4;
  return [0, Math.min(4, last), Math.min(8, last), last].map((at) => name.readInt32LE(at));
}

const MISSING = -1;
const SEVERAL = -2;
/** A name that has to be read letter by letter. */
const UNUSUAL = -3;

/** Makes four letters small. */
const SMALL = 0x20202020;

/** Which of `KEPT` a name is; -1: none of them. */
function keptPlaceOf(view: DataView, name: number, length: number): number {
  if (length >= LENGTHS) return MISSING;
  const end = KEPT_TO[length] ?? 0;
  for (let place = KEPT_FROM[length] ?? 0; place < end; place += 1) {
    const at = place * 4;
    const first = view.getInt32(name, true);
    if ((first | SMALL) !== KEPT_WORDS[at]) continue;
    const last = length - 4;
    const same =
      first === KEPT_WORDS[at] &&
      view.getInt32(name + last, true) === KEPT_WORDS[at + 3] &&
      view.getInt32(name + Math.min(4, last), true) === KEPT_WORDS[at + 1] &&
      view.getInt32(name + Math.min(8, last), true) === KEPT_WORDS[at + 2];
    return same ? place : UNUSUAL;
  }
  return MISSING;
}

const NAMES = new TextInterner((bytes) => lowerCase(bytes.toString("utf8")));

/** Header names are ASCII, and what else there is has no case. */
function lowerCase(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

const VALUES = new TextInterner((bytes) => bytes.toString("latin1"));

/** Of each header: where its name starts, its length, where its value starts and ends, and 1 where that is the raw one. */
const PLACES = 5;
const USUAL_HEADERS = 64;

/** The headers of one request at a time, by their places. */
export class WireHeaders implements RequestHeaders {
  readonly #map = new WireReader(NO_BYTES, 0, 0);
  readonly #header = new WireReader(NO_BYTES, 0, 0);
  #places = new Int32Array(USUAL_HEADERS * PLACES);
  /** Where each of `KEPT` stands. */
  readonly #kept = new Int32Array(KEPT.length);
  #bytes = NO_BYTES;
  #count = 0;
  #fields: ReadonlyMap<string, readonly string[]> | undefined;

  /**
   * @param bytes  in which an `envoy.config.core.v3.HeaderMap` stands from `from` to `to`
   * @param view  over the memory of `bytes`
   * @returns false for what `WireReader` does not read
   */
  read(bytes: Buffer, view: DataView, from: number, to: number): boolean {
    this.#bytes = bytes;

    this.#count = 0;
    this.#fields = undefined;
    const kept = this.#kept;
    for (let place = 0; place < kept.length; place += 1) kept[place] = MISSING;
    // What one large request needed is not kept for all small ones.
    if (this.#places.length > USUAL_HEADERS * PLACES) this.#places = new Int32Array(USUAL_HEADERS * PLACES);
    const map = this.#map;
    let pos = this.#readUsual(bytes, view, from, to);
    while (pos < to) {
      map.reset(bytes, pos, to);
      if (!map.next()) return false;
      if (map.number === 1 && !(map.is(BYTES) && this.#readHeader(bytes, map.from, map.to))) return false;
      pos = this.#readUsual(bytes, view, map.pos, to);
    }
    return true;
  }

  /**
   * Headers as Envoy writes them: key (1), then raw_value (3), which is not empty, and no length of more than two bytes.
   *
   * @returns where the first one starts that is written in another way, or `to`
   */
  #readUsual(bytes: Buffer, view: DataView, from: number, to: number): number {
    const places = this.#places;
    const kept = this.#kept;
    let count = this.#count;
    let pos = from;
    while (pos < to) {
      const whole = shortLength(bytes, pos + 1);
      let at = pos + (whole < 0x80 ? 2 : 3);
      const end = at + whole;
      const length = bytes[at + 1] ?? 0x80;
      if (bytes[pos] !== 0x0a || whole < 0 || end > to || bytes[at] !== 0x0a || length >= 0x80) break;
      const name = at + 2;
      at = name + length;
      if (bytes[at] !== 0x1a) break;
      const valueLength = shortLength(bytes, at + 1);
      at += valueLength < 0x80 ? 2 : 3;
      if (valueLength <= 0 || at + valueLength !== end) break;
      const place = count * PLACES;
      if (place >= places.length) break;
      const keptPlace = keptPlaceOf(view, name, length);
      if (keptPlace === UNUSUAL) break;
      places[place] = name;
      places[place + 1] = length;
      places[place + 2] = at;
      places[place + 3] = end;
      places[place + 4] = 1;
      if (keptPlace !== MISSING) kept[keptPlace] = kept[keptPlace] === MISSING ? count : SEVERAL;
      count += 1;
      pos = end;
    }
    this.#count = count;
    return pos;
  }

  #add(name: number, nameLength: number, from: number, to: number, raw: 0 | 1): void {
    const at = this.#count * PLACES;
    if (at === this.#places.length) {
      const more = new Int32Array(at * 2);
      more.set(this.#places);
      this.#places = more;
    }
    const places = this.#places;
    places[at] = name;
    places[at + 1] = nameLength;
    places[at + 2] = from;
    places[at + 3] = to;
    places[at + 4] = raw;
    const index = this.#count;
    this.#count += 1;
    const kept = KEPT.findIndex((each) => this.#isNamed(index, each));
    if (kept !== -1) this.#kept[kept] = this.#kept[kept] === MISSING ? index : SEVERAL;
  }

  #readHeader(bytes: Buffer, from: number, to: number): boolean {
    const header = this.#header;
    header.reset(bytes, from, to);
    let name = 0;
    let nameLength = 0;
    let at = 0;
    let end = 0;
    let raw = false;
    while (header.next()) {
      if (header.number > 3) continue;
      if (!header.is(BYTES)) return false;
      if (header.number === 1) {
        name = header.from;
        nameLength = header.to - header.from;
      } else if (header.number === 2) {
        if (!raw) {
          at = header.from;
          end = header.to;
        }
      } else if (header.to > header.from) {
        at = header.from;
        end = header.to;
        raw = true;
      } else if (raw) {
        // An empty one that takes back another: not what Envoy writes.
        return false;
      }
    }
    if (!header.ok) return false;
    this.#add(name, nameLength, at, end, raw ? 1 : 0);
    return true;
  }

  get count(): number {
    return this.#count;
  }

  get(name: string): readonly string[] | undefined {
    if (name.startsWith(":")) return undefined;
    let values: string[] | undefined;
    for (let index = 0; index < this.#count; index += 1) {
      if (!this.#isNamed(index, name)) continue;
      if (values === undefined) values = [this.#text(index)];
      else values.push(this.#text(index));
    }
    return values;
  }

  pseudo(name: PseudoHeader): string | undefined {
    const index = this.onlyIndex(KEPT.indexOf(name));
    return index < 0 ? undefined : this.#bytes.toString("latin1", this.startOf(index), this.endOf(index));
  }

  knownPseudo(name: PseudoHeader): string | undefined {
    const index = this.onlyIndex(KEPT.indexOf(name));
    return index < 0 ? undefined : VALUES.text(this.#bytes, this.startOf(index), this.endOf(index));
  }

  /**
   * The place of a header among all; -1: it is not there, -2: more than once.
   *
   * @param header  one of `KEPT_HEADER`
   */
  onlyIndex(header: number): number {
    return this.#kept[header] ?? MISSING;
  }

  /** The place of a header's first value from a place on; -1: there is none (any more). */
  nextIndex(name: string, from: number): number {
    for (let index = from; index < this.#count; index += 1) if (this.#isNamed(index, name)) return index;
    return -1;
  }

  /** Whether the value of a header starts with an ASCII text in lower case, in whatever case. */
  startsWith(index: number, text: string): boolean {
    const from = this.startOf(index);
    if (this.endOf(index) - from < text.length) return false;
    for (let at = 0; at < text.length; at += 1) {
      const byte = this.#bytes[from + at] ?? 0;
      const lower = byte >= 0x41 && byte <= 0x5a ? byte + 0x20 : byte;
      if (lower !== text.charCodeAt(at)) return false;
    }
    return true;
  }

  /** Whether the value is Envoy's raw one. */
  isRaw(index: number): boolean {
    return this.#places[index * PLACES + 4] === 1;
  }

  /** Where the value of a header starts, and where it ends. */
  startOf(index: number): number {
    return this.#places[index * PLACES + 2] ?? 0;
  }
  endOf(index: number): number {
    return this.#places[index * PLACES + 3] ?? 0;
  }

  get fields(): ReadonlyMap<string, readonly string[]> {
    if (this.#fields !== undefined) return this.#fields;
    const fields = new Map<string, string[]>();
    for (let index = 0; index < this.#count; index += 1) {
      const name = this.#nameOf(index);
      if (name.startsWith(":")) continue;
      const values = fields.get(name);
      if (values === undefined) fields.set(name, [this.#text(index)]);
      else values.push(this.#text(index));
    }
    this.#fields = fields;
    return fields;
  }

  #nameOf(index: number): string {
    const from = this.#places[index * PLACES] ?? 0;
    return NAMES.text(this.#bytes, from, from + (this.#places[index * PLACES + 1] ?? 0));
  }

  /** @param name  in lower case */
  #isNamed(index: number, name: string): boolean {
    const from = this.#places[index * PLACES] ?? 0;
    const length = this.#places[index * PLACES + 1] ?? 0;
    // Only bytes that are no ASCII make a name longer than its text.
    if (length < name.length) return false;
    for (let at = 0; at < name.length; at += 1) {
      const byte = this.#bytes[from + at] ?? 0;
      const code = name.charCodeAt(at);
      // Of a name that is not ASCII the bytes are not those of its characters.
      if (code >= 0x80) return this.#nameOf(index) === name;
      if (byte !== code && (byte < 0x41 || byte > 0x5a || byte + 0x20 !== code)) return false;
    }
    return length === name.length;
  }

  #text(index: number): string {
    const bytes = this.#bytes.subarray(this.startOf(index), this.endOf(index));
    return this.#places[index * PLACES + 4] === 1 ? decodeHeaderValue(bytes) : bytes.toString("utf8");
  }
}

/**
 * Text of a header value. Bytes that are not UTF-8 become U+DC80 to U+DCFF, one each (PEP 383): different bytes always
 * give different text, the text equals none that a rule can be written with, the header is still there for rules that
 * ask whether it is, and its valid part is still found by `startsWith` and `contains`. (Latin-1 would make byte 0xFF and
 * a UTF-8 "ÿ" the same; leaving the header out would let a guarded deny rule pass.)
 */
export function decodeHeaderValue(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString("utf8");
  let text = "";
  let at = 0;
  while (at < bytes.length) {
    const lead = bytes[at] ?? 0;
    const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    const sequence = bytes.subarray(at, at + length);
    if (isUtf8(sequence)) {
      text += sequence.toString("utf8");
      at += length;
    } else {
      text += String.fromCharCode(0xdc00 + lead);
      at++;
    }
  }
  return text;
}
