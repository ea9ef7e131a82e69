/** The client holds something, but not surely what was sent: its batch was rejected, or it asked for it again. */
export const UNKNOWN = Symbol("unknown");
/** The client was told that the resource does not exist. */
export const ABSENT = Symbol("absent");
/** What a client holds under a name: the version that was sent (or that it claims). */
export type Held = string | typeof UNKNOWN | typeof ABSENT;

const NOTHING: ReadonlyMap<string, string> = new Map();

/**
 * Name → what a client holds under it. What it was given when it first asked is shared with all who were given the same;
 * of its own it has what came, changed or went since.
 */
export class HeldVersions {
  #base = NOTHING;
  /** undefined: the name of the base is not held any more. */
  readonly #own = new Map<string, Held | undefined>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** How many are surely held. */
  get sure(): number {
    let sure = this.#size;
    for (const held of this.#own.values()) if (typeof held === "symbol") sure -= 1;
    return sure;
  }

  /** Everything at once, in the place of all there was. The map must not change from then on. */
  replace(versions: ReadonlyMap<string, string>): void {
    this.#base = versions;
    this.#own.clear();
    this.#size = versions.size;
  }

  get(name: string): Held | undefined {
    const own = this.#own.get(name);
    if (own !== undefined) return own;
    return this.#own.has(name) ? undefined : this.#base.get(name);
  }

  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  set(name: string, held: Held): void {
    const known = this.get(name);
    if (known === held) return;
    if (known === undefined) this.#size += 1;
    this.#own.set(name, held);
  }

  delete(name: string): void {
    if (!this.has(name)) return;
    this.#size -= 1;
    if (this.#base.has(name)) this.#own.set(name, undefined);
    else this.#own.delete(name);
  }

  *keys(): Generator<string> {
    for (const [name] of this) yield name;
  }

  *[Symbol.iterator](): Generator<[string, Held]> {
    for (const name of this.#base.keys()) {
      const held = this.get(name);
      if (held !== undefined) yield [name, held];
    }
    for (const [name, held] of this.#own) if (held !== undefined && !this.#base.has(name)) yield [name, held];
  }
}
