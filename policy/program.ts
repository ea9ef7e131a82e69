import type {
  Agreement,
  Capacity,
  Declarations,
  DnsLookup,
  Documentation,
  GeneralPurpose,
  GovernanceMode,
  Key,
  Maturity,
  MinimumScore,
  ModelSource,
  RuleEffect,
  RuleMode,
  Safeguard,
  Scope,
  Subprocessor,
} from "../resources/index.ts";

/**
 * Something that is out of use: a denial that no rule and no mode can loosen. `application` denies its requests;
 * `version`, `model`, `upstream` and `region` take candidates away; `rule` takes back what an allow or reroute rule gives.
 */
export interface Restriction {
  readonly id: string;
  readonly kind: "version" | "application" | "upstream" | "region" | "rule" | "model";
  /** Key, region name or rule id, as `kind` says. */
  readonly value: string;
  readonly reason: string;
  /** RFC 3339; absent (or not a time): no end. */
  readonly until?: string;
}

/**
 * The policy part of a revision: rules and the facts they read, as plain data that survives JSON. Nothing here is
 * compiled; `compilePolicy` makes closures of it in the process that decides.
 */
export interface PolicyProgram {
  readonly rules: readonly ProgramRule[];
  readonly applications: readonly ApplicationFacts[];
  readonly models: readonly ModelFacts[];
  readonly targets: readonly Target[];
  readonly approvals: readonly ApprovalFacts[];
  readonly splits?: readonly SplitFacts[];
  /** Gateways in observe mode: policy denials are recorded and let through. */
  readonly observedGateways?: readonly Key[];
  /** Authored restrictions; those that are given while it is in force come with the request. */
  readonly restrictions?: readonly Restriction[];
  /** Countries with a protection of personal data that is decided to be adequate. */
  readonly adequate?: readonly AdequateCountry[];
}

/** Times are RFC 3339; an absent bound does not bound. */
export interface AdequateCountry {
  /** ISO 3166-1 alpha-2. */
  readonly country: string;
  readonly from?: string;
  readonly to?: string;
}

export interface ProgramRule {
  /** `<policy key>/<rule id>`: unique in a program. */
  readonly id: string;
  readonly scope: Scope;
  /** Absent: attached to callers of `scope` and below. */
  readonly target?: { readonly kind: "Gateway" | "HTTPRoute" | "Model"; readonly key: Key };
  readonly effect: RuleEffect;
  readonly mode: RuleMode;
  readonly when?: string;
  readonly require?: string;
  readonly to?: { readonly model?: Key; readonly version?: Key; readonly upstream?: Key };
  readonly score?: string;
  readonly reason: string;
  readonly references: readonly string[];
  readonly owner?: string;
  /** RFC 3339; in force from here on, absent: always. Only of deny and restrict rules. */
  readonly effectiveFrom?: string;
  /** RFC 3339; no longer in force from here on. */
  readonly effectiveTo?: string;
}

/** `application.*` of rules, and how requests are recognised as its own. */
export interface ApplicationFacts {
  readonly key: Key;
  readonly scope: Scope;
  readonly mode: GovernanceMode;
  readonly purpose: string;
  readonly riskTier: string;
  readonly riskBasis?: readonly string[];
  readonly decidesAboutPeople?: boolean;
  /** RFC 3339. */
  readonly onMarketSince?: string;
  /** Only what is declared. */
  readonly declarations?: Partial<Declarations>;
  readonly recordRetentionDays?: number;
  readonly dataClasses: readonly string[];
  readonly jurisdictions: readonly string[];
  readonly minimumMaturity?: Maturity;
  readonly minimumScores: readonly MinimumScore[];
  readonly durability: "strict" | "bestEffort";
  /** Models that may answer in place of the requested one, in order. */
  readonly substitutes: readonly Key[];
  /** CEL of type string: the unit of splits that do not say it themselves. */
  readonly stickyKey?: string;
  readonly apiKeys: readonly {
    readonly id: string;
    readonly sha256: string;
    readonly subject: Readonly<Record<string, string>>;
  }[];
  readonly jwt: readonly {
    readonly issuer: string;
    readonly audiences: readonly string[];
    readonly claims: Readonly<Record<string, string>>;
    readonly subject: Readonly<Record<string, string>>;
  }[];
  readonly anonymous: boolean;
  readonly labels: Readonly<Record<string, string>>;
}

