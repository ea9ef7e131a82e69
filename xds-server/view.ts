import { createHash } from "node:crypto";
import type { EncodedResource } from "../compiler/index.ts";
import { referencesOf } from "./references.ts";
import { SEND_ORDER } from "./resource-types.ts";
import type { GroupSnapshot } from "./snapshot.ts";

export type Resources = ReadonlyMap<string, EncodedResource>;

/** The resources of one type. Immutable, and the same object for as long as no resource in it changes. */
export interface TypeView {
  readonly typeUrl: string;
  readonly resources: Resources;
}

/** What the nodes of a group shall have: the snapshot with its secrets, shared by all streams of the group. */
export interface GroupView {
  readonly group: string;
  /** false: no snapshot has named the group yet, so nothing is known of what its nodes shall have. */
  readonly known: boolean;
  readonly revision: number;
  readonly layout: string;
  /** Milliseconds since the epoch. */
  readonly publishedAt: number;
  readonly types: ReadonlyMap<string, TypeView>;
}

/** Type URL → names that came, went or changed between two views. Types without a change are left out. */
export type Changes = ReadonlyMap<string, readonly string[]>;

/** The view of a group that no snapshot has named. */
export function unknownGroup(group: string): GroupView {
  return { group, known: false, revision: 0, layout: "", publishedAt: 0, types: new Map() };
}

/** The view of a group that shall have nothing. */
export function emptyGroup(group: string, revision: number, publishedAt: number): GroupView {
  return { group, known: true, revision, layout: "", publishedAt, types: new Map() };
}

/**
 * The next view of a group and what differs from the last. Content decides, not identity: a resource whose version is
 * the same stays the object that it was, so what was parsed and encoded for it stays valid.
 */
export function nextView(
  previous: GroupView,
  snapshot: GroupSnapshot,
  publishedAt: number,
): { view: GroupView; changes: Changes } {
  const types = new Map<string, TypeView>();
  const changes = new Map<string, readonly string[]>();
  for (const [typeUrl, resources] of snapshot.resources) {
    const before = previous.types.get(typeUrl);
    const { view, changed } = nextType(typeUrl, before, resources);
    types.set(typeUrl, view);
    if (changed.length > 0) changes.set(typeUrl, changed);
  }
  for (const [typeUrl, before] of previous.types) {
    if (types.has(typeUrl) || before.resources.size === 0) continue;
    changes.set(typeUrl, [...before.resources.keys()]);
  }
  const { group, revision, layout } = snapshot;
  return { view: { group, known: true, revision, layout, publishedAt, types }, changes };
}

function nextType(
  typeUrl: string,
  before: TypeView | undefined,
  resources: Resources,
): { view: TypeView; changed: readonly string[] } {
  if (before?.resources === resources) return { view: before, changed: [] };
  const changed: string[] = [];
  const merged = new Map<string, EncodedResource>();
  for (const [name, resource] of resources) {
    const old = before?.resources.get(name);
    if (old !== undefined && old.version === resource.version) {
      merged.set(name, old);
    } else {
      merged.set(name, resource);
      changed.push(name);
    }
  }
  if (before !== undefined) {
    for (const name of before.resources.keys()) if (!resources.has(name)) changed.push(name);
    if (changed.length === 0) return { view: before, changed };
  }
  return { view: { typeUrl, resources: merged }, changed };
}

const versions = new WeakMap<TypeView, string>();

/** The version of a type as a whole: the same for the same content on every replica and after every restart. */
export function typeVersion(view: TypeView): string {
  const known = versions.get(view);
  if (known !== undefined) return known;
  const version = versionOf(view.resources.values());
  versions.set(view, version);
  return version;
}

/** SHA-256 over the sorted pairs of name and version, first 16 hex digits. */
export function versionOf(resources: Iterable<EncodedResource>): string {
  const pairs: string[] = [];
  for (const { name, version } of resources) pairs.push(`${JSON.stringify(name)}${version}\n`);
  pairs.sort();
  const hash = createHash("sha256");
  for (const pair of pairs) hash.update(pair);
  return hash.digest("hex").slice(0, 16);
}

const childNames = new WeakMap<TypeView, Map<string, ReadonlySet<string>>>();

/** The names of type `child` that the resources of a view refer to. */
export function namesReferenced(view: TypeView | undefined, child: string): ReadonlySet<string> {
  if (view === undefined) return new Set();
  let byType = childNames.get(view);
  if (byType === undefined) {
    byType = new Map();
    childNames.set(view, byType);
  }
  let names = byType.get(child);
  if (names === undefined) {
    const all = new Set<string>();
    for (const resource of view.resources.values()) {
      for (const name of referencesOf(resource).get(child) ?? []) all.add(name);
    }
    names = all;
    byType.set(child, names);
  }
  return names;
}

/** Type URLs in the order in which they go out; those of no known order come last. */
export function inSendOrder(typeUrls: Iterable<string>): string[] {
  const rank = (typeUrl: string) => {
    const index = SEND_ORDER.indexOf(typeUrl);
    return index === -1 ? SEND_ORDER.length : index;
  };
  return [...typeUrls].sort((a, b) => rank(a) - rank(b));
}
