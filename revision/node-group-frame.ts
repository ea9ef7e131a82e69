import { hash } from "node:crypto";
import { z } from "zod";
import type { EncodedResource, NodeGroup } from "../compiler/index.ts";
import { atOnce, type Steps } from "../policy/index.ts";
import { ChanceryError } from "../resources/index.ts";
import { canonicalJson } from "./canonical-json.ts";
import { HASHED_BYTES, hashSteps } from "./digest.ts";
import { type Fitting, jsonSteps } from "./json-steps.ts";

/**
 * A node group as bytes (format 1): the magic, the length of the header (uint32, big-endian), the header (canonical
 * JSON: name, layout, what it extends and why it is withheld, and type, name, version and size of each resource), then the values one after the other. Resources
 * are sorted by type and name, so that equal groups are equal bytes whatever order they were generated in.
 */
const MAGIC = Buffer.from("chancery-node-group-1\n", "ascii");
const LENGTH_BYTES = 4;
const MAX_RESOURCES = 200_000;

const headerSchema = z.strictObject({
  name: z.string(),
  layout: z.string(),
  extends: z.string().optional(),
  withheld: z.string().optional(),
  // Without a demand on the list as a whole, so that it can be read in steps.
  resources: z.array(
    z.strictObject({
      typeUrl: z.string(),
      name: z.string(),
      version: z.string().regex(/^[0-9a-f]{16}$/),
      size: z.int().nonnegative(),
    }),
  ),
});

export function encodeNodeGroup(group: NodeGroup): Uint8Array {
  const resources = group.resources.toSorted(byTypeAndName);
  const header = Buffer.from(
    canonicalJson({
      name: group.name,
      layout: group.layout,
      ...(group.extends === undefined ? {} : { extends: group.extends }),
      ...(group.withheld === undefined ? {} : { withheld: group.withheld }),
      resources: resources.map(({ typeUrl, name, version, value }) => ({ typeUrl, name, version, size: value.length })),
    }),
  );
  const length = Buffer.alloc(LENGTH_BYTES);
  length.writeUInt32BE(header.length);
  return Buffer.concat([MAGIC, length, header, ...resources.map((resource) => resource.value)]);
}

/** @throws ChanceryError "corrupt" for anything that `encodeNodeGroup` does not write */
export function decodeNodeGroup(bytes: Uint8Array): NodeGroup {
  return atOnce(nodeGroupSteps(bytes));
}

/** As `decodeNodeGroup`, in steps: thousands of resources are hashed, each of them to be what its version says. */
export function* nodeGroupSteps(bytes: Uint8Array): Steps<NodeGroup> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = MAGIC.length + LENGTH_BYTES;
  if (buffer.length < start || !buffer.subarray(0, MAGIC.length).equals(MAGIC)) throw corrupt("no such header");
  const end = start + buffer.readUInt32BE(MAGIC.length);
  if (end > buffer.length) throw corrupt("the header is cut off");
  const header = yield* headerSteps(buffer.subarray(start, end));
  const resources: EncodedResource[] = [];
  let offset = end;
  for (const { typeUrl, name, version, size } of header.resources) {
    if (offset + size > buffer.length) throw corrupt(`resource ${name} is cut off`);
    const value = new Uint8Array(bytes.buffer, bytes.byteOffset + offset, size);
    offset += size;
    if ((yield* versionSteps(value)) !== version) throw corrupt(`resource ${name} is not what its version says`);
    const previous = resources.at(-1);
    if (previous !== undefined && byTypeAndName(previous, { typeUrl, name }) >= 0) {
      throw corrupt(`resource ${name} is out of order or there twice`);
    }
    resources.push({ typeUrl, name, version, value });
  }
  if (offset !== buffer.length) throw corrupt("bytes are left over");
  const { name, layout, extends: base, withheld } = header;
  return {
    ...{ name, layout, resources },
    ...(base === undefined ? {} : { extends: base }),
    ...(withheld === undefined ? {} : { withheld }),
  };
}

/** Version of an encoded resource: first 16 hex digits of its SHA-256. */
export function resourceVersion(value: Uint8Array): string {
  return hash("sha256", value, "hex").slice(0, 16);
}

/** As `resourceVersion`, with a rest behind each piece. */
function* versionSteps(value: Uint8Array): Steps<string> {
  const version = value.length <= HASHED_BYTES ? resourceVersion(value) : (yield* hashSteps(value)).digest("hex");
  yield;
  return version.slice(0, 16);
}

function* headerSteps(bytes: Uint8Array): Steps<z.infer<typeof headerSchema>> {
  let header: Fitting<z.infer<typeof headerSchema>>;
  try {
    header = yield* jsonSteps(bytes, headerSchema);
  } catch (cause) {
    throw new ChanceryError("corrupt", "node group: the header cannot be read", { cause });
  }
  if (header.ok && header.data.resources.length <= MAX_RESOURCES) return header.data;
  const cause = header.ok ? undefined : new z.ZodError([...header.issues]);
  throw new ChanceryError("corrupt", "node group: the header cannot be read", { cause });
}

function byTypeAndName(a: { typeUrl: string; name: string }, b: { typeUrl: string; name: string }): number {
  if (a.typeUrl !== b.typeUrl) return a.typeUrl < b.typeUrl ? -1 : 1;
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  return 0;
}

function corrupt(what: string): ChanceryError {
  return new ChanceryError("corrupt", `node group: ${what}`);
}
