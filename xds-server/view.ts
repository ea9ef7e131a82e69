import { createHash } from "node:crypto";
import { type FormerTypes, precedingOf } from "./preceding.ts";
import type { QuarantineEntry } from "./quarantine.ts";
import { referencesOf } from "./references.ts";
import { ResourceLayers } from "./resource-layers.ts";
import { SEND_ORDER } from "./resource-types.ts";
import type { GroupChange, GroupSnapshot, ServedResource } from "./snapshot.ts";

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
  /** Why its nodes are given nothing that is governed; left out: they are. */
  readonly withheld?: string;
  /** Milliseconds since the epoch. */
  readonly publishedAt: number;
  readonly types: ReadonlyMap<string, TypeView>;
  /** What the group had before, newest first; left out: it had nothing else yet. */
  readonly preceding?: readonly FormerTypes[];
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
  const { group, revision, layout, withheld } = snapshot;
  const preceding = precedingOf(previous, changes, types);
  const said = withheld === undefined ? {} : { withheld };
  const view = { group, known: true, revision, layout, ...said, publishedAt, types };
  return { view: preceding === undefined ? view : { ...view, preceding }, changes };
}

/** All resources of a type anew: each is compared with what there is. */
export function nextType(
  typeUrl: string,
  before: TypeView | undefined,
  resources: Resources,
  label: string | undefined,
): { view: TypeView; changed: readonly string[] } {
  const old = before?.resources ?? NO_RESOURCES;
  const different = new Map<string, ServedResource | undefined>();
  if (old !== resources) {
    for (const [name, resource] of resources) {
      const known = old.get(name);
      if (known === undefined || !sameResource(known, resource)) different.set(name, resource);
    }
    for (const name of old.keys()) if (!resources.has(name)) different.set(name, undefined);
  }
  const view = before ?? { typeUrl, resources: old, label };
  return { view: withChanges(view, different, label), changed: [...different.keys()] };
}

/** Some resources of a group anew: costs what they are, not what the group has. */
export function changedView(
  previous: GroupView,
  { resources, removed = [] }: Pick<GroupChange, "resources" | "removed">,
  publishedAt: number,
): { view: GroupView; changes: Map<string, readonly string[]> } {
  const byType = new Map<string, Map<string, ServedResource | undefined>>();
  const put = (typeUrl: string, name: string, resource: ServedResource | undefined) => {
    const known = previous.types.get(typeUrl)?.resources.get(name);
    const ofType = byType.get(typeUrl) ?? new Map<string, ServedResource | undefined>();
    byType.set(typeUrl, ofType);
    const same = resource === undefined ? known === undefined : known !== undefined && sameResource(known, resource);
    if (same) ofType.delete(name);
    else ofType.set(name, resource);
  };
  for (const { typeUrl, name } of removed) put(typeUrl, name, undefined);
  for (const resource of resources) put(resource.typeUrl, resource.name, resource);
  const types = new Map(previous.types);
  const changes = new Map<string, readonly string[]>();
  for (const [typeUrl, different] of byType) {
    if (different.size === 0) continue;
    const before = types.get(typeUrl) ?? { typeUrl, resources: NO_RESOURCES, label: undefined };
    types.set(typeUrl, withChanges(before, different, before.label));
    changes.set(typeUrl, [...different.keys()]);
  }
  return { view: { ...previous, publishedAt, types }, changes };
}

const NO_RESOURCES: Resources = new Map();

function withChanges(
  before: TypeView,
  different: ReadonlyMap<string, ServedResource | undefined>,
  label: string | undefined,
): TypeView {
  const { typeUrl } = before;
  if (different.size === 0) return before.label === label ? before : { typeUrl, resources: before.resources, label };
  const resources = ResourceLayers.over(before.resources, different);
  digests.set(resources, changedDigest(digestOf(before.resources), before.resources, different));
  return { typeUrl, resources, label };
}

function sameResource(a: ServedResource, b: ServedResource): boolean {
  return a.version === b.version && sameTerms(a, b);
}

/** Whether all is the same that can be said of a resource besides its content. */
export function sameTerms(a: ServedResource, b: ServedResource): boolean {
  return a.ttlMs === b.ttlMs && (a.aliases ?? []).join("\n") === (b.aliases ?? []).join("\n");
}

