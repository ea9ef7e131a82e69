import type { ServedResource } from "./snapshot.ts";

/** What a response has besides resources, bytes: version, type, nonce. */
export const RESPONSE_HEAD = 512;
/** What goes around a resource, bytes: tags, lengths, its version. */
const AROUND_RESOURCE = 64;

/** About the bytes that a resource takes in a response: its type is said in it, too. */
export function sizeOf({ typeUrl, name, value }: ServedResource): number {
  return value.length + name.length + typeUrl.length + AROUND_RESOURCE;
}

type List = readonly ServedResource[];

const pieces = new WeakMap<List, { readonly maxBytes: number; readonly parts: readonly List[] }>();

/**
 * A list in parts of at most so many bytes; what is larger by itself is a part by itself. Made once for each list, which
 * must not change from then on: streams that are given the same list are given the same parts.
 */
export function inParts(resources: List, maxBytes: number): readonly List[] {
  const known = pieces.get(resources);
  if (known?.maxBytes === maxBytes) return known.parts;
  const parts = divide(resources, maxBytes);
  pieces.set(resources, { maxBytes, parts });
  return parts;
}

const listed = new WeakMap<List, ReadonlySet<string>>();

/** Whether a resource is in one of the parts. */
export function isIn(parts: readonly List[], name: string): boolean {
  return parts.some((part) => {
    let names = listed.get(part);
    if (names === undefined) {
      names = new Set(part.map((resource) => resource.name));
      listed.set(part, names);
    }
    return names.has(name);
  });
}

function divide(resources: List, maxBytes: number): readonly List[] {
  const parts: ServedResource[][] = [[]];
  let bytes = RESPONSE_HEAD;
  for (const resource of resources) {
    const size = sizeOf(resource);
    let part = parts.at(-1);
    if (part === undefined || (part.length > 0 && bytes + size > maxBytes)) {
      part = [];
      parts.push(part);
      bytes = RESPONSE_HEAD;
    }
    part.push(resource);
    bytes += size;
  }
  return parts.length === 1 ? [resources] : parts;
}
