import { sign, verify } from "node:crypto";
import { ChanceryError } from "../resources/index.ts";
import { canonicalJson } from "./canonical-json.ts";
import type { SigningKey } from "./keys.ts";
import type { Manifest, SignedManifest } from "./revision.ts";
import { type Purpose, parseTrust, type Trust } from "./trust.ts";

/** Stands before what is signed, so that a signature over one kind of thing is none over another. */
const DOMAINS: Readonly<Record<Purpose, string>> = {
  revision: "chancery-manifest-v1\n",
  restriction: "chancery-restriction-v1\n",
  log: "chancery-log-entry-v1\n",
};

export interface Signature {
  readonly keyId: string;
  /** Base64. */
  readonly signature: string;
}

/**
 * @param keys  none: unsigned, good only on the machine that made it
 * @param trust  text of the trust file, to travel along
 * @throws ChanceryError "untrusted" where that trust file does not cover the keys when the manifest is made (one has
 *   expired, or there are too few): nobody would take the revision
 */
export function signManifest(manifest: Manifest, keys: readonly SigningKey[], trust?: string): SignedManifest {
  const signatures = signStatement("revision", manifest, keys);
  if (trust === undefined) return { manifest, signatures };
  const signed = { manifest, signatures, trust };
  const covering = parseTrust(trust, "of this process");
  try {
    verifyManifest(signed, covering, Date.parse(manifest.createdAt));
  } catch (cause) {
    const { message } = ChanceryError.from(cause);
    throw new ChanceryError("untrusted", `nobody would take ${message} ("chancery keys rotate" makes a key)`, {
      cause,
    });
  }
  return signed;
}

/** Signatures over the canonical JSON of a statement. */
export function signStatement(purpose: Purpose, statement: unknown, keys: readonly SigningKey[]): Signature[] {
  const bytes = signedBytes(purpose, statement);
  return keys.map(({ keyId, privateKey }) => ({ keyId, signature: sign(null, bytes, privateKey).toString("base64") }));
}

export interface Verified {
  /** Ids of the trusted keys whose signature is right; at least as many as are needed. */
  readonly signedBy: readonly string[];
  /** Those of them that are past their time: renew them, since what they sign from now on is refused. */
  readonly expired: readonly string[];
}

/**
 * Whether enough trusted keys signed. With `new` (a revision that just arrived) only keys count that are valid now; with
 * `stored` (one that was accepted before) keys count out of their time too, because what is in force stays in force, also
 * on a machine that starts with a wrong clock.
 *
 * @param now  milliseconds since the epoch
 * @throws ChanceryError "untrusted"
 */
export function verifyManifest(
  signed: SignedManifest,
  trust: Trust,
  now: number,
  revision: "new" | "stored" = "new",
): Verified {
  const { manifest, signatures } = signed;
  const what = `revision ${manifest.number}`;
  return verifySignatures(what, "revision", manifest, signatures, trust.threshold, { trust, now, age: revision });
}

/**
 * Whether a key that the trust file covers for the purpose signed a statement. One is enough: a statement does less than
 * a revision, and must not wait for a quorum. `age` as in `verifyManifest`.
 *
 * @throws ChanceryError "untrusted"
 */
export function verifyStatement(
  what: string,
  purpose: Exclude<Purpose, "revision">,
  statement: unknown,
  signatures: readonly Signature[],
  by: SignatureCheck,
): Verified {
  return verifySignatures(what, purpose, statement, signatures, 1, by);
}

export interface SignatureCheck {
  readonly trust: Trust;
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly age: "new" | "stored";
}

function verifySignatures(
  what: string,
  purpose: Purpose,
  statement: unknown,
  signatures: readonly Signature[],
  needed: number,
  { trust, now, age }: SignatureCheck,
): Verified {
  const bytes = signedBytes(purpose, statement);
  const signedBy = new Set<string>();
  const expired = new Set<string>();
  const refused: string[] = [];
  for (const { keyId, signature } of signatures) {
    const key = trust.keys.get(keyId);
    if (key === undefined) refused.push(`key ${keyId} is not trusted`);
    else if (!key.purposes.has(purpose)) refused.push(`key ${keyId} is not trusted with a ${purpose}`);
    else if (!verify(null, bytes, key.publicKey, Buffer.from(signature, "base64"))) {
      refused.push(`the signature of key ${keyId} is wrong`);
    } else if (now < key.notBefore && age === "new") refused.push(`key ${keyId} is not valid yet`);
    else if (now > key.notAfter && age === "new") refused.push(`key ${keyId} has expired`);
    else {
      signedBy.add(keyId);
      if (now > key.notAfter) expired.add(keyId);
    }
  }
  if (signedBy.size < needed) {
    const why = refused.length > 0 ? refused.join(", ") : "nobody else signed it";
    throw new ChanceryError("untrusted", `${what}: ${signedBy.size} of ${needed} needed signatures are good: ${why}`);
  }
  return { signedBy: [...signedBy], expired: [...expired] };
}

function signedBytes(purpose: Purpose, statement: unknown): Buffer {
  return Buffer.from(DOMAINS[purpose] + canonicalJson(statement));
}
