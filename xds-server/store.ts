import type { EncodedResource } from "../compiler/index.ts";
import { TYPE_URLS } from "../envoy/index.ts";
import { referencesOf } from "./references.ts";
import type { GroupChange, GroupSnapshot } from "./snapshot.ts";
import {
  type Changes,
  changedView,
  emptyGroup,
  type GroupView,
  nextType,
  nextView,
  type Resources,
  unknownGroup,
} from "./view.ts";

/** Called with each new view of a group, in order, none left out. */
export type ViewListener = (view: GroupView, changes: Changes) => void;

/** What every node group shall have now. The caller of `setSnapshot` keeps its snapshot unchanged from then on. */
export interface SnapshotStore {
  setSnapshot(snapshot: GroupSnapshot, now: number): void;
  /**
   * Changes some resources of a group, other than secrets, and leaves the rest, its revision included. The next
   * snapshot replaces all.
   *
   * @returns false where no snapshot has named the group: there is nothing to change
   */
  change(change: GroupChange, now: number): boolean;
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
  const groups = new Map<string, { view: GroupView; ownSecrets: Resources }>();
  const listeners = new Map<string, Set<ViewListener>>();
  let secrets: ReadonlyMap<string, EncodedResource> = new Map();

  function publish(view: GroupView, changes: Changes): void {
    for (const listener of listeners.get(view.group) ?? []) listener(view, changes);
  }

  /** The view with the secrets that it refers to now. Adds to `changes` those that came, went or changed. */
  function withSecrets(view: GroupView, own: Resources, changes: Map<string, readonly string[]>): GroupView {
    const before = view.types.get(TYPE_URLS.secret);
    const wanted = withReferred(own, resourcesOf(view), secrets);
    const next = nextType(TYPE_URLS.secret, before, wanted, before?.label);
    if (next.changed.length === 0) return view;
    changes.set(TYPE_URLS.secret, next.changed);
    return { ...view, types: new Map(view.types).set(TYPE_URLS.secret, next.view) };
  }

  const viewOf = (group: string) => groups.get(group)?.view ?? unknownGroup(group);

  return {
    setSnapshot(snapshot, now) {
      const ownSecrets: Resources = snapshot.resources.get(TYPE_URLS.secret) ?? new Map();
      const resources = new Map(snapshot.resources);
      resources.set(TYPE_URLS.secret, withReferred(ownSecrets, snapshot.resources, secrets));
      const { view, changes } = nextView(viewOf(snapshot.group), { ...snapshot, resources }, now);
      groups.set(snapshot.group, { view, ownSecrets });
      publish(view, changes);
    },
    change(change, now) {
      const entry = groups.get(change.group);
      if (entry === undefined) return false;
      const { view, changes } = changedView(entry.view, change, now);
      if (changes.size === 0) return true;
      const referring = SECRET_USERS.some((user) => changes.has(user));
      entry.view = referring ? withSecrets(view, entry.ownSecrets, changes) : view;
      publish(entry.view, changes);
      return true;
    },
    removeGroup(group, now) {
      const before = groups.get(group)?.view;
      if (before === undefined) return;
      const { changes } = nextView(before, { ...before, resources: new Map() }, now);
      groups.delete(group);
      publish(emptyGroup(group, before.revision, now), changes);
    },
    setSecrets(next, now) {
      secrets = next;
      for (const entry of groups.values()) {
        const changes = new Map<string, readonly string[]>();
        const view = withSecrets(entry.view, entry.ownSecrets, changes);
        if (changes.size === 0) continue;
        entry.view = { ...view, publishedAt: now };
        publish(entry.view, changes);
      }
    },
    view: viewOf,
    groups: () => [...groups.keys()],
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

type ByType = ReadonlyMap<string, Resources>;

function resourcesOf(view: GroupView): ByType {
  return new Map([...view.types.values()].map(({ typeUrl, resources }) => [typeUrl, resources]));
}

/** The types whose resources may refer to secrets. */
const SECRET_USERS = [TYPE_URLS.cluster, TYPE_URLS.listener, TYPE_URLS.extensionConfig];

/**
 * Adds to the secrets of a snapshot those that its resources refer to, and no others: a node cannot ask for the private
 * key of another gateway.
 */
function withReferred(own: Resources, types: ByType, secrets: ReadonlyMap<string, EncodedResource>): Resources {
  const referred = new Map(own);
  for (const user of SECRET_USERS) {
    for (const resource of types.get(user)?.values() ?? []) {
      for (const name of referencesOf(resource).get(TYPE_URLS.secret) ?? []) {
        const secret = secrets.get(name);
        if (secret !== undefined) referred.set(name, secret);
      }
    }
  }
  return referred;
}
