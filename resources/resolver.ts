import type { AnyAuthored, Authored } from "./authored.ts";
import type { Key } from "./inventory.ts";
import type { Kind } from "./kinds.ts";
import type { Problem } from "./problem.ts";
import type { ReferenceTrace } from "./references.ts";
import type { Linking } from "./resolve/linking.ts";
import { sameData } from "./same-data.ts";

/** What an object of a tree was resolved to, and all that it came from beside the object itself. */
interface Resolution<T> {
  readonly value: T | undefined;
  readonly trace: ReferenceTrace;
  readonly warnings: readonly Problem[];
}

/** Values of objects that are gone which are kept at most, beside as many as there are objects. */
const SPARE_VALUES = 1_000;

/**
 * Resolves the objects of one kind, and remembers what it did, so that after an edit it does so for the objects whose text
 * changed and for those that got another answer about what they refer to. A value that comes out as it was before stays
 * the same object: whoever comes after tells by identity what is new.
 */
export class Resolver<K extends Kind, T extends object> {
  readonly #kind: K;
  readonly #resolve: (object: Authored<K>, linking: Linking) => T | undefined;
  readonly #resolutions = new WeakMap<Authored<K>, Resolution<T>>();
  readonly #values = new Map<Key, T>();

  constructor(kind: K, resolve: (object: Authored<K>, linking: Linking) => T | undefined) {
    this.#kind = kind;
    this.#resolve = resolve;
  }

  /** The values of the objects of this kind that are right; by key, so that it does not matter how files are cut. */
  all(objects: ReadonlyMap<Kind, readonly AnyAuthored[]>, linking: Linking): T[] {
    const results: { readonly key: Key; readonly value: T }[] = [];
    for (const object of objects.get(this.#kind) ?? []) {
      const value = this.#one(object as Authored<K>, linking);
      if (value !== undefined) results.push({ key: object.key, value });
    }
    if (this.#values.size > 2 * results.length + SPARE_VALUES) {
      const used = new Set(results.map(({ key }) => key));
      for (const key of this.#values.keys()) if (!used.has(key)) this.#values.delete(key);
    }
    return results.sort((a, b) => (a.key < b.key ? -1 : 1)).map(({ value }) => value);
  }

  #one(object: Authored<K>, linking: Linking): T | undefined {
    const { references, problems } = linking;
    const known = this.#resolutions.get(object);
    if (known !== undefined && references.replay(known.trace)) {
      problems.push(...known.warnings);
      return known.value;
    }
    const [found, errors] = [problems.count, problems.errors];
    const { value, trace } = references.traced(() => this.#resolve(object, linking));
    if (problems.errors > errors) {
      // What is said of names that lead nowhere depends on the whole tree.
      this.#resolutions.delete(object);
      return undefined;
    }
    const kept = value === undefined ? undefined : this.#asBefore(object.key, value);
    this.#resolutions.set(object, { value: kept, trace, warnings: problems.since(found) });
    return kept;
  }

  #asBefore(key: Key, value: T): T {
    const before = this.#values.get(key);
    if (before !== undefined && sameData(before, value)) return before;
    this.#values.set(key, value);
    return value;
  }
}
