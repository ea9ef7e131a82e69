import { z } from "zod";
import { complaint } from "./complaint.ts";
import { agreements, safeguards, subprocessors } from "./compliance.ts";
import { formatted, reference, text, wholeNumber } from "./fields.ts";

const price = z.number().min(0, { error: complaint("invalid-value", "must not be negative") });

export const deploymentSpec = z.strictObject({
  version: reference.describe("The ModelVersion that is served."),
  upstream: reference.describe("The Upstream that serves it."),
  region: formatted(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'a region in lower case, such as "eu" or "eu-central-1"'),
  country: text(64).describe("Where it runs: ISO 3166-1 alpha-2."),
  wireName: text(256)
    .exactOptional()
    .describe("The model's name towards this deployment; the version's `version` unless given."),
  api: z
    .enum(["openai-chat", "openai-responses", "openai-embeddings", "anthropic-messages", "other"])
    .default("openai-chat"),
  path: formatted(/^\/[\x21\x22\x24-\x7e]{0,1023}$/, 'a path that begins with "/"')
    .exactOptional()
    .describe("Replaces path and query towards this deployment."),
  weight: wholeNumber(1, 1_000_000).default(1).describe("Share among deployments of the same version."),
  cost: z
    .strictObject({
      inputPerMillion: price,
      outputPerMillion: price,
      currency: formatted(/^[A-Z]{3}$/, "an ISO 4217 code such as EUR"),
    })
    .exactOptional(),
  latencyMs: wholeNumber(1, 3_600_000)
    .exactOptional()
    .describe("Milliseconds in which an answer is expected to begin (median), as declared; prefer rules may read it."),
  capacity: z
    .strictObject({
      requestsPerMinute: wholeNumber(1, 1_000_000_000).exactOptional(),
      tokensPerMinute: wholeNumber(1, 1_000_000_000_000).exactOptional(),
    })
    .exactOptional(),
  subprocessors,
  agreements,
  safeguards,
});
