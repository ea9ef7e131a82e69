import { z } from "zod";
import { ChanceryError } from "../resources/index.ts";
import { canonicalJson } from "./canonical-json.ts";
import { digestOf, isDigest } from "./digest.ts";
import type { Digest } from "./revision.ts";

/** The pointer of the disk store to one accepted revision: `revisions/<number>.json`. */
export interface RevisionRecord {
  readonly format: 1;
  readonly number: number;
  /** Blob with the signed manifest. */
  readonly manifest: Digest;
  /** Digest of the revision (see `manifestDigest`). */
  readonly revision: Digest;
}

const digest = z.string().refine(isDigest, "not a digest");
const fileSchema = z.strictObject({
  checksum: digest,
  record: z.strictObject({ format: z.literal(1), number: z.int().positive(), manifest: digest, revision: digest }),
});

const DIGITS = 16;

/** The number stands in the name too, so that the fence holds when the content is lost. */
export function recordName(number: number): string {
  return `${String(number).padStart(DIGITS, "0")}.json`;
}

/** @returns undefined for a name that `recordName` does not give */
export function recordNumber(name: string): number | undefined {
  const digits = /^([0-9]{16})\.json$/.exec(name)?.[1];
  const number = digits === undefined ? 0 : Number(digits);
  return Number.isSafeInteger(number) && number > 0 ? number : undefined;
}

export function encodeRecord(record: RevisionRecord): Uint8Array {
  return Buffer.from(canonicalJson({ record, checksum: digestOf(canonicalJson(record)) }));
}

/** @throws ChanceryError "corrupt" for bytes that are not exactly what `encodeRecord` wrote for `number` */
export function parseRecord(bytes: Uint8Array, number: number): RevisionRecord {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new ChanceryError("corrupt", `the record of revision ${number} is not JSON`, { cause: error });
  }
  const parsed = fileSchema.safeParse(json);
  if (!parsed.success) throw new ChanceryError("corrupt", `the record of revision ${number} cannot be read`);
  const { record, checksum } = parsed.data;
  if (digestOf(canonicalJson(record)) !== checksum || record.number !== number) {
    throw new ChanceryError("corrupt", `the record of revision ${number} does not match its checksum`);
  }
  return record;
}
