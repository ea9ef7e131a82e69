import type { Agreement, Documentation, GeneralPurpose, Safeguard, Subprocessor } from "./compliance.ts";
import type { Key, Meta } from "./inventory.ts";

/** Models by name, their versions, and where each is deployed. */

export interface Model extends Meta {
  /** The names by which applications ask for it; the object's own name unless others are given. */
  readonly names: readonly string[];
  readonly source: ModelSource;
  /** `required`: a version may answer an application only while an Approval for the two is valid. */
  readonly approval: "required" | "notRequired";
  /** Streamed answers: time to the response headers of one attempt. */
  readonly firstByteMs: number;
  /** Whole answers: time of the request over all attempts; a slow one is not tried again. */
  readonly wholeAnswerMs: number;
  /** Longest life of a streamed answer; 0: no bound. */
  readonly maxStreamMs: number;
  /** Attempts over the whole chain, the first included (1 to 5). */
  readonly maxAttempts: number;
  /** Largest request body that is taken (bytes). */
  readonly maxBodyBytes: number;
}

/** Where the requested model's name stands in a request. */
export type ModelSource =
  /** A top-level member of a JSON body, as a JSON pointer ("/model"). */
  | { readonly type: "body"; readonly pointer: string }
  | { readonly type: "query"; readonly parameter: string }
  /** A header; the path as a template, "/v1/models/{model}/generate". */
  | { readonly type: "header"; readonly header: string }
  | { readonly type: "path"; readonly template: string }
  /** The route stands for this one model. */
  | { readonly type: "route" };

export const MATURITIES = ["experimental", "shadow", "canary", "production", "deprecated", "retired"] as const;
export type Maturity = (typeof MATURITIES)[number];

export interface ModelVersion extends Meta {
  readonly model: Key;
  readonly version: string;
  readonly digest?: string;
  readonly provider: string;
  readonly maturity: Maturity;
  readonly owner?: string;
  /** RFC 3339; decides which version is newer, the version string where it is absent. */
  readonly releasedAt?: string;
  readonly generalPurpose: GeneralPurpose;
  readonly documentation: Documentation;
  readonly trainingData: TrainingData;
  readonly certifications: readonly Certification[];
  readonly scores: readonly Score[];
}

export interface TrainingData {
  /** Lawful basis under GDPR Art. 6, as attested; "" when nothing is attested. */
  readonly gdprBasis: string;
  readonly attestation?: string;
  readonly cutoff?: string;
}

export interface Certification {
  readonly name: string;
  readonly reference?: string;
  readonly validFrom?: string;
  readonly validUntil?: string;
}

export interface Score {
  readonly metric: string;
  readonly slice: string;
  readonly value: number;
  readonly n?: number;
  readonly evaluatedAt?: string;
}

export interface Deployment extends Meta {
  readonly version: Key;
  readonly upstream: Key;
  readonly region: string;
  /** ISO 3166-1 alpha-2. */
  readonly country: string;
  /** The model's name in requests to this deployment. */
  readonly wireName: string;
  readonly api: "openai-chat" | "openai-responses" | "openai-embeddings" | "anthropic-messages" | "other";
  /** Replaces the request's path (query included) towards this deployment. */
  readonly path?: string;
  /** Share among deployments of the same version; relative. */
  readonly weight: number;
  readonly cost?: { readonly inputPerMillion: number; readonly outputPerMillion: number; readonly currency: string };
  /** Declared: median time until an answer begins. */
  readonly latencyMs?: number;
  readonly capacity?: Capacity;
  readonly subprocessors: readonly Subprocessor[];
  readonly agreements: readonly Agreement[];
  readonly safeguards: readonly Safeguard[];
}

export interface Capacity {
  readonly requestsPerMinute?: number;
  readonly tokensPerMinute?: number;
}
