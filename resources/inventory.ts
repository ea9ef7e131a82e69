import type { ApprovedIdentity } from "./approval-checks.ts";
import type { Declarations } from "./compliance.ts";
import type { LawPack } from "./law-pack.ts";
import type { Deployment, Maturity, Model, ModelVersion } from "./models.ts";
import type { PolicyTest } from "./policy-tests.ts";
import type { Gateway, HTTPRoute, Secret, Upstream } from "./traffic.ts";

export type * from "./models.ts";
export type * from "./policy-tests.ts";
export type * from "./traffic.ts";

/**
 * What people wrote, checked and cross-referenced, as plain data: every reference resolved to the key of what it names,
 * every default filled in, every duration in milliseconds. Positions in files live beside it (`positions.ts`).
 */

/** A directory of the resource tree, "/"-separated, "." for its root: organisation/unit/team/application. */
export type Scope = string;

/** `<scope>/<name>`, or `<name>` in the root scope. Unique within a kind. */
export type Key = string;

export interface Meta {
  readonly key: Key;
  readonly name: string;
  readonly scope: Scope;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** `observe`: decide, record and count, but let through what would have been denied by policy. */
export type GovernanceMode = "enforce" | "observe";

export interface MinimumScore {
  readonly metric: string;
  readonly slice: string;
  readonly value: number;
  /** Least number of evaluated samples. */
  readonly n?: number;
  /** Milliseconds after its evaluation from which a score counts as missing. */
  readonly maxAgeMs?: number;
}

export interface Application extends Meta {
  readonly mode: GovernanceMode;
  readonly purpose: string;
  readonly riskTier: "prohibited" | "high" | "transparency" | "limited" | "minimal";
  readonly riskBasis: readonly string[];
  readonly decidesAboutPeople: boolean;
  /** RFC 3339. */
  readonly onMarketSince?: string;
  readonly declarations: Declarations;
  /** Days; 0: nothing is declared. */
  readonly recordRetentionDays: number;
  readonly dataClasses: readonly string[];
  readonly jurisdictions: readonly string[];
  readonly minimumMaturity?: Maturity;
  readonly minimumScores: readonly MinimumScore[];
  /** `strict`: without a durable record the request is refused; `bestEffort`: answered, and the loss counted. */
  readonly durability: "strict" | "bestEffort";
  /** Models that may answer in place of the requested one, in order. */
  readonly substitutes: readonly Key[];
  /** CEL of type string: who counts as one unit in splits that do not say it themselves. */
  readonly stickyKey?: string;
  readonly apiKeys: readonly ApiKey[];
  readonly jwt: readonly JwtIdentity[];
  /** Requests that bring no identity belong to this application. At most one in a tree. */
  readonly anonymous: boolean;
}

export interface ApiKey {
  /** Names the key in records, never the key itself. */
  readonly id: string;
  /** Lower-case hex. */
  readonly sha256: string;
  readonly subject: Readonly<Record<string, string>>;
}

export interface JwtIdentity {
  readonly issuer: string;
  readonly audiences: readonly string[];
  /** Where the keys come from: a JWKS file (relative to the tree's root) or an https URL that control fetches. */
  readonly jwks: { readonly file: string } | { readonly url: string };
  /** Claims that a token must carry to belong to this application; a list claim must contain the value. */
  readonly claims: Readonly<Record<string, string>>;
  /** `subject.<field>` ← claim name. */
  readonly subject: Readonly<Record<string, string>>;
}

export interface Approval extends Meta {
  readonly version: Key;
  readonly application: Key;
  /** Empty: every jurisdiction. */
  readonly jurisdictions: readonly string[];
  readonly approvers: readonly string[];
  /** What the version was when it was approved; absent: whatever the object stands for. */
  readonly identity?: ApprovedIdentity;
  /** CEL, asked for each request: it holds while all are true. */
  readonly conditions: readonly string[];
  readonly validFrom?: string;
  readonly validUntil?: string;
}

/** Approves by itself what satisfies a condition. */
export interface ApprovalRule extends Meta {
  /** Its versions, as far as they are in the rule's scope or below; absent: `versions`. */
  readonly model?: Key;
  readonly versions: readonly Key[];
  readonly applications: readonly Key[];
  /** Applications in the rule's scope or below that carry all of these; absent: `applications`. */
  readonly applicationLabels?: Readonly<Record<string, string>>;
  /** Empty: every jurisdiction. */
  readonly jurisdictions: readonly string[];
  /** CEL. */
  readonly when: string;
  /** As those of an Approval, for every approval by this rule. */
  readonly conditions: readonly string[];
  /** Milliseconds after its evaluation for which a score counts. */
  readonly validForMs: number;
  readonly validFrom?: string;
  readonly validUntil: string;
  readonly reason: string;
  readonly owner: string;
}

/** What Rollout and Experiment have in common. Binds callers of its scope, all callers where it stands above the model. */
interface Split extends Meta {
  readonly model: Key;
  /** CEL; absent: every request. */
  readonly when?: string;
  /** CEL of type string; absent: the application's, else the subject's id or a caller's address. */
  readonly stickyKey?: string;
  readonly salt: string;
  /** Percent of units, the same ones in all splits of a model, that are left out. */
  readonly holdout: number;
}

/** Moves requests from versions of a model to another one, step by step. */
export interface Rollout extends Split {
  readonly to: Key;
  /** Best first; absent: the versions older than `to`. */
  readonly from?: readonly Key[];
  /** Ascending shares in percent. */
  readonly steps: readonly number[];
  /** Steps taken; the share is that of the last one, 0 before the first. */
  readonly step: number;
  readonly segments: readonly { readonly when: string; readonly version: Key }[];
  /** Copies of so many percent of requests go to a version whose answers nobody sees. */
  readonly mirror?: { readonly version: Key; readonly share: number };
}

/** Gives versions of a model to units, so that they can be compared. */
export interface Experiment extends Split {
  readonly arms: readonly { readonly name: string; readonly version: Key; readonly weight: number }[];
  /** Percent of units that are enrolled. */
  readonly share: number;
  readonly validFrom?: string;
  readonly validUntil?: string;
}

/** An authored restriction: in force with the revision that holds it. */
export interface Quarantine extends Meta {
  readonly kind: "version" | "application" | "upstream" | "region" | "rule" | "model";
  /** Key of the object, name of the region, or `<policy>/<rule>`. */
  readonly value: string;
  readonly reason: string;
  /** Absent: no end. */
  readonly until?: string;
}

export type RuleEffect = "deny" | "allow" | "restrict" | "reroute" | "prefer";
export type RuleMode = "enforce" | "shadow" | "off";

export interface Policy extends Meta {
  /** Absent: callers (applications) of the policy's scope and below; else all callers of what is named. */
  readonly target?: { readonly kind: "Gateway" | "HTTPRoute" | "Model"; readonly key: Key };
  readonly rules: readonly Rule[];
}

/** One rule; all expressions are CEL. */
export interface Rule {
  readonly id: string;
  readonly effect: RuleEffect;
  /** Absent: always. */
  readonly when?: string;
  /** restrict: what a target must satisfy while `when` holds. */
  readonly require?: string;
  /** reroute: what is asked for instead. */
  readonly to?: { readonly model?: Key; readonly version?: Key; readonly upstream?: Key };
  /** prefer: a number for a target; higher is better. */
  readonly score?: string;
  readonly mode: RuleMode;
  readonly reason: string;
  readonly references: readonly string[];
  readonly owner?: string;
}

export interface Inventory {
  readonly gateways: readonly Gateway[];
  readonly httpRoutes: readonly HTTPRoute[];
  readonly secrets: readonly Secret[];
  readonly upstreams: readonly Upstream[];
  readonly models: readonly Model[];
  readonly modelVersions: readonly ModelVersion[];
  readonly deployments: readonly Deployment[];
  readonly applications: readonly Application[];
  readonly approvals: readonly Approval[];
  readonly approvalRules: readonly ApprovalRule[];
  readonly policies: readonly Policy[];
  readonly lawPacks: readonly LawPack[];
  readonly rollouts: readonly Rollout[];
  readonly experiments: readonly Experiment[];
  readonly quarantines: readonly Quarantine[];
  readonly policyTests: readonly PolicyTest[];
}
