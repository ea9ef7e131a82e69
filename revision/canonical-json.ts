import { ChanceryError } from "../resources/index.ts";

const MAX_DEPTH = 64;

/**
 * JSON with sorted members and no spaces: one text per value, so that it can be hashed and signed. Members that are
 * undefined are left out, as in `JSON.stringify`.
 *
 * @throws ChanceryError "internal" for what JSON cannot carry (functions, bigints, NaN, holes) and beyond 64 levels
 * @see RFC 8785, of which this is the part that our data needs (members sorted by UTF-16 code units)
 */
export function canonicalJson(value: unknown): string {
  return write(value, 0);
}

function write(value: unknown, depth: number): string {
  if (depth > MAX_DEPTH) throw new ChanceryError("internal", `canonical JSON: deeper than ${MAX_DEPTH} levels`);
  if (value === null || typeof value === "boolean") return String(value);
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new ChanceryError("internal", "canonical JSON: a number is not finite");
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${Array.from(value, (item) => write(item, depth + 1)).join(",")}]`;
  if (typeof value === "object" && isPlain(value)) {
    const members: string[] = [];
    for (const [name, member] of Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (member !== undefined) members.push(`${JSON.stringify(name)}:${write(member, depth + 1)}`);
    }
    return `{${members.join(",")}}`;
  }
  throw new ChanceryError("internal", `canonical JSON: a ${typeof value} cannot be written`);
}

/** Only plain records: a Map or a Uint8Array would be written as something that does not read back. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
