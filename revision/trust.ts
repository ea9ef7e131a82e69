import { createHash, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { z } from "zod";
import { ChanceryError } from "../resources/index.ts";
import { canonicalJson } from "./canonical-json.ts";
import { errorCode } from "./durable-file.ts";

/** Bound to the end of what is signed, so that a signature over one kind of thing is none over another. */
const SIGNING_KEY_DOMAIN = "chancery-signing-key-v1\n";
const MAX_TRUST_FILE_BYTES = 256 * 1024;
const MAX_SIGNING_KEYS = 32;

/** What a key may sign: revisions; restrictions and their lifting; entries of the operational log. */
export const PURPOSES = ["revision", "restriction", "log"] as const;
export type Purpose = (typeof PURPOSES)[number];

/** A key that may sign, as the root vouches for it. Times are milliseconds since the epoch. */
export interface TrustedKey {
  readonly keyId: string;
  readonly publicKey: KeyObject;
  readonly purposes: ReadonlySet<Purpose>;
  readonly notBefore: number;
  readonly notAfter: number;
}

/** Whom a process believes: `threshold` of the `keys` must sign a revision, one of them a restriction or log entry. */
export interface Trust {
  readonly rootKeyId: string;
  readonly threshold: number;
  readonly keys: ReadonlyMap<string, TrustedKey>;
}

/** What the root signs about a signing key. */
const grantSchema = z.strictObject({
  keyId: z.string(),
  publicKey: z.string(),
  notBefore: z.iso.datetime(),
  notAfter: z.iso.datetime(),
  /** Absent: everything. */
  purposes: z.exactOptional(z.array(z.enum(PURPOSES)).min(1)),
});
export type KeyGrant = z.infer<typeof grantSchema>;

const trustFileSchema = z.strictObject({
  format: z.literal(1),
  threshold: z.int().min(1),
  root: z.strictObject({ keyId: z.string(), publicKey: z.string() }),
  signingKeys: z
    .array(grantSchema.extend({ rootSignature: z.base64() }))
    .min(1)
    .max(MAX_SIGNING_KEYS),
});
export type TrustFile = z.infer<typeof trustFileSchema>;

/**
 * Reads the trust file that `initKeys` wrote.
 *
 * @throws ChanceryError "not-found", or "untrusted" when it does not hold together
 */
export async function loadTrust(file: string): Promise<Trust> {
  let text: string;
  try {
    if ((await stat(file)).size > MAX_TRUST_FILE_BYTES) {
      throw new ChanceryError("untrusted", `trust file ${file} is larger than ${MAX_TRUST_FILE_BYTES} bytes`);
    }
    text = await readFile(file, "utf8");
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw ChanceryError.from(error, "untrusted");
    throw new ChanceryError("not-found", `there is no trust file ${file}; "chancery keys init" makes one`);
  }
  return parseTrust(text, file);
}

/** @param name  for messages */
export function parseTrust(text: string, name: string): Trust {
  const file = parseTrustFile(text, name);
  const root = publicKeyOf(file.root.publicKey, file.root.keyId, name);
  const keys = new Map<string, TrustedKey>();
  for (const { rootSignature, ...grant } of file.signingKeys) {
    const publicKey = publicKeyOf(grant.publicKey, grant.keyId, name);
    if (!verify(null, grantBytes(grant), root, Buffer.from(rootSignature, "base64"))) {
      throw new ChanceryError("untrusted", `trust file ${name}: the root did not sign key ${grant.keyId}`);
    }
    if (keys.has(grant.keyId)) throw new ChanceryError("untrusted", `trust file ${name}: key ${grant.keyId} twice`);
    const notBefore = Date.parse(grant.notBefore);
    const notAfter = Date.parse(grant.notAfter);
    const purposes = new Set(grant.purposes ?? PURPOSES);
    keys.set(grant.keyId, { keyId: grant.keyId, publicKey, purposes, notBefore, notAfter });
  }
  const forRevisions = [...keys.values()].filter(({ purposes }) => purposes.has("revision")).length;
  if (file.threshold > forRevisions) {
    throw new ChanceryError("untrusted", `trust file ${name} asks for ${file.threshold} of ${forRevisions} keys`);
  }
  return { rootKeyId: file.root.keyId, threshold: file.threshold, keys };
}

/** The root's signature over a grant, base64. */
export function signGrant(grant: KeyGrant, root: KeyObject): string {
  return sign(null, grantBytes(grant), root).toString("base64");
}

/** First 16 hex digits of the SHA-256 of the SubjectPublicKeyInfo. */
export function keyIdOf(publicKey: KeyObject): string {
  const spki = publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(spki).digest("hex").slice(0, 16);
}

function grantBytes(grant: KeyGrant): Buffer {
  return Buffer.from(SIGNING_KEY_DOMAIN + canonicalJson(grant));
}

function parseTrustFile(text: string, name: string): TrustFile {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new ChanceryError("untrusted", `trust file ${name} is not JSON`, { cause: error });
  }
  const parsed = trustFileSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new ChanceryError("untrusted", `trust file ${name}: ${z.prettifyError(parsed.error).slice(0, 500)}`);
}

function publicKeyOf(base64: string, keyId: string, name: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPublicKey({ key: Buffer.from(base64, "base64"), format: "der", type: "spki" });
  } catch (error) {
    throw new ChanceryError("untrusted", `trust file ${name}: key ${keyId} cannot be read`, { cause: error });
  }
  if (key.asymmetricKeyType !== "ed25519") {
    throw new ChanceryError("untrusted", `trust file ${name}: key ${keyId} is not ed25519`);
  }
  if (keyIdOf(key) !== keyId) throw new ChanceryError("untrusted", `trust file ${name}: the id of ${keyId} is wrong`);
  return key;
}
