import { z } from "zod";
import { MATURITIES } from "../models.ts";
import { complaint } from "./complaint.ts";
import { documentation, generalPurpose } from "./compliance.ts";
import { formatted, list, reference, text, timestamp, wholeNumber } from "./fields.ts";

const finite = z.number();

const trainingData = z.strictObject({
  gdprBasis: z
    .string()
    .max(256, { error: complaint("invalid-value", "at most 256 characters") })
    .default("")
    .describe("Lawful basis under GDPR Art. 6, as attested; empty when nothing is attested."),
  attestation: text(2048).exactOptional().describe("Where the attestation is found."),
  cutoff: formatted(
    /^\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?$/,
    "a date such as 2025-06 or 2025-06-30",
  ).exactOptional(),
});

const certification = z.strictObject({
  name: text(256),
  reference: text(2048).exactOptional(),
  validFrom: timestamp.exactOptional(),
  validUntil: timestamp.exactOptional(),
});

const score = z.strictObject({
  metric: text(128),
  slice: text(128).default("all").describe('Part of the evaluation data; "all" unless given.'),
  value: finite,
  n: wholeNumber(0, Number.MAX_SAFE_INTEGER).exactOptional().describe("Number of evaluated samples."),
  evaluatedAt: timestamp.exactOptional(),
});

export const modelVersionSpec = z.strictObject({
  model: reference.describe("The Model that this is a version of."),
  version: formatted(/^[^\s@\p{Cc}]{1,128}$/u, 'a version without spaces and "@"'),
  digest: formatted(/^[a-z0-9]+([+._-][a-z0-9]+)*:[0-9a-f]{32,128}$/, "a digest such as sha256:<hex>").exactOptional(),
  provider: text(256),
  maturity: z.enum(MATURITIES),
  owner: text(256).exactOptional(),
  releasedAt: timestamp.exactOptional().describe("Decides which version is newer; the version string where absent."),
  generalPurpose,
  documentation,
  trainingData: trainingData.default({ gdprBasis: "" }),
  certifications: list(certification, 0, 256).default([]),
  scores: list(score, 0, 4_096).default([]),
});
