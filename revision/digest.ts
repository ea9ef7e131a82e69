import { createHash } from "node:crypto";
import type { Digest } from "./revision.ts";

const DIGEST = /^sha256:[0-9a-f]{64}$/;

export function digestOf(bytes: Uint8Array | string): Digest {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** Whether the text is a digest, and so is safe as part of a file name. */
export function isDigest(text: string): boolean {
  return DIGEST.test(text);
}

/** Hex digits of a digest. */
export function digestHex(digest: Digest): string {
  return digest.slice("sha256:".length);
}
