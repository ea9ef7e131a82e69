import { TYPE_URLS } from "../envoy/index.ts";
import type { FormerResource, LastGood } from "./last-good.ts";
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
  const { formers, needed } = formersOf(view, entries, lastGood);
  const resourcesOf = (typeUrl: string) => {
    const copy = copies.get(typeUrl) ?? new Map(view.types.get(typeUrl)?.resources);
    copies.set(typeUrl, copy);
    return copy;
  };
  for (const { typeUrl, name } of entries) resourcesOf(typeUrl).delete(name);
  for (const { resource } of [...formers, ...needed]) resourcesOf(resource.typeUrl).set(resource.name, resource);
  const types = new Map<string, TypeView>(view.types);
  for (const [typeUrl, resources] of copies) {
    types.set(typeUrl, { typeUrl, resources, label: view.types.get(typeUrl)?.label });
  }
  return { ...view, types, heldBack: entries };
}

/**
 * What entries leave in the place of what was refused, and what is gone since that this may need. A listener that is new
 * leaves those in its place that its revision took away: a port that moved is still the old one.
 */
export function formersOf(
  view: GroupView,
  entries: Iterable<QuarantineEntry>,
  lastGood: LastGood,
): { readonly formers: readonly FormerResource[]; readonly needed: readonly FormerResource[] } {
  const formers: FormerResource[] = [];
  const isGone = ({ resource }: FormerResource) => !view.types.get(resource.typeUrl)?.resources.has(resource.name);
  const replacedBy = (typeUrl: string, revision: number) =>
    typeUrl === TYPE_URLS.listener
      ? [...lastGood.ofType(typeUrl)].filter((each) => each.until === revision && isGone(each))
      : [];
  let neededSince = Number.POSITIVE_INFINITY;
  for (const { typeUrl, name, revision, lastGoodRefused } of entries) {
    if (lastGoodRefused) continue;
    const former = lastGood.get(typeUrl, name);
    const left = former === undefined ? replacedBy(typeUrl, lastGood.addedAt(typeUrl, name) ?? revision) : [former];
    for (const each of left) {
      formers.push(each);
      if (NEEDING.has(typeUrl)) neededSince = Math.min(neededSince, each.until);
    }
  }
  const needed = NEEDED.flatMap((typeUrl) =>
    [...lastGood.ofType(typeUrl)].filter((each) => each.until >= neededSince && isGone(each)),
  );
  return { formers, needed };
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
