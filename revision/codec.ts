import { z } from "zod";
import {
  groupLayouts,
  type Layout,
  type NodeGroup,
  type RevisionParts,
  type SecretReference,
} from "../compiler/index.ts";
import { atOnce, inSlices, type PolicyProgram, type Slicing, type Steps } from "../policy/index.ts";
import { ChanceryError } from "../resources/index.ts";
import { eachOf } from "./at-once.ts";
import { digestOf, digestSteps } from "./digest.ts";
import { type JsonTexts, jsonPart } from "./json-part.ts";
import { type Fitting, jsonSteps } from "./json-steps.ts";
import { MAX_BLOB_BYTES, MAX_PARTS } from "./limits.ts";
import { manifestDigest } from "./manifest.ts";
import { encodeNodeGroup, nodeGroupSteps } from "./node-group-frame.ts";
import { layoutSchema, programSchema, secretsSchema } from "./part-schemas.ts";
import type { SignedManifest } from "./revision.ts";
import { type Digest, type ManifestPart, PART_FORMATS, type PartKind, type Revision } from "./revision.ts";

/** Parts that are fetched at the same time: they may be an ocean away. */
const PARTS_AT_ONCE = 8;

export interface EncodedParts {
  /** Sorted by kind and name. */
  readonly parts: readonly ManifestPart[];
  /** The bytes of each part. */
  readonly blobs: ReadonlyMap<Digest, Uint8Array>;
}

/** A part as it is stored. */
interface EncodedPart {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
}

/**
 * What was encoded before, by the objects that it was made of, which never change: of parts that changed only what changed
 * is encoded. What comes out is what comes out without it. Owned by one caller.
 */
export class EncodeCache {
  readonly texts: JsonTexts = new WeakMap();
  readonly parts = new WeakMap<Layout | NodeGroup, EncodedPart>();
  /** The last policy program and secret references, by their text. */
  readonly single = new Map<PartKind, { readonly text: string; readonly part: EncodedPart }>();
}

/**
 * Deterministic: equal parts give equal bytes, and a part that did not change keeps its digest.
 *
 * @throws ChanceryError "internal" when a part is there twice, is larger than 64 MiB, or would be refused when read back
 */
export function encodeParts(parts: RevisionParts, cache = new EncodeCache()): EncodedParts {
  const blobs = new Map<Digest, Uint8Array>();
  const entries: ManifestPart[] = [];
  const ids = new Set<string>();
  const add = (kind: PartKind, name: string, { digest, bytes }: EncodedPart): void => {
    if (bytes.length > MAX_BLOB_BYTES) {
      throw new ChanceryError("internal", `${kind} ${name} has ${bytes.length} bytes; at most ${MAX_BLOB_BYTES} fit`);
    }
    const id = `${kind}\n${name}`;
    if (ids.has(id)) throw new ChanceryError("internal", `${kind} ${name} is there twice`);
    ids.add(id);
    blobs.set(digest, bytes);
    entries.push({ kind, format: PART_FORMATS[kind], name, digest, size: bytes.length });
  };
  const once = <T extends Layout | NodeGroup>(part: T, encode: (part: T) => Uint8Array): EncodedPart => {
    const encoded = cache.parts.get(part) ?? encodedPart(encode(part));
    cache.parts.set(part, encoded);
    return encoded;
  };
  const single = (kind: PartKind, text: string): EncodedPart => {
    const before = cache.single.get(kind);
    const part = before?.text === text ? before.part : encodedPart(Buffer.from(text));
    cache.single.set(kind, { text, part });
    return part;
  };
  for (const layout of parts.layouts.toSorted((a, b) => compare(a.hash, b.hash))) {
    const encode = () => Buffer.from(jsonPart(layout, layoutSchema, `layout ${layout.hash}`, cache.texts));
    add("layout", layout.hash, once(layout, encode));
  }
  for (const group of parts.nodeGroups.toSorted((a, b) => compare(a.name, b.name))) {
    add("nodeGroup", group.name, once(group, encodeNodeGroup));
  }
  add("program", "", single("program", jsonPart(parts.program, programSchema, "the policy program", cache.texts)));
  const secrets = parts.secrets.toSorted((a, b) => compare(a.name, b.name));
  add("secrets", "", single("secrets", jsonPart(secrets, secretsSchema, "the secret references", cache.texts)));
  if (entries.length > MAX_PARTS) {
    throw new ChanceryError("internal", `${entries.length} parts; a revision has at most ${MAX_PARTS}`);
  }
  return { parts: entries, blobs };
}

