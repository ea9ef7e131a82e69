import type { Layout } from "../compiler/index.ts";

/** Layouts that are kept because they were used, on top of as many as the newest revision has. */
const USED_LAYOUTS = 16;

/**
 * Layouts that Envoys may run: those of the newest revisions, because an Envoy runs its old route table until it has the
 * new one, and for a while after a restart of ours; and those that Checks came with last, because an Envoy that rejects
 * what is new stays on what it has, however many revisions follow.
 */
export class LayoutHistory {
  readonly #revisions: number;
  /** Revision number → its layouts. */
  #kept = new Map<number, readonly Layout[]>();
  /** Hash → layout, least recently used first. */
  readonly #used = new Map<string, Layout>();
  #all: ReadonlyMap<string, Layout> = new Map();
  #last: string | undefined;

  /** @param revisions  bounds how many are kept; one revision can bring many layouts */
  constructor(revisions: number) {
    this.#revisions = revisions;
  }

  add(number: number, layouts: readonly Layout[]): void {
    const kept = new Map(this.#kept).set(number, layouts);
    const newest = [...kept.keys()].sort((a, b) => b - a).slice(0, this.#revisions);
    this.#kept = new Map(newest.map((key) => [key, kept.get(key) ?? []]));
    const limit = USED_LAYOUTS + (this.#kept.get(newest[0] ?? number)?.length ?? 0);
    for (const hash of [...this.#used.keys()].slice(0, -limit)) this.#used.delete(hash);
    const known = [...this.#used.values(), ...[...this.#kept.values()].flat()];
    this.#all = new Map(known.map((layout) => [layout.hash, layout]));
    this.#last = undefined;
  }

  /** A Check came with this layout. */
  use(hash: string): void {
    if (hash === this.#last) return;
    const layout = this.#all.get(hash);
    if (layout === undefined) return;
    this.#used.delete(hash);
    this.#used.set(hash, layout);
    this.#last = hash;
  }

  /** One of each hash. */
  layouts(): readonly Layout[] {
    return [...this.#all.values()];
  }
}
