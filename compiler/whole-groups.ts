import type { EncodedResource, NodeGroup } from "./revision-parts.ts";

/**
 * The groups of a revision with everything that their nodes run: what a group has of another one is the very same
 * resource, encoded and kept once.
 *
 * @param groups  of which none extends one that itself extends another
 */
export function wholeGroups(groups: readonly NodeGroup[]): NodeGroup[] {
  const byName = new Map(groups.map((group) => [group.name, group]));
  return groups.map((group) => {
    if (group.extends === undefined) return group;
    const inherited = byName.get(group.extends)?.resources ?? [];
    const own = new Set(group.resources.map(keyOf));
    return { ...group, resources: [...inherited.filter((each) => !own.has(keyOf(each))), ...group.resources] };
  });
}

function keyOf({ typeUrl, name }: EncodedResource): string {
  return `${typeUrl}\n${name}`;
}