function encodedPart(bytes: Uint8Array): EncodedPart {
  return { digest: digestOf(bytes), bytes };
}

type DecodedPart =
  | { readonly kind: "program"; readonly value: PolicyProgram }
  | { readonly kind: "layout"; readonly value: Layout }
  | { readonly kind: "nodeGroup"; readonly value: NodeGroup }
  | { readonly kind: "secrets"; readonly value: readonly SecretReference[] };

/**
 * Gives content by its digest; undefined where there is none.
 *
 * @param size  bytes that it has, where that is known: whoever fetches it in pieces need not ask first
 */
export type FetchBlob = (digest: Digest, size?: number) => Promise<Uint8Array | undefined>;

/** Decoded parts of the last revision, so that what did not change keeps its identity. Owned by one caller. */
export type PartCache = Map<string, DecodedPart>;

/**
 * Every blob is fetched and verified, whether or not it is in the cache. Signatures are verified by `verifyManifest`,
 * whose result is `signedBy`.
 *
 * @param slicing  how decoding shares the loop with others; absent: not
 * @throws ChanceryError "not-found" when a part is missing, "corrupt" when it is not what the manifest says
 */
export async function decodeRevision(
  signed: SignedManifest,
  getBlob: FetchBlob,
  signedBy: readonly string[],
  cache: PartCache = new Map(),
  slicing?: Slicing,
): Promise<Revision> {
  const { manifest } = signed;
  const { parts } = manifest;
  const found = new Map<number, DecodedPart>();
  // One after the other: slices of several parts at a time would follow each other without a rest.
  let turn = Promise.resolve();
  await eachOf(parts.length, PARTS_AT_ONCE, async (index) => {
    const part = parts[index];
    if (part === undefined) return;
    const where = placeOf(part, manifest.number);
    const bytes = await fetchPart(part, getBlob, where);
    turn = turn.then(async () => {
      const steps = verifiedSteps(part, bytes, where, cache.get(idOf(part)));
      found.set(index, slicing === undefined ? atOnce(steps) : await inSlices(steps, slicing));
    });
    await turn;
  });
  const all: PartCache = new Map();
  for (const [index, part] of parts.entries()) {
    const value = found.get(index);
    if (value !== undefined) all.set(idOf(part), value);
  }
  const revision = assemble(manifest.number, [...all.values()]);
  cache.clear();
  for (const [id, part] of all) cache.set(id, part);
  return {
    number: manifest.number,
    digest: manifestDigest(manifest),
    createdAt: manifest.createdAt,
    source: manifest.source,
    signedBy,
    ...revision,
  };
}

/**
 * The policy program of a revision alone, of which nothing else is fetched. Signatures are verified by `verifyManifest`.
 *
 * @throws ChanceryError as `decodeRevision`
 */
export async function decodeProgram({ manifest }: SignedManifest, getBlob: FetchBlob): Promise<PolicyProgram> {
  for (const part of manifest.parts) {
    if (part.kind !== "program") continue;
    const where = placeOf(part, manifest.number);
    const program = atOnce(verifiedSteps(part, await fetchPart(part, getBlob, where), where));
    if (program.kind === "program") return program.value;
  }
  throw new ChanceryError("corrupt", `revision ${manifest.number}: it has no policy program`);
}

