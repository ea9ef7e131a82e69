import { createHash, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { z } from "zod";
import { ChanceryError } from "../resources/index.ts";
import { canonicalJson } from "./canonical-json.ts";
import { errorCode } from "./durable-file.ts";
import { MAX_TRUST_BYTES } from "./limits.ts";

/** Stands before what the root signs, so that its signature is none over anything else. */
const TRUST_DOMAIN = "chancery-trust-v1\n";
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

/**
 * Whom a process believes: `threshold` of the `keys` must sign a revision, one of them a restriction or log entry. The root
 * never changes while the process lives; what it vouches for may, by `update`.
 */
export interface Trust {
  readonly rootKeyId: string;
  /** Counts what the root has said: a lower one than was seen is not taken. */
  readonly serial: number;
  readonly threshold: number;
  readonly keys: ReadonlyMap<string, TrustedKey>;
  /** The trust file as it stands, for others to `update` by. */
  readonly text: string;
  /**
   * Takes a newer trust file of the same root.
   *
   * @returns whether it was newer
   * @throws ChanceryError "untrusted" when it does not hold together, or is of another root
   */
  update(text: string, name: string): boolean;
}

/** What the root says of a signing key. */
const grantSchema = z.strictObject({
  keyId: z.string(),
  publicKey: z.string(),
  notBefore: z.iso.datetime(),
  notAfter: z.iso.datetime(),
  /** Absent: everything. */
  purposes: z.exactOptional(z.array(z.enum(PURPOSES)).min(1)),
});
export type KeyGrant = z.infer<typeof grantSchema>;

const statementSchema = z.strictObject({
  format: z.literal(2),
  serial: z.int().min(1),
  threshold: z.int().min(1),
  root: z.strictObject({ keyId: z.string(), publicKey: z.string() }),
  signingKeys: z.array(grantSchema).min(1).max(MAX_SIGNING_KEYS),
});
/** What the root signs, as a whole: no key can be added, kept or dropped, and no threshold lowered, without it. */
export type TrustStatement = z.infer<typeof statementSchema>;

const trustFileSchema = statementSchema.extend({ rootSignature: z.base64() });
export type TrustFile = z.infer<typeof trustFileSchema>;

/**
 * Reads the trust file that `initKeys` or `rotateKeys` wrote.
 *
 * @throws ChanceryError "not-found", or "untrusted" when it does not hold together
 */
export async function loadTrust(file: string): Promise<Trust> {
  let text: string;
  try {
    if ((await stat(file)).size > MAX_TRUST_BYTES) {
      throw new ChanceryError("untrusted", `trust file ${file} is larger than ${MAX_TRUST_BYTES} bytes`);
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
  return new FileTrust(readStatement(text, name));
}

type Statement = Omit<Trust, "update">;

class FileTrust implements Trust {
  #statement: Statement;

  constructor(statement: Statement) {
    this.#statement = statement;
  }

  get rootKeyId(): string {
    return this.#statement.rootKeyId;
  }

  get serial(): number {
    return this.#statement.serial;
  }

  get threshold(): number {
    return this.#statement.threshold;
  }

  get keys(): ReadonlyMap<string, TrustedKey> {
    return this.#statement.keys;
  }

  get text(): string {
    return this.#statement.text;
  }

  update(text: string, name: string): boolean {
    if (text === this.text) return false;
    const next = readStatement(text, name);
    if (next.rootKeyId !== this.rootKeyId) {
      throw new ChanceryError(
        "untrusted",
        `${name} is of root ${next.rootKeyId}, and ${this.rootKeyId} is trusted here`,
      );
    }
    if (next.serial <= this.serial) return false;
    this.#statement = next;
    return true;
  }
}

function readStatement(text: string, name: string): Statement {
  const { rootSignature, ...file } = parseTrustFile(text, name);
  const root = publicKeyOf(file.root.publicKey, file.root.keyId, name);
  if (!verify(null, statementBytes(file), root, Buffer.from(rootSignature, "base64"))) {
    throw new ChanceryError("untrusted", `trust file ${name}: it is not what the root signed`);
  }
  const keys = new Map<string, TrustedKey>();
  for (const grant of file.signingKeys) {
    const publicKey = publicKeyOf(grant.publicKey, grant.keyId, name);
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
  return { rootKeyId: file.root.keyId, serial: file.serial, threshold: file.threshold, keys, text };
}

/** The trust file that says this, as text. */
export function signTrust(statement: TrustStatement, root: KeyObject): string {
  const rootSignature = sign(null, statementBytes(statement), root).toString("base64");
  return `${JSON.stringify({ ...statement, rootSignature } satisfies TrustFile, undefined, 2)}\n`;
}

/** First 16 hex digits of the SHA-256 of the SubjectPublicKeyInfo. */
export function keyIdOf(publicKey: KeyObject): string {
  const spki = publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(spki).digest("hex").slice(0, 16);
}

function statementBytes(statement: TrustStatement): Buffer {
  return Buffer.from(TRUST_DOMAIN + canonicalJson(statement));
}

export function parseTrustFile(text: string, name: string): TrustFile {
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
