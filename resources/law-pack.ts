import type { Meta, RuleMode } from "./inventory.ts";

export const LAW_REVIEWS = ["unreviewed", "sourced", "reviewed"] as const;
/** `unreviewed`: not found in the source, and off; `sourced`: as the source says; `reviewed`: by counsel. */
export type LawReview = (typeof LAW_REVIEWS)[number];

/** Dated rules of one law, for callers of its scope and below. */
export interface LawPack extends Meta {
  readonly instrument: string;
  readonly jurisdiction: string;
  /** Date of the pack's last change. */
  readonly version: string;
  readonly source: string;
  /** Date of the source. */
  readonly asOf: string;
  readonly references: readonly string[];
  readonly adequacy: readonly AdequacyDecision[];
  readonly rules: readonly LawRule[];
}

/** Times are RFC 3339. */
export interface LawRule {
  readonly id: string;
  readonly article: string;
  readonly effect: "deny" | "restrict";
  readonly when?: string;
  readonly require?: string;
  readonly effectiveFrom?: string;
  readonly effectiveTo?: string;
  /** Its own or its pack's, whichever is weaker. */
  readonly mode: RuleMode;
  readonly review: LawReview;
  readonly reason: string;
  readonly owner?: string;
}

export interface AdequacyDecision {
  /** ISO 3166-1 alpha-2. */
  readonly country: string;
  readonly reference: string;
  readonly effectiveFrom?: string;
  readonly effectiveTo?: string;
  readonly review: LawReview;
}
