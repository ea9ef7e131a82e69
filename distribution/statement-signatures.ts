import { z } from "zod";

/** Signatures of a statement as they travel: one is enough, and few are read. */
export const MAX_SIGNATURES = 16;
export const statementSignatures = z
  .array(z.strictObject({ keyId: z.string().max(64), signature: z.base64().max(128) }))
  .min(1)
  .max(MAX_SIGNATURES);
