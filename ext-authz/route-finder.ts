import { PART } from "./check-places.ts";
import type { WireCheck } from "./check-request.ts";
import { KeyParts } from "./key-words.ts";
import { KeyedTable } from "./keyed-table.ts";
import type { LayoutTable, RouteTable } from "./tables.ts";

/** Of a generation: routes, and words of all their ids, which are 256 KiB. */
const ROUTES = 4_096;
const WORDS = 65_536;

/** Routes by the bytes in which Checks name them and their layout. Belongs to one set of layouts. */
export class RouteFinder {
  readonly #layouts: ReadonlyMap<string, LayoutTable>;
  readonly #found: KeyedTable<RouteTable>;
  readonly #key = new KeyParts(2);

  /** @param seed  as of `KeyedTable` */
  constructor(layouts: ReadonlyMap<string, LayoutTable>, seed: number) {
    this.#layouts = layouts;
    this.#found = new KeyedTable({ seed, words: WORDS, entries: ROUTES });
  }

  find(check: WireCheck): RouteTable | undefined {
    const { places, view } = check;
    const key = this.#key;
    key.clear(view);
    key.add(0, places.from(PART.layout), places.to(PART.layout));
    key.add(0, places.from(PART.route), places.to(PART.route));
    return this.#found.find(key) ?? this.#look(check);
  }

  #look(check: WireCheck): RouteTable | undefined {
    const table = this.#layouts.get(check.layout)?.get(check.route);
    if (table !== undefined) this.#found.add(this.#key, table);
    return table;
  }
}
