import { equals, order } from "./compare.ts";
import { charge, type Frame, sizeOf } from "./frame.ts";
import { CelError, Failure, NONE, noOverload, Optional, OUT_OF_WORK } from "./value.ts";

/** Functions of lists (cel-go ext/lists, version 3). */

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

export function slice(list: unknown, start: unknown, end: unknown, frame: Frame): unknown {
  if (!isList(list) || typeof start !== "bigint" || typeof end !== "bigint")
    return noOverload("slice", list, start, end);
  if (start < 0n || end < start || end > BigInt(list.length)) {
    return new CelError(`cannot slice(${start}, ${end}) a list of ${list.length} elements`);
  }
  return charge(frame, sizeOf(list)) ? list.slice(Number(start), Number(end)) : OUT_OF_WORK;
}

const FLAT_DEPTH = 64n;

export function flatten(list: unknown, depth: unknown, frame: Frame): unknown {
  const levels = depth === undefined ? 1n : depth;
  if (!isList(list) || typeof levels !== "bigint") return noOverload("flatten", list, levels);
  if (levels < 0n) return new CelError("flatten() needs a level that is not negative");
  const flat: unknown[] = [];
  return flattenInto(flat, list, Number(levels > FLAT_DEPTH ? FLAT_DEPTH : levels), frame) ? flat : OUT_OF_WORK;
}

function flattenInto(flat: unknown[], list: readonly unknown[], levels: number, frame: Frame): boolean {
  for (const element of list) {
    if (!charge(frame, 1)) return false;
    if (levels > 0 && isList(element)) {
      if (!flattenInto(flat, element, levels - 1, frame)) return false;
    } else {
      flat.push(element);
    }
  }
  return true;
}

/** The first of each that are equal. */
export function distinct(list: unknown, frame: Frame): unknown {
  if (!isList(list)) return noOverload("distinct", list);
  const seen = new Set<unknown>();
  const others: unknown[] = [];
  const kept: unknown[] = [];
  for (const element of list) {
    if (!charge(frame, 1)) return OUT_OF_WORK;
    if (element instanceof Failure) return element;
    if (typeof element === "string" || typeof element === "boolean" || element === null) {
      if (seen.has(element)) continue;
      seen.add(element);
    } else {
      let known = false;
      for (const other of others) {
        if (!charge(frame, 1)) return OUT_OF_WORK;
        const same = equals(element, other, frame);
        if (typeof same !== "boolean") return same;
        if (same) {
          known = true;
          break;
        }
      }
      if (known) continue;
      others.push(element);
    }
    kept.push(element);
  }
  return kept;
}

export function reverseList(list: readonly unknown[], frame: Frame): unknown {
  return charge(frame, sizeOf(list)) ? list.toReversed() : OUT_OF_WORK;
}

export function range(end: unknown, frame: Frame): unknown {
  if (typeof end !== "bigint") return noOverload("lists.range", end);
  const length = Number(end);
  if (length <= 0) return [];
  return charge(frame, length) ? Array.from({ length }, (_, index) => BigInt(index)) : OUT_OF_WORK;
}

export function first(list: unknown): unknown {
  if (!isList(list)) return noOverload("first", list);
  return list.length === 0 ? NONE : optionalOf(list[0]);
}
export function last(list: unknown): unknown {
  if (!isList(list)) return noOverload("last", list);
  return list.length === 0 ? NONE : optionalOf(list.at(-1));
}

function optionalOf(value: unknown): unknown {
  return value instanceof Failure ? value : new Optional(value);
}

export function sort(list: unknown, frame: Frame): unknown {
  return isList(list) ? sortByKeys(list, list, "sort", frame) : noOverload("sort", list);
}

/** The list in the order of its `keys`, of which there is one for each element. Equal keys keep their order. */
export function sortByAssociatedKeys(list: unknown, keys: unknown, frame: Frame): unknown {
  if (!isList(list) || !isList(keys) || list.length !== keys.length) return noOverload("sortBy", list, keys);
  return sortByKeys(list, keys, "sortBy", frame);
}

function sortByKeys(list: readonly unknown[], keys: readonly unknown[], name: string, frame: Frame): unknown {
  const comparisons = list.length * (1 + Math.ceil(Math.log2(list.length + 1)));
  if (!charge(frame, comparisons >> 1)) return OUT_OF_WORK;
  const [one] = keys;
  for (const key of keys) {
    if (key instanceof Failure) return key;
    // One type throughout: a mixed list has no order that is the same from both ends.
    if (typeof key !== typeof one || order(key, one, frame) === undefined) return noOverload(name, key, one);
    if (frame.work < 0) return OUT_OF_WORK;
  }
  const entries = list.map((element, index) => ({ element, key: keys[index] }));
  // A sort cannot be broken off: where no work is left, what remains of it is cheap.
  entries.sort((a, b) => (frame.work < 0 ? 0 : (order(a.key, b.key, frame) ?? 0)));
  return frame.work < 0 ? OUT_OF_WORK : entries.map(({ element }) => element);
}
