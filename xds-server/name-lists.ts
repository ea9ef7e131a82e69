import { BinaryReader } from "@bufbuild/protobuf/wire";
import { ChanceryError } from "../resources/index.ts";

/** Lists shorter than this, bytes on the wire, are not worth sharing. */
const SHARED_FROM = 24;
/** Of all lists that are shared, bytes on the wire and what goes with them; those used longest ago are let go. */
const MAX_SHARED_BYTES = 16 * 1024 * 1024;
/** What is kept of a list besides its bytes and names, bytes. */
const AROUND_LIST = 512;

/** Longest name of a resource or type, UTF-16 units: many of them are kept for each stream. */
const MAX_NAME = 4_096;

/** @throws Error for a name that is too long to be kept */
export function checkName(name: string): string {
  if (name.length > MAX_NAME) throw new ChanceryError("invalid-argument", `a name has at most ${MAX_NAME} characters`);
  return name;
}

/** Names as they came: the bytes of a repeated string field, tags included, and what they mean. */
export interface NameList {
  readonly field: Buffer;
  readonly names: readonly string[];
}

/**
 * Lists of names, each kept once however many clients send it: the nodes of a group ask for the same endpoints, and in
 * state of the world repeat them with every acknowledgement.
 */
export class NameLists {
  readonly #lists = new Map<string, NameList>();
  #bytes = 0;

  /** @returns the same list for the same bytes, where it is long and was used not too long ago */
  list(field: Buffer): NameList {
    if (field.length < SHARED_FROM || field.length > MAX_SHARED_BYTES) return { field, names: decode(field) };
    const key = field.toString("latin1");
    const known = this.#lists.get(key);
    if (known !== undefined) {
      this.#lists.delete(key);
      this.#lists.set(key, known);
      return known;
    }
    const names = decode(field);
    // A copy of its own: the field is a part of a request, which is not to stay, nor is a pool of Node's.
    const list = { field: Buffer.alloc(field.length, field), names };
    this.#lists.set(key, list);
    this.#bytes += key.length + AROUND_LIST;
    for (const oldest of this.#lists.keys()) {
      if (this.#bytes <= MAX_SHARED_BYTES) break;
      this.#lists.delete(oldest);
      this.#bytes -= oldest.length + AROUND_LIST;
    }
    return list;
  }
}

function decode(field: Buffer): string[] {
  const names: string[] = [];
  const reader = new BinaryReader(field);
  while (reader.pos < reader.len) {
    reader.tag();
    names.push(checkName(reader.string()));
  }
  return names;
}
