import type { ServedResource } from "./snapshot.ts";
import { isPlain, type Resources, type TypeView } from "./view.ts";

/** What a client is given that asks for a type for the first time and has nothing of it. */
export interface Opening {
  readonly resources: readonly ServedResource[];
  /** Asked for by name, and not there. */
  readonly absent: readonly string[];
  /** Name → version, of the resources. */
  readonly versions: ReadonlyMap<string, string>;
}

/** Asked for without names: by a wildcard. */
const ALL: readonly string[] = [];
const openings = new WeakMap<Resources, WeakMap<readonly string[], Opening>>();

/**
 * Made once for all clients that ask for the same, as the nodes of a group do: what is encoded for one is sent to each.
 *
 * @param names  undefined: all there is
 * @returns undefined where what a client is given depends on more than that
 */
export function openingOf(view: TypeView, names: readonly string[] | undefined): Opening | undefined {
  if (!isPlain(view)) return undefined;
  const { resources } = view;
  let byNames = openings.get(resources);
  if (byNames === undefined) {
    byNames = new WeakMap();
    openings.set(resources, byNames);
  }
  const key = names ?? ALL;
  const known = byNames.get(key);
  if (known !== undefined) return known;
  const opening = names === undefined ? give([...resources.values()], []) : pick(resources, names);
  byNames.set(key, opening);
  return opening;
}

function pick(resources: Resources, names: readonly string[]): Opening {
  const there: ServedResource[] = [];
  const absent: string[] = [];
  for (const name of new Set(names)) {
    const resource = resources.get(name);
    if (resource === undefined) absent.push(name);
    else there.push(resource);
  }
  return give(there, absent);
}

function give(resources: readonly ServedResource[], absent: readonly string[]): Opening {
  return { resources, absent, versions: new Map(resources.map(({ name, version }) => [name, version])) };
}
