import { putEntry } from "./functions.ts";
import { located, type Run } from "./run.ts";
import { Failure, noOverload, Optional, UintKeyMap } from "./value.ts";
import { makeWrapper } from "./wrappers.ts";

/** Lists, maps and wrapper messages that an expression writes out. */

/** @param optional  indices of `[?x]` */
export function makeList(elements: readonly Run[], optional: ReadonlySet<number>): Run {
  return (activation, frame) => {
    const list: unknown[] = [];
    for (let index = 0; index < elements.length; index += 1) {
      const value = elements[index]?.(activation, frame);
      if (value instanceof Failure) return value;
      if (!optional.has(index)) list.push(value);
      else if (!(value instanceof Optional)) return noOverload("[?_]", value);
      else if (value.value !== undefined) list.push(value.value);
    }
    return list;
  };
}

interface Entry {
  readonly key: Run;
  readonly value: Run;
  /** `{?key: value}` */
  readonly optional: boolean;
  readonly offset: number;
}

export function makeMap(entries: readonly Entry[]): Run {
  return (activation, frame) => {
    const map = new UintKeyMap();
    for (const { key, value, optional, offset } of entries) {
      const at = key(activation, frame);
      if (at instanceof Failure) return at.at(offset);
      let held = value(activation, frame);
      if (optional && !(held instanceof Failure)) {
        if (!(held instanceof Optional)) return located(noOverload("{?_}", held), offset);
        if (held.value === undefined) continue;
        held = held.value;
      }
      const failure = putEntry(map, at, held);
      if (failure !== undefined) return failure.at(offset);
    }
    return map;
  };
}

export function makeStruct(
  name: string,
  fields: readonly { readonly field: string; readonly run: Run }[],
  offset: number,
): Run {
  return (activation, frame) => {
    const values = new Map<string, unknown>();
    for (const { field, run } of fields) values.set(field, run(activation, frame));
    return located(makeWrapper(name, values), offset);
  };
}
