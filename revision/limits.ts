/** Bytes of one part. */
export const MAX_BLOB_BYTES = 64 * 1024 * 1024;
/** Bytes of a signed manifest as stored and sent. */
export const MAX_MANIFEST_BYTES = 1024 * 1024;
export const MAX_PARTS = 10_000;
export const MAX_SIGNATURES = 16;
/** Bytes of a trust file. */
export const MAX_TRUST_BYTES = 64 * 1024;
