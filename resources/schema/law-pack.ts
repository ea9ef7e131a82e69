import { z } from "zod";
import { LAW_REVIEWS } from "../law-pack.ts";
import { jurisdiction } from "./application.ts";
import { complaint } from "./complaint.ts";
import { distinct, formatted, list, prose, text, timestamp } from "./fields.ts";
import { expression } from "./policy.ts";

const mode = z.enum(["enforce", "shadow", "off"]).default("enforce");

const date = formatted(/^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$/, "a date such as 2026-11-21");

const review = z
  .enum(LAW_REVIEWS)
  .describe(
    "unreviewed: not found in the source, must be off. sourced: as the source says. reviewed: by your counsel.",
  );

const lawRule = z.strictObject({
  id: formatted(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/, "a short name of letters, digits, - . _"),
  article: text(256).describe("Where in the instrument it stands."),
  effect: z.enum(["deny", "restrict"]).describe("A law pack only tightens."),
  when: expression.exactOptional().describe("CEL; always, unless given."),
  require: expression.exactOptional().describe("restrict: CEL that a target must satisfy while `when` holds."),
  effectiveFrom: timestamp.exactOptional().describe("In force from this moment on; already in force unless given."),
  effectiveTo: timestamp.exactOptional().describe("No longer in force from this moment on."),
  mode,
  review,
  reason: prose(2_048)
    .min(1, { error: complaint("invalid-value", "must not be empty", "it is what refused callers are told") })
    .describe("Told to callers that are refused, and recorded."),
  owner: text(256).exactOptional(),
});

const adequateCountry = z.strictObject({
  country: text(64).describe("ISO 3166-1 alpha-2."),
  reference: text(512).describe("The decision."),
  effectiveFrom: timestamp.exactOptional(),
  effectiveTo: timestamp.exactOptional(),
  review: review.describe("unreviewed: does not count."),
});

export const lawPackSpec = z.strictObject({
  instrument: text(512).describe("The law, by its full name."),
  jurisdiction,
  version: date.describe("Of this pack: the date of its last change."),
  source: text(2_048).describe("What it was written from."),
  asOf: date.describe("The date of the source."),
  mode: mode.describe("Of all its rules: a rule is never in a stronger mode than its pack."),
  references: distinct(text(512), 64).default([]).describe("Further references."),
  adequacy: list(adequateCountry, 0, 256)
    .default([])
    .describe("Countries with adequate protection of personal data; only in the root scope."),
  rules: list(lawRule, 1, 1_000),
});
