import { keyOf } from "./quarantine.ts";
import type { ServedResource } from "./snapshot.ts";
import type { Changes, GroupView } from "./view.ts";

/** A resource as it was until a revision changed it or took it away. */
export interface FormerResource {
  readonly resource: ServedResource;
  /** The revision that replaced it. */
  readonly until: number;
}

/** What resources of a group were before they changed or went: what a node stays on that refuses the new content. */
export interface LastGood {
  get(typeUrl: string, name: string): FormerResource | undefined;
  /**
   * The revision that brought a resource of which there was nothing before.
   *
   * @returns undefined where there was something, or where nobody knows
   */
  addedAt(typeUrl: string, name: string): number | undefined;
  /** As a process before this one knew it: where nothing is known of the resource, this is. */
  recall(former: FormerResource): void;
  ofType(typeUrl: string): Iterable<FormerResource>;
  /** Takes in that a group goes on from a view. What was `refused` was never good. */
  passed(
    view: GroupView,
    changes: Changes,
    revision: number,
    refused: (typeUrl: string, name: string) => boolean,
  ): void;
}

const MAX_ADDED = 10_000;

/** @param maxBytes  of resources that are kept; what changed longest ago is let go first */
export function createLastGood(maxBytes: number): LastGood {
  const types = new Map<string, Map<string, FormerResource>>();
  const oldestFirst = new Set<FormerResource>();
  /** Key → revision; the newest last. */
  const added = new Map<string, number>();
  let bytes = 0;

  function drop(former: FormerResource): void {
    if (!oldestFirst.delete(former)) return;
    const { typeUrl, name, value } = former.resource;
    bytes -= value.length;
    types.get(typeUrl)?.delete(name);
  }

  function keep(resource: ServedResource, until: number): void {
    const { typeUrl, name, value } = resource;
    const older = types.get(typeUrl)?.get(name);
    if (older !== undefined) drop(older);
    const ofType = types.get(typeUrl) ?? new Map<string, FormerResource>();
    const former = { resource, until };
    types.set(typeUrl, ofType.set(name, former));
    oldestFirst.add(former);
    bytes += value.length;
  }

  return {
    get: (typeUrl, name) => types.get(typeUrl)?.get(name),
    addedAt: (typeUrl, name) => (types.get(typeUrl)?.has(name) === true ? undefined : added.get(keyOf(typeUrl, name))),
    recall({ resource, until }) {
      const { typeUrl, name } = resource;
      if (types.get(typeUrl)?.has(name) !== true) keep(resource, until);
    },
    ofType: (typeUrl) => types.get(typeUrl)?.values() ?? [],
    passed(view, changes, revision, refused) {
      for (const [typeUrl, names] of changes) {
        const before = view.types.get(typeUrl)?.resources;
        for (const name of names) {
          const old = before?.get(name);
          if (old !== undefined && !refused(typeUrl, name)) keep(old, revision);
          // Of the first view nobody knows what was before.
          if (old === undefined && view.known) added.set(keyOf(typeUrl, name), revision);
        }
      }
      for (const oldest of oldestFirst) {
        if (bytes <= maxBytes) break;
        drop(oldest);
      }
      for (const oldest of added.keys()) {
        if (added.size <= MAX_ADDED) break;
        added.delete(oldest);
      }
    },
  };
}
