import type { TableKey } from "./keyed-table.ts";

/** Words by which a key of parts of a request is hashed: the last ones of each part, where signatures and numbers are. */
const HASHED_BYTES = 32;
/** Of each part: its kind, where it starts and where it ends. */
const PLACES = 3;

/**
 * Parts of a request as words of four bytes, which are compared four times as fast as bytes. A part is its length, what
 * is told apart beside its bytes (its kind, 0…3), and the bytes, the last word filled up with zeros; so parts in a row
 * can be read in one way only.
 */
export class KeyWords implements TableKey {
  readonly words: Int32Array;
  /** Words that are taken. */
  length = 0;
  /** Whether something had no place: then it is no key. */
  full = false;

  /** @param capacity  in words */
  constructor(capacity: number) {
    this.words = new Int32Array(capacity);
  }

  clear(): void {
    this.length = 0;
    this.full = false;
  }

  add(word: number): void {
    if (this.length < this.words.length) {
      this.words[this.length] = word;
      this.length += 1;
    } else this.full = true;
  }

  /**
   * @param kind  in 0…3
   * @param bytes  in which the part stands
   */
  addPart(kind: number, bytes: DataView, from: number, to: number): void {
    const end = this.length + wordsOf(to - from);
    if (end > this.words.length) {
      this.full = true;
      return;
    }
    writePart(this.words, this.length, kind, bytes, from, to);
    this.length = end;
  }

  /** Of all words. */
  hash(seed: number): number {
    const { words, length } = this;
    let hash = seed | 0;
    for (let at = 0; at < length; at += 1) hash = mixed(hash, words[at] ?? 0);
    return hash;
  }

  isAt(others: Int32Array, from: number, length: number): boolean {
    if (length !== this.length) return false;
    const { words } = this;
    for (let at = 0; at < length; at += 1) if (others[from + at] !== words[at]) return false;
    return true;
  }

  writeTo(others: Int32Array, from: number): void {
    others.set(this.words.subarray(0, this.length), from);
  }
}

/** As `KeyWords`, of parts that stay where they are in the request: for keys that are long. */
export class KeyParts implements TableKey {
  readonly #places: Int32Array;
  #taken = 0;
  #view: DataView = new DataView(new ArrayBuffer(0));

  /** @param capacity  in parts; the caller adds no more */
  constructor(capacity: number) {
    this.#places = new Int32Array(capacity * PLACES);
  }

  /** @param view  in which the parts stand that are added from now on */
  clear(view: DataView): void {
    this.#view = view;
    this.#taken = 0;
  }

  /** @param kind  in 0…3 */
  add(kind: number, from: number, to: number): void {
    const places = this.#places;
    const taken = this.#taken;
    places[taken] = kind;
    places[taken + 1] = from;
    places[taken + 2] = to;
    this.#taken = taken + PLACES;
  }

  get length(): number {
    const places = this.#places;
    let length = 0;
    for (let part = 0; part < this.#taken; part += PLACES) {
      length += wordsOf((places[part + 2] ?? 0) - (places[part + 1] ?? 0));
    }
    return length;
  }

  /** Of the last words of each part. */
  hash(seed: number): number {
    const places = this.#places;
    const view = this.#view;
    let hash = seed | 0;
    for (let part = 0; part < this.#taken; part += PLACES) {
      const from = places[part + 1] ?? 0;
      const to = places[part + 2] ?? 0;
      hash = mixed(hash, headOf(places[part] ?? 0, to - from));
      let at = to - HASHED_BYTES > from ? to - HASHED_BYTES : from;
      for (; at + 4 <= to; at += 4) hash = mixed(hash, view.getInt32(at, true));
      if (at < to) hash = mixed(hash, lastWord(view, at, to));
    }
    return hash;
  }

  isAt(words: Int32Array, from: number, length: number): boolean {
    const places = this.#places;
    const view = this.#view;
    let at = from;
    for (let part = 0; part < this.#taken; part += PLACES) {
      at = matchPart(words, at, places[part] ?? 0, view, places[part + 1] ?? 0, places[part + 2] ?? 0);
      if (at === -1) return false;
    }
    return at === from + length;
  }

  writeTo(words: Int32Array, from: number): void {
    const places = this.#places;
    let at = from;
    for (let part = 0; part < this.#taken; part += PLACES) {
      at = writePart(words, at, places[part] ?? 0, this.#view, places[part + 1] ?? 0, places[part + 2] ?? 0);
    }
  }
}

/** Words of a part with so many bytes. */
function wordsOf(bytes: number): number {
  return 1 + ((bytes + 3) >> 2);
}

/** @returns the place behind it */
function writePart(words: Int32Array, at: number, kind: number, bytes: DataView, from: number, to: number): number {
  words[at] = headOf(kind, to - from);
  let place = at + 1;
  let next = from;
  for (; next + 4 <= to; next += 4) {
    words[place] = bytes.getInt32(next, true);
    place += 1;
  }
  if (next < to) {
    words[place] = lastWord(bytes, next, to);
    place += 1;
  }
  return place;
}

/** @returns the place behind it where the part stands there; else -1 */
function matchPart(words: Int32Array, at: number, kind: number, bytes: DataView, from: number, to: number): number {
  if (words[at] !== headOf(kind, to - from)) return -1;
  let place = at + 1;
  let next = from;
  for (; next + 4 <= to; next += 4) {
    if (words[place] !== bytes.getInt32(next, true)) return -1;
    place += 1;
  }
  if (next < to) {
    if (words[place] !== lastWord(bytes, next, to)) return -1;
    place += 1;
  }
  return place;
}

function headOf(kind: number, length: number): number {
  return (length << 2) | kind;
}

function lastWord(bytes: DataView, from: number, to: number): number {
  let word = 0;
  for (let at = from; at < to; at += 1) word |= bytes.getUint8(at) << ((at - from) << 3);
  return word;
}

function mixed(hash: number, word: number): number {
  const product = Math.imul(hash ^ word, 0x9e3779b1);
  return product ^ (product >>> 15);
}
