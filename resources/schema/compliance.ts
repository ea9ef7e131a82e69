import { z } from "zod";
import { AGREEMENT_KINDS, GENERAL_PURPOSE } from "../compliance.ts";
import { list, prose, text, timestamp } from "./fields.ts";

const country = text(64).describe("ISO 3166-1 alpha-2.");
const validity = { validFrom: timestamp.exactOptional(), validUntil: timestamp.exactOptional() };

export const subprocessors = list(z.strictObject({ name: text(256), country }), 0, 64)
  .default([])
  .describe("Who else processes requests, and where.");

export const agreements = list(
  z.strictObject({
    kind: z.enum(AGREEMENT_KINDS),
    subprocessor: text(256).exactOptional().describe("Its name; with whoever runs the deployment unless given."),
    reference: text(2048),
    ...validity,
  }),
  0,
  256,
)
  .default([])
  .describe("Contracts about the processing of data, with whoever runs the deployment and with its subprocessors.");

export const safeguards = list(
  z.strictObject({
    country,
    kind: z.enum(["standard-clauses", "binding-rules", "other"]),
    reference: text(2048),
    ...validity,
  }),
  0,
  256,
)
  .default([])
  .describe("What permits a transfer of personal data to a country, such as standard contractual clauses.");

const declared = (description: string) => prose(2048).default("").describe(description);

const NO_DOCUMENTATION = { provider: "", systemicRisk: "" };

export const documentation = z
  .strictObject({
    provider: declared("Where the provider's technical documentation is."),
    systemicRisk: declared("Where the provider's assessment of systemic risks is."),
  })
  .default(NO_DOCUMENTATION);

export const generalPurpose = z
  .enum(GENERAL_PURPOSE)
  .default("no")
  .describe("general: a general-purpose AI model; systemic: one with systemic risk.");

const NO_DECLARATIONS = {
  disclosure: "",
  contentMarking: "",
  humanOversight: "",
  humanReview: "",
  specialCategoryCondition: "",
};

export const declarations = z
  .strictObject({
    disclosure: declared("How people are told that they deal with an AI system."),
    contentMarking: declared("How generated content is marked as such."),
    humanOversight: declared("How people oversee it."),
    humanReview: declared("How a person reviews its decisions about people."),
    specialCategoryCondition: declared("The condition for special categories of personal data (GDPR Art. 9)."),
  })
  .default(NO_DECLARATIONS)
  .describe("What the owner of the use case declares, in words or as a reference; empty: nothing.");
