import { z } from "zod";
import { jurisdiction } from "./application.ts";
import { approvalConditions } from "./approval.ts";
import { distinct, duration, labels, list, prose, reference, text, timestamp } from "./fields.ts";

const HOUR = 3_600_000;

export const approvalRuleSpec = z.strictObject({
  model: reference
    .exactOptional()
    .describe("Every version of this Model, in the rule's scope or below; or `versions`."),
  versions: list(reference, 1, 256).exactOptional().describe("The ModelVersions in question; or `model`."),
  applications: list(reference, 1, 256).exactOptional().describe("Which they may answer; or `applicationLabels`."),
  applicationLabels: labels
    .exactOptional()
    .describe("Every Application with all of these labels, in the rule's scope or below; or `applications`."),
  jurisdictions: distinct(jurisdiction, 256).default([]).describe("Where; empty: everywhere."),
  when: prose(8_192).describe("CEL over application.* and what is known of a version (target.*): true approves."),
  conditions: approvalConditions,
  validFor: duration(HOUR, 99_999 * HOUR).describe(
    "How long a score counts after its evaluation; an older one is missing, and so is one without a date.",
  ),
  validFrom: timestamp.exactOptional(),
  validUntil: timestamp.describe("No approval by this rule goes beyond it."),
  reason: text(2048).describe("Why whatever satisfies the condition may answer."),
  owner: text(256).describe("Who answers for the rule."),
});