/**
 * A set of resources in short: the sum of a hash of each, so that it does not depend on their order and a change costs
 * what changed; and how many of them have what most have not.
 */
interface Digest {
  readonly sum: bigint;
  readonly aliased: number;
  readonly expiring: number;
}

const NO_DIGEST: Digest = { sum: 0n, aliased: 0, expiring: 0 };
const digests = new WeakMap<Resources, Digest>();
const hashes = new WeakMap<ServedResource, bigint>();
const versions = new WeakMap<Resources, string>();

function digestOf(resources: Resources): Digest {
  const known = digests.get(resources);
  if (known !== undefined) return known;
  let digest = NO_DIGEST;
  for (const resource of resources.values()) digest = counted(digest, resource, 1);
  digests.set(resources, digest);
  return digest;
}

function changedDigest(
  before: Digest,
  resources: Resources,
  different: ReadonlyMap<string, ServedResource | undefined>,
): Digest {
  let digest = before;
  for (const [name, resource] of different) {
    const old = resources.get(name);
    if (old !== undefined) digest = counted(digest, old, -1);
    if (resource !== undefined) digest = counted(digest, resource, 1);
  }
  return digest;
}

function counted({ sum, aliased, expiring }: Digest, resource: ServedResource, by: 1 | -1): Digest {
  return {
    sum: BigInt.asUintN(256, by === 1 ? sum + hashOf(resource) : sum - hashOf(resource)),
    aliased: resource.aliases === undefined ? aliased : aliased + by,
    expiring: resource.ttlMs === undefined ? expiring : expiring + by,
  };
}

/** SHA-256 over name, version and terms. */
function hashOf(resource: ServedResource): bigint {
  const known = hashes.get(resource);
  if (known !== undefined) return known;
  const { name, version, ttlMs, aliases } = resource;
  const terms = ttlMs === undefined && aliases === undefined ? [] : [ttlMs ?? 0, aliases ?? []];
  const text = JSON.stringify([name, version, ...terms]);
  const value = BigInt(`0x${createHash("sha256").update(text).digest("hex")}`);
  hashes.set(resource, value);
  return value;
}

/** Whether nothing is said of the resources but their content: no other names, no expiry. */
export function isPlain(view: TypeView): boolean {
  const { aliased, expiring } = digestOf(view.resources);
  return aliased === 0 && expiring === 0;
}

/** The version of a type as a whole: the same for the same content on every replica and after every restart. */
export function typeVersion(view: TypeView): string {
  const known = versions.get(view.resources);
  if (known !== undefined) return known;
  const version = shortVersion(digestOf(view.resources));
  versions.set(view.resources, version);
  return version;
}

/** The version that a type would have as a whole if these were all its resources. */
export function versionOf(resources: Iterable<ServedResource>): string {
  let digest = NO_DIGEST;
  for (const resource of resources) digest = counted(digest, resource, 1);
  return shortVersion(digest);
}

/** SHA-256 over the sum, first 16 hex digits. */
function shortVersion({ sum }: Digest): string {
  return createHash("sha256").update(sum.toString(16)).digest("hex").slice(0, 16);
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

const NO_ALIASES: ReadonlyMap<string, string> = new Map();
const byAlias = new WeakMap<Resources, ReadonlyMap<string, string>>();

/** alias → name, of the resources of a type that have any. */
export function aliasesOf(view: TypeView | undefined): ReadonlyMap<string, string> {
  if (view === undefined || digestOf(view.resources).aliased === 0) return NO_ALIASES;
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
  if (view === undefined || digestOf(view.resources).expiring === 0) return [];
  const known = expiring.get(view.resources);
  if (known !== undefined) return known;
  const found = [...view.resources.values()].filter(({ ttlMs }) => ttlMs !== undefined);
  expiring.set(view.resources, found);
  return found;
}

/** In the order in which types go out; those of no known order come last. */
export function inSendOrder<T extends { readonly typeUrl: string }>(types: readonly T[]): T[] {
  const rank = ({ typeUrl }: T) => {
    const index = SEND_ORDER.indexOf(typeUrl);
    return index === -1 ? SEND_ORDER.length : index;
  };
  return types.toSorted((a, b) => rank(a) - rank(b));
}
