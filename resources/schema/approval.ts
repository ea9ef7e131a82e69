import { z } from "zod";
import { jurisdiction } from "./application.ts";
import { complaint } from "./complaint.ts";
import { distinct, prose, reference, text, timestamp } from "./fields.ts";

export const approvalConditions = distinct(prose(1_024), 8)
  .default([])
  .describe(
    "CEL over the words of restrict rules, but for target.approved: the approval holds for requests for which all of them are true.",
  );

export const approvalSpec = z.strictObject({
  version: reference.describe("The ModelVersion that may answer."),
  application: reference.describe("The Application that it may answer."),
  jurisdictions: distinct(jurisdiction, 256).default([]).describe("Where; empty: everywhere."),
  approvers: distinct(text(256), 64)
    .min(1, { error: complaint("invalid-value", "an approval needs at least 1 approver") })
    .describe("Who approved."),
  identity: z
    .strictObject({
      model: text(1_280).exactOptional().describe("Key of its Model."),
      version: text(256).exactOptional().describe("Its spec.version."),
      provider: text(256).exactOptional(),
      digest: text(256).exactOptional(),
    })
    .exactOptional()
    .describe("What the version was when it was approved: where the object says otherwise now, that is an error."),
  conditions: approvalConditions,
  validFrom: timestamp.exactOptional(),
  validUntil: timestamp.exactOptional(),
});
