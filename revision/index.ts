/**
 * In: `RevisionParts`. Out: signed, content-addressed revisions, and verified ones read back. Promises: nothing unsigned
 * where a trust file is given, nothing older than what is in force, the last good one survives everything.
 */
export { eachOf } from "./at-once.ts";
export { blobFile, readBlob, writeBlob } from "./blob-files.ts";
export { canonicalJson } from "./canonical-json.ts";
export {
  decodeProgram,
  decodeRevision,
  EncodeCache,
  type EncodedParts,
  encodeParts,
  type FetchBlob,
  type PartCache,
} from "./codec.ts";
export { digestOf, digestOfHash, isDigest } from "./digest.ts";
export { type DirectoryLock, lockDirectory } from "./directory-lock.ts";
export { type DurableFiles, durableFiles, ensureDirectory, errorCode, syncDirectory } from "./durable-file.ts";
export { type InitKeysOptions, initKeys, type KeyFiles, loadSigningKey, type SigningKey, writeNew } from "./keys.ts";
export { MAX_BLOB_BYTES, MAX_PARTS } from "./limits.ts";
export {
  contentDigest,
  createManifest,
  encodeSignedManifest,
  manifestDigest,
  parseSignedManifest,
} from "./manifest.ts";
export { resourceVersion } from "./node-group-frame.ts";
export * from "./revision.ts";
export { type RotatedKeys, type RotateKeysOptions, rotateKeys } from "./rotate-keys.ts";
export {
  type Signature,
  type SignatureCheck,
  signManifest,
  signStatement,
  type Verified,
  verifyManifest,
  verifyStatement,
} from "./signature.ts";
export {
  openRevisionStore,
  type RevisionStore,
  type RevisionStoreOptions,
  type StoredRevision,
} from "./store.ts";
export { loadTrust, PURPOSES, type Purpose, parseTrust, type Trust, type TrustedKey } from "./trust.ts";
