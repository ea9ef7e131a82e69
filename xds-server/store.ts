import type { EncodedResource } from "../compiler/index.ts";
import { TYPE_URLS } from "../envoy/index.ts";
import { referencesOf } from "./references.ts";
import type { GroupSnapshot } from "./snapshot.ts";
import { type Changes, emptyGroup, type GroupView, nextView, unknownGroup } from "./view.ts";

/** Called with each new view of a group, in order, none left out. */
export type ViewListener = (view: GroupView, changes: Changes) => void;

/** What every node group shall have now. The caller of `setSnapshot` keeps its snapshot unchanged from then on. */
export interface SnapshotStore {
  setSnapshot(snapshot: GroupSnapshot, now: number): void;
  /** The group shall have nothing any more: its nodes are told to drop what they have. */
  removeGroup(group: string, now: number): void;
  /** All secrets there are; each group gets those that its resources refer to. */
  setSecrets(secrets: ReadonlyMap<string, EncodedResource>, now: number): void;
  view(group: string): GroupView;
  groups(): readonly string[];
  /** Returns the function that ends the subscription. */
  subscribe(group: string, listener: ViewListener): () => void;
}

export function createSnapshotStore(): SnapshotStore {
  const snapshots = new Map<string, GroupSnapshot>();
  const views = new Map<string, GroupView>();
  const listeners = new Map<string, Set<ViewListener>>();
  let secrets: ReadonlyMap<string, EncodedResource> = new Map();

  function publish(next: { view: GroupView; changes: Changes }): void {
    views.set(next.view.group, next.view);
    for (const listener of listeners.get(next.view.group) ?? []) listener(next.view, next.changes);
  }

  const viewOf = (group: string) => views.get(group) ?? unknownGroup(group);

  return {
    setSnapshot(snapshot, now) {
      snapshots.set(snapshot.group, snapshot);
      publish(nextView(viewOf(snapshot.group), withSecrets(snapshot, secrets), now));
    },
    removeGroup(group, now) {
      const before = views.get(group);
      if (before === undefined) return;
      const { changes } = nextView(before, { ...before, resources: new Map() }, now);
      publish({ view: emptyGroup(group, before.revision, now), changes });
      snapshots.delete(group);
      views.delete(group);
    },
    setSecrets(next, now) {
      secrets = next;
      for (const [group, snapshot] of snapshots) {
        const result = nextView(viewOf(group), withSecrets(snapshot, secrets), now);
        if (result.changes.size > 0) publish(result);
      }
    },
    view: viewOf,
    groups: () => [...snapshots.keys()],
    subscribe(group, listener) {
      const set = listeners.get(group) ?? new Set();
      listeners.set(group, set);
      set.add(listener);
      return () => {
        set.delete(listener);
        if (set.size === 0 && listeners.get(group) === set) listeners.delete(group);
      };
    },
  };
}

/**
 * Adds to a snapshot the secrets that its resources refer to, and no others: a node cannot ask for the private key of
 * another gateway.
 */
function withSecrets(snapshot: GroupSnapshot, secrets: ReadonlyMap<string, EncodedResource>): GroupSnapshot {
  const referenced = new Map(snapshot.resources.get(TYPE_URLS.secret));
  for (const parent of [TYPE_URLS.cluster, TYPE_URLS.listener, TYPE_URLS.extensionConfig]) {
    for (const resource of snapshot.resources.get(parent)?.values() ?? []) {
      for (const name of referencesOf(resource).get(TYPE_URLS.secret) ?? []) {
        const secret = secrets.get(name);
        if (secret !== undefined) referenced.set(name, secret);
      }
    }
  }
  return { ...snapshot, resources: new Map(snapshot.resources).set(TYPE_URLS.secret, referenced) };
}
