/** What values are found by: words in a row. */
export interface TableKey {
  /** In words. */
  readonly length: number;
  hash(seed: number): number;
  /** Whether exactly this key stands there. */
  isAt(words: Int32Array, from: number, length: number): boolean;
  writeTo(words: Int32Array, from: number): void;
}

export interface KeyedTableOptions<T> {
  /** Of the hash; a random one, so that nobody can choose whose entry theirs replaces. */
  readonly seed: number;
  /** Of all keys of a generation, in words. */
  readonly words: number;
  /** Of a generation; a power of two. */
  readonly entries: number;
  /** What a value weighs, and what all of a generation may weigh. */
  readonly weightOf?: (value: T) => number;
  readonly weight?: number;
}

/**
 * Values by keys that are long. A key is found by all of its words, never by a hash alone. As large as it gets, whatever
 * clients send: of two generations the older one is forgotten when the younger one is full.
 */
export class KeyedTable<T> {
  readonly #options: KeyedTableOptions<T>;
  #young: Generation<T> | undefined;
  #old: Generation<T> | undefined;

  constructor(options: KeyedTableOptions<T>) {
    this.#options = options;
  }

  find(key: TableKey): T | undefined {
    const young = this.#young;
    if (young === undefined) return undefined;
    const hash = key.hash(this.#options.seed);
    const found = young.find(hash, key);
    if (found !== undefined || this.#old === undefined) return found;
    const old = this.#old.find(hash, key);
    if (old !== undefined) this.#add(hash, key, old);
    return old;
  }

  /** @param key  of which `find` found nothing; one that is longer than a generation is not kept */
  add(key: TableKey, value: T): void {
    this.#add(key.hash(this.#options.seed), key, value);
  }

  /** A value that was found has got heavier. */
  grew(by: number): void {
    if (this.#young !== undefined) this.#young.weight += by;
  }

  clear(): void {
    this.#young = undefined;
    this.#old = undefined;
  }

  #add(hash: number, key: TableKey, value: T): void {
    const { weightOf, weight = Number.POSITIVE_INFINITY } = this.#options;
    const { length } = key;
    this.#young ??= new Generation(this.#options);
    if (!this.#young.hasPlaceFor(length) || this.#young.weight > weight) {
      this.#old = this.#young;
      this.#young = new Generation(this.#options);
      if (!this.#young.hasPlaceFor(length)) return;
    }
    this.#young.add(hash, key, length, value);
    if (weightOf !== undefined) this.#young.weight += weightOf(value);
  }
}

/** What stands before the words of a key: its hash, its length, and which value it has. */
const HEAD = 3;
/** Places by hash that an entry may stand at: so many, of which three in four are free, are hardly ever all taken. */
const PROBES = 16;
/** Places by hash for each entry. */
const SPARSE = 4;

/** What a generation begins with; it grows to twice as much, and so on. */
const FIRST_WORDS = 4_096;
const FIRST_STARTS = 256;

/** Keys side by side, so that comparing one reads memory in one place. */
class Generation<T> {
  readonly #options: KeyedTableOptions<T>;
  #words: Int32Array;
  /** Where keys start, by hash; 0: nowhere. At least `SPARSE` times as many as keys. */
  #starts: Int32Array;
  readonly #values: T[] = [];
  #used = 1;
  weight = 0;

  constructor(options: KeyedTableOptions<T>) {
    this.#options = options;
    this.#words = new Int32Array(Math.min(options.words, FIRST_WORDS));
    this.#starts = new Int32Array(Math.min(options.entries * SPARSE, FIRST_STARTS));
  }

  find(hash: number, key: TableKey): T | undefined {
    const words = this.#words;
    const starts = this.#starts;
    for (let probe = 0; probe < PROBES; probe += 1) {
      const start = starts[(hash + probe) & (starts.length - 1)] ?? 0;
      if (start === 0) return undefined;
      if (words[start] === hash && key.isAt(words, start + HEAD, words[start + 1] ?? 0)) {
        return this.#values[words[start + 2] ?? 0];
      }
    }
    return undefined;
  }

  /** @param length  of a key */
  hasPlaceFor(length: number): boolean {
    const { words, entries } = this.#options;
    return this.#used + HEAD + length <= words && this.#values.length < entries;
  }

  add(hash: number, key: TableKey, length: number, value: T): void {
    this.#growFor(length);
    const words = this.#words;
    const start = this.#used;
    words[start] = hash;
    words[start + 1] = length;
    words[start + 2] = this.#values.length;
    key.writeTo(words, start + HEAD);
    this.#values.push(value);
    this.#used = start + HEAD + length;
    this.#place(hash, start);
  }

  #growFor(length: number): void {
    const { words, entries } = this.#options;
    const end = this.#used + HEAD + length;
    if (end > this.#words.length) {
      const grown = new Int32Array(Math.min(words, Math.max(this.#words.length * 2, end)));
      grown.set(this.#words);
      this.#words = grown;
    }
    if (this.#values.length * SPARSE < this.#starts.length) return;
    this.#starts = new Int32Array(Math.min(entries * SPARSE, this.#starts.length * 2));
    for (let start = 1; start < this.#used; start += HEAD + (this.#words[start + 1] ?? 0)) {
      this.#place(this.#words[start] ?? 0, start);
    }
  }

  /** At a free place, or at that of a key which is then forgotten. */
  #place(hash: number, start: number): void {
    const starts = this.#starts;
    const last = starts.length - 1;
    let place = hash & last;
    for (let probe = 1; probe < PROBES && starts[place] !== 0; probe += 1) place = (hash + probe) & last;
    starts[place] = start;
  }
}
