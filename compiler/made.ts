/** Whether two lists have the same things in the same order. */
export function sameList(one: readonly unknown[], other: readonly unknown[]): boolean {
  return one.length === other.length && one.every((item, index) => Object.is(item, other[index]));
}

/** What is made of an object that never changes, made once. Owned by one caller. */
export class MadeOf<From extends object, T extends object> {
  readonly #made = new WeakMap<From, T>();

  of<Special extends From>(from: Special, make: (from: Special) => T): T {
    const known = this.#made.get(from);
    if (known !== undefined) return known;
    const value = make(from);
    this.#made.set(from, value);
    return value;
  }
}

interface Entry<T> {
  readonly from: readonly unknown[];
  readonly value: T;
}

/**
 * Things by name, each with all that it was made from: what comes from the same is the same object as before. Owned by one
 * caller; keeps what the latest two rounds asked for.
 */
export class Made<T> {
  #current = new Map<string, Entry<T>>();
  #before = new Map<string, Entry<T>>();

  /** @param from  everything that `make` reads: texts and numbers, and objects that never change */
  of(name: string, from: readonly unknown[], make: () => T): T {
    const known = this.#current.get(name) ?? this.#before.get(name);
    const entry = known !== undefined && sameList(known.from, from) ? known : { from, value: make() };
    this.#current.set(name, entry);
    return entry.value;
  }

  endRound(): void {
    this.#before = this.#current;
    this.#current = new Map();
  }
}
