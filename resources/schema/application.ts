import { z } from "zod";
import { MATURITIES } from "../models.ts";
import { complaint, refused } from "./complaint.ts";
import { declarations } from "./compliance.ts";
import {
  distinct,
  duration,
  filePath,
  formatted,
  list,
  prose,
  reference,
  text,
  timestamp,
  wholeNumber,
} from "./fields.ts";
import { stickyKey } from "./split.ts";

const HASH_IT = "write its hash instead, sha256: … as printed by: printf %s KEY | sha256sum";
const HOUR = 3_600_000;
const RESERVED = ["kind", "id", "claims"];

export const jurisdiction = formatted(
  /^[A-Z]{2}(-[A-Z0-9]{1,3})?$/,
  "a jurisdiction in capital letters",
  "EU, a country such as DE, or a part of one such as US-CA",
);

/** Rules read these as `subject.<field>`, so they must be identifiers and not shadow what is already there. */
const subjectField = formatted(
  /^[A-Za-z_][A-Za-z0-9_]{0,63}$/,
  "an identifier",
  "rules read it as subject.NAME",
).refine((field) => !RESERVED.includes(field), {
  error: complaint("invalid-value", "this name is taken", `subject has ${RESERVED.join(", ")} of its own`),
});

const apiKey = z.strictObject({
  id: formatted(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/, "a short name of letters, digits, - . _").describe(
    "Names the key in records.",
  ),
  // A wrong value may be the key itself: it is never repeated in a message.
  sha256: z
    .string({ error: complaint("invalid-value", "must be the SHA-256 of the key as 64 hex digits in quotes", HASH_IT) })
    .regex(/^[0-9a-fA-F]{64}$/, {
      error: complaint("inline-secret", "not a SHA-256 (64 hex digits); this looks like a key itself", HASH_IT),
    })
    .transform((hex) => hex.toLowerCase())
    .describe("SHA-256 of the key in hex: printf %s KEY | sha256sum"),
  subject: z.record(subjectField, prose(1024)).default({}).describe("subject.NAME of callers with this key."),
  key: refused("inline-secret", "a key does not belong into the YAML", HASH_IT),
  value: refused("inline-secret", "a key does not belong into the YAML", HASH_IT),
});

const jwks = z.strictObject({
  file: filePath.exactOptional(),
  url: formatted(/^https:\/\/[^\s]{1,2000}$/, "an https URL").exactOptional(),
});

const jwt = z.strictObject({
  issuer: text(2048).describe("`iss` of the tokens."),
  audiences: distinct(text(2048), 64).default([]).describe("`aud` must have one of these; empty: not checked."),
  jwks: jwks.describe("Where the issuer's keys are: a JWKS file in the tree, or an https URL."),
  claims: z.record(text(256), prose(1024)).default({}).describe("Claims that a token of this application carries."),
  subject: z.record(subjectField, text(256)).default({}).describe("subject.NAME ← name of the claim."),
});

export const applicationSpec = z.strictObject({
  mode: z.enum(["enforce", "observe"]).default("enforce"),
  purpose: text(2048).describe("The use case, in words."),
  riskTier: z.enum(["prohibited", "high", "transparency", "limited", "minimal"]).describe("Risk of the use case."),
  riskBasis: distinct(text(128), 64)
    .default([])
    .describe(
      "Why its risk is what it is: annex-iii-employment, annex-i, non-consensual-intimate-imagery and the like.",
    ),
  decidesAboutPeople: z.boolean().default(false).describe("Whether it decides about people by itself."),
  onMarketSince: timestamp
    .exactOptional()
    .describe("Since when it is on the market or in use; a new one unless given."),
  declarations,
  recordRetentionDays: wholeNumber(0, 36_525)
    .default(0)
    .describe("Days for which its records are kept where they are archived; 0: nothing is declared."),
  dataClasses: distinct(text(64), 64).default([]),
  jurisdictions: distinct(jurisdiction, 256).default([]),
  minimumMaturity: z.enum(MATURITIES).exactOptional(),
  minimumScores: list(
    z.strictObject({
      metric: text(128),
      slice: text(128).default("all"),
      value: z.number(),
      n: wholeNumber(1, Number.MAX_SAFE_INTEGER).exactOptional().describe("Least number of evaluated samples."),
      maxAge: duration(HOUR, 99_999 * HOUR)
        .exactOptional()
        .describe("A score that was evaluated longer ago counts as missing, and so does one without a date."),
    }),
    0,
    64,
  ).default([]),
  durability: z
    .enum(["strict", "bestEffort"])
    .default("strict")
    .describe("strict: without a durable record the request is refused. bestEffort: answered, and the loss counted."),
  substitutes: list(reference, 0, 64).default([]).describe("Models that may answer instead, in order."),
  stickyKey: stickyKey.exactOptional(),
  apiKeys: list(apiKey, 0, 1_000).default([]),
  jwt: list(jwt, 0, 64).default([]),
  anonymous: z.boolean().default(false).describe("Requests without any identity belong to this application."),
});
