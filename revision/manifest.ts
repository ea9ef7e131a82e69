import { z } from "zod";
import { ChanceryError } from "../resources/index.ts";
import { canonicalJson } from "./canonical-json.ts";
import { digestOf, isDigest } from "./digest.ts";
import { MAX_BLOB_BYTES, MAX_MANIFEST_BYTES, MAX_PARTS, MAX_SIGNATURES, MAX_TRUST_BYTES } from "./limits.ts";
import { type Digest, type Manifest, type ManifestPart, PART_FORMATS, type SignedManifest } from "./revision.ts";

const MANIFEST_FORMAT = 1;

const digestSchema = z.string().refine(isDigest, "not a sha256 digest");
const formatSchema = z.object({ manifest: z.object({ format: z.int() }) });
const signedManifestSchema = z.strictObject({
  manifest: z.strictObject({
    format: z.literal(MANIFEST_FORMAT),
    number: z.int().positive(),
    createdAt: z.iso.datetime(),
    source: z.string().max(1024),
    commit: z.exactOptional(z.string().regex(/^[0-9a-f]{40,64}(\+dirty)?$/)),
    parts: z
      .array(
        z.strictObject({
          kind: z.string().max(64),
          format: z.int().positive(),
          name: z.string().max(1024),
          digest: digestSchema,
          size: z.int().nonnegative().max(MAX_BLOB_BYTES),
        }),
      )
      .max(MAX_PARTS),
  }),
  signatures: z
    .array(z.strictObject({ keyId: z.string().regex(/^[0-9a-f]{16}$/), signature: z.base64().max(256) }))
    .max(MAX_SIGNATURES),
  trust: z.exactOptional(z.string().max(MAX_TRUST_BYTES)),
});

/** @param createdAt  milliseconds since the epoch */
export function createManifest(
  number: number,
  createdAt: number,
  source: string,
  parts: readonly ManifestPart[],
  commit?: string,
): Manifest {
  const manifest = {
    format: MANIFEST_FORMAT,
    number,
    createdAt: new Date(createdAt).toISOString(),
    source,
    parts,
  } as const;
  return commit === undefined ? manifest : { ...manifest, commit };
}

/** Identity of a revision: what is signed, without the signatures, so that signing again changes nothing. */
export function manifestDigest(manifest: Manifest): Digest {
  return digestOf(canonicalJson(manifest));
}

/** Identity of what a revision says, without number and time: equal digests need no new revision. */
export function contentDigest(parts: readonly ManifestPart[]): Digest {
  return digestOf(canonicalJson(parts.toSorted((a, b) => (partId(a) < partId(b) ? -1 : 1))));
}

/** @throws ChanceryError "internal" when the manifest is over 1 MiB */
export function encodeSignedManifest(signed: SignedManifest): Uint8Array {
  const bytes = Buffer.from(canonicalJson(signed));
  if (bytes.length > MAX_MANIFEST_BYTES) {
    throw new ChanceryError("internal", `the manifest has ${bytes.length} bytes; at most ${MAX_MANIFEST_BYTES} fit`);
  }
  return bytes;
}

/**
 * Reads bytes from outside; signatures are not verified here.
 *
 * @throws ChanceryError "corrupt" for bytes that are no manifest; "unsupported-format" for one, or a part, in a format
 *   that this build does not read
 */
export function parseSignedManifest(bytes: Uint8Array): SignedManifest {
  if (bytes.length > MAX_MANIFEST_BYTES) throw corrupt(`it has more than ${MAX_MANIFEST_BYTES} bytes`);
  const json = parseJson(bytes);
  const format = formatSchema.safeParse(json);
  if (format.success && format.data.manifest.format !== MANIFEST_FORMAT) {
    throw new ChanceryError(
      "unsupported-format",
      `the manifest has format ${format.data.manifest.format}; this build reads ${MANIFEST_FORMAT}: upgrade it`,
    );
  }
  const parsed = signedManifestSchema.safeParse(json);
  if (!parsed.success) throw corrupt(z.prettifyError(parsed.error).slice(0, 500), parsed.error);
  const { manifest, signatures, trust } = parsed.data;
  const parts = manifest.parts.map((part): ManifestPart => {
    if (!isKnownKind(part.kind) || PART_FORMATS[part.kind] !== part.format) {
      throw new ChanceryError(
        "unsupported-format",
        `revision ${manifest.number}: part ${part.kind} ${part.name} has format ${part.format}, which this build does not read: upgrade it`,
      );
    }
    return { ...part, kind: part.kind };
  });
  if (new Set(parts.map(partId)).size !== parts.length) throw corrupt("a part is there twice");
  return { manifest: { ...manifest, parts }, signatures, ...(trust === undefined ? {} : { trust }) };
}

function isKnownKind(kind: string): kind is ManifestPart["kind"] {
  return Object.hasOwn(PART_FORMATS, kind);
}

function partId(part: ManifestPart): string {
  return `${part.kind}\n${part.name}`;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw corrupt("it is not JSON", error);
  }
}

function corrupt(what: string, cause?: unknown): ChanceryError {
  return new ChanceryError("corrupt", `the manifest cannot be read: ${what}`, { cause });
}
