import { TYPE_URLS } from "../envoy/index.ts";
import type { LastGood } from "./last-good.ts";
import type { QuarantineEntry } from "./quarantine.ts";
import { traitsOf } from "./resource-types.ts";
import type { ServedResource } from "./snapshot.ts";
import type { Changes, GroupView, TypeView } from "./view.ts";

/** The types that need others: while one of them stays on its last good, so does what it may need. */
const NEEDING: ReadonlySet<string> = new Set([TYPE_URLS.listener, TYPE_URLS.route]);
const NEEDED = Object.values(TYPE_URLS).filter((typeUrl) => traitsOf(typeUrl).removedLast);

/**
 * A view in which refused resources are as they were last good, or missing where they never were. What was taken away
 * since a listener or a route changed that stays on its last good is there still.
 */
export function heldBackView(view: GroupView, entries: readonly QuarantineEntry[], lastGood: LastGood): GroupView {
  if (entries.length === 0) return view;
  const copies = new Map<string, Map<string, ServedResource>>();
  const resourcesOf = (typeUrl: string) => {
    const copy = copies.get(typeUrl) ?? new Map(view.types.get(typeUrl)?.resources);
    copies.set(typeUrl, copy);
    return copy;
  };
  let neededSince = Number.POSITIVE_INFINITY;
  for (const { typeUrl, name, lastGoodRefused } of entries) {
    const former = lastGoodRefused ? undefined : lastGood.get(typeUrl, name);
    if (former === undefined) {
      resourcesOf(typeUrl).delete(name);
      continue;
    }
    resourcesOf(typeUrl).set(name, former.resource);
    if (NEEDING.has(typeUrl)) neededSince = Math.min(neededSince, former.until);
  }
  for (const typeUrl of NEEDED) {
    for (const { resource, until } of lastGood.ofType(typeUrl)) {
      const gone = until >= neededSince && !view.types.get(typeUrl)?.resources.has(resource.name);
      if (gone) resourcesOf(typeUrl).set(resource.name, resource);
    }
  }
  const types = new Map<string, TypeView>(view.types);
  for (const [typeUrl, resources] of copies) {
    types.set(typeUrl, { typeUrl, resources, label: view.types.get(typeUrl)?.label });
  }
  return { ...view, types, heldBack: entries };
}

/** What differs between two views of a group, however they came about. */
export function differences(before: GroupView, after: GroupView): Changes {
  const found = new Map<string, readonly string[]>();
  for (const typeUrl of new Set([...before.types.keys(), ...after.types.keys()])) {
    const old = before.types.get(typeUrl)?.resources;
    const next = after.types.get(typeUrl)?.resources;
    if (old === next) continue;
    const names: string[] = [];
    for (const [name, resource] of next ?? []) if (old?.get(name)?.version !== resource.version) names.push(name);
    for (const name of old?.keys() ?? []) if (next?.has(name) !== true) names.push(name);
    if (names.length > 0) found.set(typeUrl, names);
  }
  return found;
}
