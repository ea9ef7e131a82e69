import { isUtf8 } from "node:buffer";
import { BYTES, TextInterner, WireReader } from "./wire.ts";

/**
 * Headers as Envoy has them (`encode_raw_headers`): raw bytes, repeated ones apart. Headers that Envoy keeps inline
 * (authorization, content-type, …) are joined by a comma when they are repeated; who reads those looks out for it.
 */
export interface RequestHeaders {
  /** Every value of a header, in order, by its lower-case name; undefined: it is not there. Not for pseudo headers. */
  get(name: string): readonly string[] | undefined;
  /** ":path", ":method", … with one char per byte; undefined when it is missing or stands more than once. */
  pseudo(name: string): string | undefined;
  /** As `pseudo`, for what comes again and again. */
  knownPseudo(name: string): string | undefined;
  /** How many there are, repeated ones and pseudo headers counted. */
  readonly count: number;
  /** Lower-case name → every value, in order. Without pseudo headers. */
  readonly fields: ReadonlyMap<string, readonly string[]>;
}

const NAMES = new TextInterner((bytes) => bytes.toString("utf8").toLowerCase());

const VALUES = new TextInterner((bytes) => bytes.toString("latin1"));

const NO_BYTES: Buffer = Buffer.alloc(0);

/** The headers of one request at a time. */
export class WireHeaders implements RequestHeaders {
  readonly #map = new WireReader(NO_BYTES, 0, 0);
  readonly #header = new WireReader(NO_BYTES, 0, 0);
  readonly #names: string[] = [];
  /** For each header start and end of its value, and 1 where it is the raw one. */
  readonly #places: number[] = [];
  #bytes = NO_BYTES;
  #count = 0;
  #fields: ReadonlyMap<string, readonly string[]> | undefined;

  /**
   * @param bytes  in which an `envoy.config.core.v3.HeaderMap` stands from `from` to `to`
   * @returns false for what `WireReader` does not read
   */
  read(bytes: Buffer, from: number, to: number): boolean {
    this.#bytes = bytes;
    this.#count = 0;
    this.#fields = undefined;
    const map = this.#map;
    map.reset(bytes, from, to);
    while (map.next()) {
      if (map.number !== 1) continue;
      if (!map.is(BYTES) || !this.#readHeader(bytes, map.from, map.to)) return false;
    }
    return map.ok;
  }

  #readHeader(bytes: Buffer, from: number, to: number): boolean {
    const header = this.#header;
    header.reset(bytes, from, to);
    let name = "";
    let at = 0;
    let end = 0;
    let raw = false;
    while (header.next()) {
      if (header.number > 3) continue;
      if (!header.is(BYTES)) return false;
      if (header.number === 1) name = NAMES.text(bytes, header.from, header.to);
      else if (header.number === 2) {
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
    const index = this.#count;
    this.#names[index] = name;
    this.#places[index * 3] = at;
    this.#places[index * 3 + 1] = end;
    this.#places[index * 3 + 2] = raw ? 1 : 0;
    this.#count = index + 1;
    return true;
  }

  get count(): number {
    return this.#count;
  }

  get(name: string): readonly string[] | undefined {
    if (name.startsWith(":")) return undefined;
    let values: string[] | undefined;
    for (let index = 0; index < this.#count; index += 1) {
      if (this.#names[index] !== name) continue;
      if (values === undefined) values = [this.#text(index)];
      else values.push(this.#text(index));
    }
    return values;
  }

  pseudo(name: string): string | undefined {
    const index = this.onlyIndex(name);
    return index < 0 ? undefined : this.#bytes.toString("latin1", this.#places[index * 3], this.#places[index * 3 + 1]);
  }

  knownPseudo(name: string): string | undefined {
    const index = this.onlyIndex(name);
    if (index < 0) return undefined;
    return VALUES.text(this.#bytes, this.#places[index * 3] ?? 0, this.#places[index * 3 + 1] ?? 0);
  }

  /** The place of a header among all; -1: it is not there, -2: more than once. */
  onlyIndex(name: string): number {
    let found = -1;
    for (let index = 0; index < this.#count; index += 1) {
      if (this.#names[index] !== name) continue;
      if (found !== -1) return -2;
      found = index;
    }
    return found;
  }

  /** Where the value of a header starts, and where it ends. */
  startOf(index: number): number {
    return this.#places[index * 3] ?? 0;
  }
  endOf(index: number): number {
    return this.#places[index * 3 + 1] ?? 0;
  }

  get fields(): ReadonlyMap<string, readonly string[]> {
    if (this.#fields !== undefined) return this.#fields;
    const fields = new Map<string, string[]>();
    for (let index = 0; index < this.#count; index += 1) {
      const name = this.#names[index] ?? "";
      if (name.startsWith(":")) continue;
      const values = fields.get(name);
      if (values === undefined) fields.set(name, [this.#text(index)]);
      else values.push(this.#text(index));
    }
    this.#fields = fields;
    return fields;
  }

  #text(index: number): string {
    const bytes = this.#bytes.subarray(this.#places[index * 3], this.#places[index * 3 + 1]);
    return this.#places[index * 3 + 2] === 1 ? decodeHeaderValue(bytes) : bytes.toString("utf8");
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
