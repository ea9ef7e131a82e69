/** What people attest about where and under which terms requests are processed, and about a use case: facts for rules. */

/** Somebody who processes requests on behalf of whoever runs a deployment. */
export interface Subprocessor {
  readonly name: string;
  /** ISO 3166-1 alpha-2. */
  readonly country: string;
}

export const AGREEMENT_KINDS = ["data-processing", "business-associate"] as const;
export type AgreementKind = (typeof AGREEMENT_KINDS)[number];

/** A contract about the processing of data. Times are RFC 3339; an absent bound does not bound. */
export interface Agreement {
  readonly kind: AgreementKind;
  /** Name of a subprocessor; absent: with whoever runs the deployment. */
  readonly subprocessor?: string;
  readonly reference: string;
  readonly validFrom?: string;
  readonly validUntil?: string;
}

/** Why data may be processed in a country outside. */
export interface Safeguard {
  /** ISO 3166-1 alpha-2. */
  readonly country: string;
  readonly kind: "standard-clauses" | "binding-rules" | "other";
  readonly reference: string;
  readonly validFrom?: string;
  readonly validUntil?: string;
}

/** Where the documents of a version are; "" where nothing is declared. */
export interface Documentation {
  /** The provider's technical documentation. */
  readonly provider: string;
  /** Its assessment of systemic risks. */
  readonly systemicRisk: string;
}

export const GENERAL_PURPOSE = ["no", "general", "systemic"] as const;
/** `systemic`: a general-purpose model with systemic risk. */
export type GeneralPurpose = (typeof GENERAL_PURPOSE)[number];

/** What the owner of a use case declares, each in words or as a reference; "" where nothing is declared. */
export interface Declarations {
  /** How people are told that they deal with an AI system. */
  readonly disclosure: string;
  /** How generated content is marked. */
  readonly contentMarking: string;
  /** How people oversee the system. */
  readonly humanOversight: string;
  /** How a person reviews decisions about people. */
  readonly humanReview: string;
  /** The condition under which special categories of personal data are processed. */
  readonly specialCategoryCondition: string;
}
