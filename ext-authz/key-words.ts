/**
 * Parts of a request as words of four bytes, which are compared four times as fast as bytes. A part is its length, what
 * is told apart beside its bytes, and the bytes, the last word filled up with zeros; so parts in a row can be read in
 * one way only.
 */
export class KeyWords {
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
}

/** Words of a part with so many bytes. */
export function wordsOf(bytes: number): number {
  return 1 + ((bytes + 3) >> 2);
}

/** @returns the place behind it */
export function writePart(
  words: Int32Array,
  at: number,
  kind: number,
  bytes: DataView,
  from: number,
  to: number,
): number {
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
export function matchPart(
  words: Int32Array,
  at: number,
  kind: number,
  bytes: DataView,
  from: number,
  to: number,
): number {
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
