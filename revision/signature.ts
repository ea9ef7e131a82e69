import { sign, verify } from "node:crypto";
import { ChanceryError } from "../resources/index.ts";
import { canonicalJson } from "./canonical-json.ts";
import type { SigningKey } from "./keys.ts";
import type { Manifest, SignedManifest } from "./revision.ts";
import type { Trust } from "./trust.ts";

/** Stands before what is signed, so that a signature over a manifest is none over anything else. */
const MANIFEST_DOMAIN = "chancery-manifest-v1\n";

/** @param keys  none: unsigned, good only on the machine that made it */
export function signManifest(manifest: Manifest, keys: readonly SigningKey[]): SignedManifest {
  const bytes = manifestBytes(manifest);
  const signatures = keys.map(({ keyId, privateKey }) => ({
    keyId,
    signature: sign(null, bytes, privateKey).toString("base64"),
  }));
  return { manifest, signatures };
}

export interface Verified {
  /** Ids of the trusted keys whose signature is right; at least as many as the trust file asks for. */
  readonly signedBy: readonly string[];
  /** Those of them that are past their time: renew them, since new revisions are refused. */
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
  const bytes = manifestBytes(signed.manifest);
  const signedBy = new Set<string>();
  const expired = new Set<string>();
  const refused: string[] = [];
  for (const { keyId, signature } of signed.signatures) {
    const key = trust.keys.get(keyId);
    if (key === undefined) refused.push(`key ${keyId} is not trusted`);
    else if (!verify(null, bytes, key.publicKey, Buffer.from(signature, "base64"))) {
      refused.push(`the signature of key ${keyId} is wrong`);
    } else if (now < key.notBefore && revision === "new") refused.push(`key ${keyId} is not valid yet`);
    else if (now > key.notAfter && revision === "new") refused.push(`key ${keyId} has expired`);
    else {
      signedBy.add(keyId);
      if (now > key.notAfter) expired.add(keyId);
    }
  }
  if (signedBy.size < trust.threshold) {
    const why = refused.length > 0 ? refused.join(", ") : "nobody else signed it";
    throw new ChanceryError(
      "untrusted",
      `revision ${signed.manifest.number}: ${signedBy.size} of ${trust.threshold} needed signatures are good: ${why}`,
    );
  }
  return { signedBy: [...signedBy], expired: [...expired] };
}

function manifestBytes(manifest: Manifest): Buffer {
  return Buffer.from(MANIFEST_DOMAIN + canonicalJson(manifest));
}
