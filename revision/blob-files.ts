import { createHash } from "node:crypto";
import { type FileHandle, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { ChanceryError } from "../resources/index.ts";
import { digestHex, digestOfHash, HASHED_BYTES, isDigest } from "./digest.ts";
import { type DurableFiles, errorCode } from "./durable-file.ts";
import { MAX_BLOB_BYTES } from "./limits.ts";
import type { Digest } from "./revision.ts";

/** `<directory>/sha256/ab/cdef…` */
export function blobFile(directory: string, digest: Digest): string {
  if (!isDigest(digest)) throw new ChanceryError("corrupt", "a digest is not of the form sha256:<64 hex digits>");
  const hex = digestHex(digest);
  return join(directory, "sha256", hex.slice(0, 2), hex.slice(2));
}

/**
 * @returns undefined when it is not there
 * @throws ChanceryError "corrupt" when the bytes are not those of the digest, or more than 64 MiB
 */
export async function readBlob(directory: string, digest: Digest): Promise<Uint8Array | undefined> {
  const file = blobFile(directory, digest);
  let handle: FileHandle;
  try {
    handle = await open(file);
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    const { size } = await handle.stat();
    if (size > MAX_BLOB_BYTES) throw new ChanceryError("corrupt", `${file} is larger than ${MAX_BLOB_BYTES} bytes`);
    return await readVerified(handle, size, digest, file);
  } finally {
    await handle.close();
  }
}

/** Hashed while it is read, a piece at a time: nothing else on the loop waits for the whole of it. */
async function readVerified(handle: FileHandle, size: number, digest: Digest, file: string): Promise<Uint8Array> {
  const bytes = Buffer.alloc(size);
  const hash = createHash("sha256");
  for (let from = 0; from < size; ) {
    const { bytesRead } = await handle.read(bytes, from, Math.min(HASHED_BYTES, size - from), from);
    if (bytesRead === 0) break;
    hash.update(bytes.subarray(from, from + bytesRead));
    from += bytesRead;
  }
  if (digestOfHash(hash) === digest) return bytes;
  throw new ChanceryError("corrupt", `${file} does not hold the bytes of its digest`);
}

/** Writes the bytes unless the very same are there; what is there and wrong is replaced. */
export async function writeBlob(
  directory: string,
  files: DurableFiles,
  digest: Digest,
  bytes: Uint8Array,
): Promise<void> {
  if (await hasBlob(directory, digest)) return;
  await files.write(blobFile(directory, digest), bytes);
}

export async function removeBlob(directory: string, digest: Digest): Promise<void> {
  await rm(blobFile(directory, digest), { force: true });
}

async function hasBlob(directory: string, digest: Digest): Promise<boolean> {
  try {
    return (await readBlob(directory, digest)) !== undefined;
  } catch (error) {
    if (error instanceof ChanceryError && error.code === "corrupt") return false;
    throw error;
  }
}
