import { createHash } from "node:crypto";
import type { Any } from "@bufbuild/protobuf/wkt";
import type { Change } from "../../protos/gen/adapter/control_pb.ts";
import { ChanceryError } from "../../resources/index.ts";
import type { GroupSnapshot, ServedResource } from "../../xds-server/index.ts";
import { aliasesIn, bodyTypeOf } from "./bodies.ts";

type Types = ReadonlyMap<string, ReadonlyMap<string, ServedResource>>;

/** What one node shall have, and what it is shown as the version of each type. Immutable. */
export interface NodeResources {
  readonly types: Types;
  readonly labels: ReadonlyMap<string, string>;
}

export const NOTHING: NodeResources = { types: new Map(), labels: new Map() };

/** Every resource at once; those with a bare name get a body. All types get the version, those that end empty too. */
export function setAll(before: NodeResources, resources: readonly Any[], version: string): NodeResources {
  const types = emptied(before.types);
  for (const any of resources) put(types, filled(any));
  return { types, labels: labelled(before.labels, types.keys(), version) };
}

/** Puts a made-up body in the place of what there is, if anything. */
export function putMadeUp(
  before: NodeResources,
  { typeUrl, resourceName }: { readonly typeUrl: string; readonly resourceName: string },
  version: string,
  generation: number,
): NodeResources {
  const type = bodyTypeOf(typeUrl);
  if (type === undefined) throw new ChanceryError("invalid-argument", `no body can be made up for ${typeUrl}`);
  const types = copied(before.types);
  const ttlMs = before.types.get(typeUrl)?.get(resourceName)?.ttlMs;
  put(types, served(typeUrl, resourceName, type.make(resourceName, generation), ttlMs));
  return { types, labels: labelled(before.labels, [typeUrl], version) };
}

export function remove(before: NodeResources, typeUrl: string, name: string, version: string): NodeResources {
  const types = copied(before.types);
  types.get(typeUrl)?.delete(name);
  return { types, labels: labelled(before.labels, [typeUrl], version) };
}

/** Several types at once. Types that end as they were keep their version. */
export function change(before: NodeResources, { replace, upsert, remove, version }: Change): NodeResources {
  const types = replace ? emptied(before.types) : copied(before.types);
  for (const { resource, name, ttlMs } of upsert) {
    if (resource === undefined) throw new ChanceryError("invalid-argument", "an item of the change has no resource");
    const ttl = ttlMs > 0n ? Number(ttlMs) : undefined;
    put(types, served(resource.typeUrl, name === "" ? nameOf(resource) : name, resource.value, ttl));
  }
  if (!replace) for (const { typeUrl, name } of remove) types.get(typeUrl)?.delete(name);
  const changed = [...types].filter(([url, resources]) => !same(before.types.get(url), resources));
  const urls = changed.map(([url]) => url);
  return { types, labels: labelled(before.labels, urls, version) };
}

export function snapshotOf(node: string, { types, labels }: NodeResources, revision: number): GroupSnapshot {
  return { group: node, revision, layout: "", resources: types, labels };
}

type MutableTypes = Map<string, Map<string, ServedResource>>;

function copied(types: Types): MutableTypes {
  return new Map([...types].map(([url, resources]) => [url, new Map(resources)]));
}

/** The same types, without resources: their versions live on. */
function emptied(types: Types): MutableTypes {
  return new Map([...types.keys()].map((url) => [url, new Map()]));
}

function put(types: MutableTypes, resource: ServedResource): void {
  const resources = types.get(resource.typeUrl) ?? new Map();
  types.set(resource.typeUrl, resources.set(resource.name, resource));
}

function labelled(
  before: ReadonlyMap<string, string>,
  urls: Iterable<string>,
  version: string,
): ReadonlyMap<string, string> {
  const labels = new Map(before);
  for (const url of urls) {
    if (version === "") labels.delete(url);
    else labels.set(url, version);
  }
  return labels;
}

function same(
  before: ReadonlyMap<string, ServedResource> | undefined,
  after: ReadonlyMap<string, ServedResource>,
): boolean {
  if ((before?.size ?? 0) !== after.size) return false;
  for (const [name, { version, ttlMs }] of after) {
    const old = before?.get(name);
    if (old === undefined || old.version !== version || old.ttlMs !== ttlMs) return false;
  }
  return true;
}

function filled(any: Any): ServedResource {
  const name = nameOf(any);
  const type = bodyTypeOf(any.typeUrl);
  return served(any.typeUrl, name, type?.isBare(any.value) ? type.make(name, 0) : any.value, undefined);
}

function nameOf({ typeUrl, value }: Any): string {
  const name = bodyTypeOf(typeUrl)?.nameIn(value);
  if (name === undefined) throw new ChanceryError("invalid-argument", `cannot read the name of a ${typeUrl}`);
  return name;
}

function served(typeUrl: string, name: string, value: Uint8Array, ttlMs: number | undefined): ServedResource {
  const aliases = aliasesIn(typeUrl, name, value);
  return {
    typeUrl,
    name,
    version: createHash("sha256").update(value).digest("hex").slice(0, 16),
    value,
    ...(ttlMs === undefined ? {} : { ttlMs }),
    ...(aliases.length === 0 ? {} : { aliases }),
  };
}