function idOf({ kind, name, digest }: ManifestPart): string {
  return `${kind}\n${name}\n${digest}`;
}

function placeOf({ kind, name }: ManifestPart, revision: number): string {
  return `revision ${revision}: ${kind} ${name}`;
}

async function fetchPart({ digest, size }: ManifestPart, getBlob: FetchBlob, where: string): Promise<Uint8Array> {
  const bytes = await getBlob(digest, size);
  if (bytes === undefined) throw new ChanceryError("not-found", `${where}: ${digest} is missing`);
  if (bytes.length !== size) throw otherBytes(where, digest);
  return bytes;
}

function otherBytes(where: string, digest: Digest): ChanceryError {
  return new ChanceryError("corrupt", `${where}: the bytes are not those of ${digest}`);
}

/** @param known  what the same bytes were decoded to before */
function* verifiedSteps(part: ManifestPart, bytes: Uint8Array, where: string, known?: DecodedPart): Steps<DecodedPart> {
  if ((yield* digestSteps(bytes)) !== part.digest) throw otherBytes(where, part.digest);
  yield;
  return known ?? (yield* partSteps(part, bytes, where));
}

function* partSteps(part: ManifestPart, bytes: Uint8Array, where: string): Steps<DecodedPart> {
  switch (part.kind) {
    case "program":
      expectName(part.name, "", where);
      return { kind: "program", value: yield* parseJson(bytes, programSchema, where) };
    case "secrets":
      expectName(part.name, "", where);
      return { kind: "secrets", value: yield* parseJson(bytes, secretsSchema, where) };
    case "layout": {
      const value = yield* parseJson(bytes, layoutSchema, where);
      expectName(part.name, value.hash, where);
      return { kind: "layout", value };
    }
    case "nodeGroup": {
      const value = yield* nodeGroupSteps(bytes);
      expectName(part.name, value.name, where);
      return { kind: "nodeGroup", value };
    }
  }
}

function assemble(number: number, parts: readonly DecodedPart[]): RevisionParts {
  const layouts: Layout[] = [];
  const nodeGroups: NodeGroup[] = [];
  let program: PolicyProgram | undefined;
  let secrets: readonly SecretReference[] | undefined;
  for (const part of parts) {
    if (part.kind === "layout") layouts.push(part.value);
    else if (part.kind === "nodeGroup") nodeGroups.push(part.value);
    else if (part.kind === "program") program = part.value;
    else secrets = part.value;
  }
  if (program === undefined || secrets === undefined) {
    throw new ChanceryError("corrupt", `revision ${number}: it has no policy program or no secret references`);
  }
  const known = groupLayouts(layouts);
  const extensible = new Set(nodeGroups.flatMap((group) => (group.extends === undefined ? [group.name] : [])));
  for (const group of nodeGroups) {
    if (group.extends !== undefined && !extensible.has(group.extends)) {
      throw new ChanceryError("corrupt", `revision ${number}: ${group.name} cannot extend ${group.extends}`);
    }
    if (!known.has(group.layout)) {
      throw new ChanceryError("corrupt", `revision ${number}: layout ${group.layout} of ${group.name} is missing`);
    }
  }
  return { program, layouts, nodeGroups, secrets };
}

function* parseJson<T>(bytes: Uint8Array, schema: z.ZodType<T>, where: string): Steps<T> {
  let parsed: Fitting<T>;
  try {
    parsed = yield* jsonSteps(bytes, schema);
  } catch (error) {
    throw new ChanceryError("corrupt", `${where}: it is not JSON`, { cause: error });
  }
  if (parsed.ok) return parsed.data;
  const error = new z.ZodError([...parsed.issues]);
  throw new ChanceryError("corrupt", `${where}: ${z.prettifyError(error).slice(0, 500)}`);
}

function expectName(name: string, expected: string, where: string): void {
  if (name !== expected) throw new ChanceryError("corrupt", `${where}: it says of itself that it is "${expected}"`);
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
