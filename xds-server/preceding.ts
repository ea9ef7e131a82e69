import { TYPE_URLS } from "../envoy/index.ts";
import type { ServedResource } from "./snapshot.ts";
import type { Changes, GroupView, TypeView } from "./view.ts";

/** Type URL → the clusters, or the endpoints, that a group had before they changed: what routes may still need. */
export type FormerTypes = ReadonlyMap<string, TypeView>;

/** Changes that a node may be behind and still keep, until its routes are new, the clusters that these need. */
const MAX_PRECEDING = 16;

/** What a group had before its next view, added to what it had before that; the content is shared, not copied. */
export function precedingOf(
  previous: GroupView,
  changes: Changes,
  next: ReadonlyMap<string, TypeView>,
): readonly FormerTypes[] | undefined {
  const former = new Map<string, TypeView>();
  for (const typeUrl of [TYPE_URLS.cluster, TYPE_URLS.endpoint]) {
    const before = previous.types.get(typeUrl);
    const changed = changes.get(typeUrl);
    if (before === undefined || changed === undefined) continue;
    // A node says by a version which clusters it has; endpoints it asks for by name.
    const remembered =
      typeUrl === TYPE_URLS.cluster || changed.some((name) => next.get(typeUrl)?.resources.has(name) !== true);
    if (remembered) former.set(typeUrl, before);
  }
  const { preceding } = previous;
  return former.size === 0 ? preceding : [former, ...(preceding ?? [])].slice(0, MAX_PRECEDING);
}

/** A resource as the group had it last. */
export function formerResource(
  preceding: readonly FormerTypes[],
  typeUrl: string,
  name: string,
): ServedResource | undefined {
  for (const former of preceding) {
    const resource = former.get(typeUrl)?.resources.get(name);
    if (resource !== undefined) return resource;
  }
  return undefined;
}

/**
 * The names that a node may have that says which version of a whole type it has: those of that version, or, where nobody
 * knows it (it is older, or was made of two while one was taken away), all that the group had.
 */
export function formerNames(
  preceding: readonly FormerTypes[],
  typeUrl: string,
  isVersion: (view: TypeView) => boolean,
): ReadonlySet<string> {
  const views = preceding.flatMap((former) => former.get(typeUrl) ?? []);
  const known = views.find(isVersion);
  return new Set((known === undefined ? views : [known]).flatMap(({ resources }) => [...resources.keys()]));
}
