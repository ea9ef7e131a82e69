import { createHash } from "node:crypto";
import type { QuarantineEntry } from "./quarantine.ts";
import { referencesOf } from "./references.ts";
import { SEND_ORDER } from "./resource-types.ts";
import type { GroupSnapshot, ServedResource } from "./snapshot.ts";

export type Resources = ReadonlyMap<string, ServedResource>;

/** The resources of one type. Immutable, and the same object for as long as no resource in it changes. */
export interface TypeView {
  readonly typeUrl: string;
  readonly resources: Resources;
  /** Shown to clients in place of the hash of the content. */
  readonly label: string | undefined;
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
  /** What is not as the snapshot has it, since these nodes (or nodes like them) refused it; left out: nothing. */
  readonly heldBack?: readonly QuarantineEntry[];
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
    const { view, changed } = nextType(typeUrl, before, resources, snapshot.labels?.get(typeUrl));
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
  label: string | undefined,
): { view: TypeView; changed: readonly string[] } {
  const same = (view: TypeView) => (view.label === label ? view : { ...view, label });
  if (before?.resources === resources) return { view: same(before), changed: [] };
  const changed: string[] = [];
  const merged = new Map<string, ServedResource>();
  for (const [name, resource] of resources) {
    const old = before?.resources.get(name);
    if (old !== undefined && sameResource(old, resource)) {
      merged.set(name, old);
    } else {
      merged.set(name, resource);
      changed.push(name);
    }
  }
  if (before !== undefined) {
    for (const name of before.resources.keys()) if (!resources.has(name)) changed.push(name);
    if (changed.length === 0) return { view: same(before), changed };
  }
  return { view: { typeUrl, resources: merged, label }, changed };
}

function sameResource(a: ServedResource, b: ServedResource): boolean {
  return a.version === b.version && sameTerms(a, b);
}

/** Whether all is the same that can be said of a resource besides its content. */
export function sameTerms(a: ServedResource, b: ServedResource): boolean {
  return a.ttlMs === b.ttlMs && (a.aliases ?? []).join("\n") === (b.aliases ?? []).join("\n");
}

const versions = new WeakMap<Resources, string>();

/** The version of a type as a whole: the same for the same content on every replica and after every restart. */
export function typeVersion(view: TypeView): string {
  const known = versions.get(view.resources);
  if (known !== undefined) return known;
  const version = versionOf(view.resources.values());
  versions.set(view.resources, version);
  return version;
}

/** SHA-256 over the sorted pairs of name and version, first 16 hex digits. */
export function versionOf(resources: Iterable<ServedResource>): string {
  const pairs: string[] = [];
  for (const { name, version, ttlMs, aliases } of resources) {
    const terms = ttlMs === undefined && aliases === undefined ? "" : JSON.stringify([ttlMs ?? 0, aliases ?? []]);
    pairs.push(`${JSON.stringify(name)}${version}${terms}\n`);
  }
  pairs.sort();
  const hash = createHash("sha256");
  for (const pair of pairs) hash.update(pair);
  return hash.digest("hex").slice(0, 16);
}

const childNames = new WeakMap<Resources, Map<string, ReadonlySet<string>>>();

/** The names of type `child` that the resources of a view refer to. */
export function namesReferenced(view: TypeView | undefined, child: string): ReadonlySet<string> {
  if (view === undefined) return new Set();
  let byType = childNames.get(view.resources);
  if (byType === undefined) {
    byType = new Map();
    childNames.set(view.resources, byType);
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

const byAlias = new WeakMap<Resources, ReadonlyMap<string, string>>();

/** alias → name, of the resources of a type that have any. */
export function aliasesOf(view: TypeView | undefined): ReadonlyMap<string, string> {
  if (view === undefined) return new Map();
  const known = byAlias.get(view.resources);
  if (known !== undefined) return known;
  const found = new Map<string, string>();
  for (const { name, aliases } of view.resources.values()) for (const alias of aliases ?? []) found.set(alias, name);
  byAlias.set(view.resources, found);
  return found;
}

const expiring = new WeakMap<Resources, readonly ServedResource[]>();

/** The resources of a type that expire unless they are heard of again. */
export function expiringOf(view: TypeView | undefined): readonly ServedResource[] {
  if (view === undefined) return [];
  const known = expiring.get(view.resources);
  if (known !== undefined) return known;
  const found = [...view.resources.values()].filter(({ ttlMs }) => ttlMs !== undefined);
  expiring.set(view.resources, found);
  return found;
}

/** Type URLs in the order in which they go out; those of no known order come last. */
export function inSendOrder(typeUrls: Iterable<string>): string[] {
  const rank = (typeUrl: string) => {
    const index = SEND_ORDER.indexOf(typeUrl);
    return index === -1 ? SEND_ORDER.length : index;
  };
  return [...typeUrls].sort((a, b) => rank(a) - rank(b));
}
