import { createHash, type Hash } from "node:crypto";
import type { Steps } from "../policy/index.ts";
import type { Digest } from "./revision.ts";

/** Bytes that are hashed at a time: a fifth of a millisecond or so. */
export const HASHED_BYTES = 131_072;

const DIGEST = /^sha256:[0-9a-f]{64}$/;

export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** As `digestOf`, in steps: 64 MiB in one go hold the loop for a tenth of a second. */
export function* digestSteps(bytes: Uint8Array): Steps<Digest> {
  return digestOfHash(yield* hashSteps(bytes));
}

/** SHA-256 of the bytes, in steps. */
export function* hashSteps(bytes: Uint8Array): Steps<Hash> {
  const hash = createHash("sha256");
  for (let from = 0; from < bytes.length; from += HASHED_BYTES) {
    if (from > 0) yield;
    hash.update(bytes.subarray(from, from + HASHED_BYTES));
  }
  return hash;
}

export function digestOfHash(hash: Hash): Digest {
  return `sha256:${hash.digest("hex")}`;
}

/** Whether the text is a digest, and so is safe as part of a file name. */
export function isDigest(text: string): boolean {
  return DIGEST.test(text);
}

/** Hex digits of a digest. */
export function digestHex(digest: Digest): string {
  return digest.slice("sha256:".length);
}