/** `model.*` of rules. */
export interface ModelFacts {
  readonly key: Key;
  readonly scope: Scope;
  readonly names: readonly string[];
  readonly source: ModelSource;
  readonly approval: "required" | "notRequired";
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * What may answer: one pool, that is one Envoy cluster whose endpoints are equal in every field a rule can read.
 * `target.*` of rules.
 */
export interface Target {
  /** Name of the pool, of its priority group and of its Envoy cluster. */
  readonly pool: string;
  readonly kind: "model" | "upstream";
  readonly upstream: Key;
  readonly labels: Readonly<Record<string, string>>;
  /** Whether the client's own Authorization is passed on. */
  readonly credential: "passThrough" | "none" | "inject";
  /** false: also served to clients that ask for no decision. */
  readonly governed?: false;
  /** CIDR ranges of the endpoints that a live feed may set; absent: none. */
  readonly ranges?: readonly string[];
  /** Names whose addresses are fed; absent: none. */
  readonly dns?: readonly DnsLookup[];
  /** Present for kind "model". */
  readonly model?: ModelTarget;
}

export interface ModelTarget {
  readonly model: Key;
  /** Key of the ModelVersion. */
  readonly version: Key;
  readonly versionName: string;
  /** Position among the model's versions, 0 the oldest. */
  readonly age: number;
  readonly deployment: Key;
  readonly provider: string;
  readonly digest?: string;
  readonly owner?: string;
  /** Absent: "no". */
  readonly generalPurpose?: GeneralPurpose;
  /** Only what is declared. */
  readonly documentation?: Partial<Documentation>;
  readonly maturity: Maturity;
  readonly region: string;
  readonly country: string;
  readonly api: string;
  readonly wireName: string;
  readonly path?: string;
  readonly weight: number;
  readonly trainingData: { readonly gdprBasis: string; readonly attestation?: string; readonly cutoff?: string };
  readonly certifications: readonly {
    readonly name: string;
    readonly reference?: string;
    readonly validFrom?: string;
    readonly validUntil?: string;
  }[];
  readonly scores: readonly {
    readonly metric: string;
    readonly slice: string;
    readonly value: number;
    readonly n?: number;
    readonly evaluatedAt?: string;
  }[];
  /** Declared: median time until an answer begins. */
  readonly latencyMs?: number;
  readonly cost?: { readonly inputPerMillion: number; readonly outputPerMillion: number; readonly currency: string };
  readonly capacity?: Capacity;
  readonly subprocessors?: readonly Subprocessor[];
  readonly agreements?: readonly Agreement[];
  readonly safeguards?: readonly Safeguard[];
}

/** Times are RFC 3339; an absent bound does not bound. */
export interface ApprovalFacts {
  readonly key: Key;
  readonly version: Key;
  readonly application: Key;
  readonly jurisdictions: readonly string[];
  /** CEL, asked for each request: it holds while all are true. Absent: none. */
  readonly conditions?: readonly string[];
  readonly validFrom?: string;
  readonly validUntil?: string;
  /** The ApprovalRule that it comes from; absent: an Approval. */
  readonly rule?: Key;
}

/** Divides requests of a model, that name no version of it, among its versions. Shares in percent. */
export type SplitFacts = RolloutFacts | ExperimentFacts;

interface CommonSplitFacts {
  readonly key: Key;
  readonly scope: Scope;
  readonly model: Key;
  /** Which requests; absent: all. */
  readonly when?: string;
  readonly stickyKey?: string;
  readonly salt: string;
  /** Units that are left out, the same ones in all splits of the model. */
  readonly holdout: number;
}

export interface RolloutFacts extends CommonSplitFacts {
  readonly kind: "Rollout";
  readonly to: Key;
  /** Best first; absent: the versions older than `to`. */
  readonly from?: readonly Key[];
  readonly share: number;
  readonly segments: readonly { readonly when: string; readonly version: Key }[];
  /** The version that gets copies of so many percent of requests. */
  readonly mirror?: { readonly version: Key; readonly share: number };
}

export interface ExperimentFacts extends CommonSplitFacts {
  readonly kind: "Experiment";
  readonly arms: readonly { readonly name: string; readonly version: Key; readonly weight: number }[];
  readonly share: number;
  readonly validFrom?: string;
  readonly validUntil?: string;
}
