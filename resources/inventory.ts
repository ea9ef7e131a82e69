import type { Agreement, Declarations, Documentation, GeneralPurpose, Safeguard, Subprocessor } from "./compliance.ts";
import type { LawPack } from "./law-pack.ts";

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

export interface Gateway extends Meta {
  readonly mode: GovernanceMode;
  readonly listeners: readonly GatewayListener[];
}

export interface GatewayListener {
  readonly name: string;
  /** IP addresses to bind; 127.0.0.1 unless the Gateway names others. */
  readonly addresses: readonly string[];
  readonly port: number;
  readonly protocol: "HTTP" | "HTTPS";
  /** Exact or "*."-wildcard host name; absent: every host. */
  readonly hostname?: string;
  /** Secrets of type tls; at least one for HTTPS. */
  readonly certificates: readonly Key[];
}

export interface HTTPRoute extends Meta {
  readonly parents: readonly ParentReference[];
  readonly hostnames: readonly string[];
  readonly rules: readonly HTTPRouteRule[];
}

/** A listener that admitted the route (`allowedRoutes`, host names and section name already applied). */
export interface ParentReference {
  readonly gateway: Key;
  readonly listener: string;
  /** Intersection of the route's and the listener's host names; ["*"]: every host. */
  readonly hostnames: readonly string[];
}

export interface HTTPRouteRule {
  readonly name?: string;
  /** Never empty: a rule without matches matches the path prefix "/". */
  readonly matches: readonly RouteMatch[];
  readonly filters: readonly RouteFilter[];
  readonly backends: readonly Backend[];
  readonly timeouts: RouteTimeouts;
  readonly retry?: RouteRetry;
}

export interface RouteMatch {
  readonly path: { readonly type: "Exact" | "PathPrefix" | "RegularExpression"; readonly value: string };
  readonly method?: string;
  readonly headers: readonly ValueMatch[];
  readonly queryParams: readonly ValueMatch[];
}

export interface ValueMatch {
  readonly type: "Exact" | "RegularExpression";
  readonly name: string;
  readonly value: string;
}

/** Milliseconds; 0 switches the limit off (Gateway API). */
export interface RouteTimeouts {
  readonly requestMs?: number;
  readonly backendRequestMs?: number;
}

/** Gateway API HTTPRouteRetry (GEP-1731). */
export interface RouteRetry {
  readonly codes: readonly number[];
  readonly attempts?: number;
  readonly backoffMs?: number;
}

export interface HeaderValue {
  readonly name: string;
  readonly value: string;
}

export type PathRewrite =
  | { readonly type: "ReplaceFullPath"; readonly value: string }
  | { readonly type: "ReplacePrefixMatch"; readonly value: string };

export type RouteFilter =
  /** Copies of so many percent of requests go to an upstream whose answers nobody sees. */
  | { readonly type: "RequestMirror"; readonly upstream: Key; readonly share: number }
  | {
      readonly type: "RequestHeaderModifier";
      readonly set: readonly HeaderValue[];
      readonly add: readonly HeaderValue[];
      readonly remove: readonly string[];
    }
  | {
      readonly type: "ResponseHeaderModifier";
      readonly set: readonly HeaderValue[];
      readonly add: readonly HeaderValue[];
      readonly remove: readonly string[];
    }
  | {
      readonly type: "RequestRedirect";
      readonly scheme?: "http" | "https";
      readonly hostname?: string;
      readonly path?: PathRewrite;
      readonly port?: number;
      readonly statusCode: 301 | 302 | 303 | 307 | 308;
    }
  | { readonly type: "URLRewrite"; readonly hostname?: string; readonly path?: PathRewrite };

/** Weights are relative within a rule; a backend of weight 0 gets no traffic. */
export type Backend =
  | {
      readonly kind: "Upstream";
      readonly upstream: Key;
      readonly weight: number;
      readonly filters: readonly RouteFilter[];
    }
  | { readonly kind: "Model"; readonly model: Key; readonly weight: number };

/** Only where the material lies, never the material. Paths are relative to the root of the resource tree. */
export type Secret = Meta &
  (
    | { readonly type: "tls"; readonly certificateFile: string; readonly privateKeyFile: string }
    | { readonly type: "ca"; readonly certificateFile: string }
    | { readonly type: "opaque"; readonly valueFile: string }
  );

/** A DNS name whose addresses are endpoints; of SRV records ports, priorities and weights are, too. */
export type DnsLookup =
  | {
      readonly type: "A" | "AAAA";
      readonly name: string;
      readonly port: number;
      /** Of each address. */
      readonly weight: number;
      readonly priority: number;
      readonly region?: string;
      readonly zone?: string;
    }
  | { readonly type: "SRV"; readonly name: string; readonly region?: string; readonly zone?: string };

export interface Upstream extends Meta {
  readonly endpoints: readonly Endpoint[];
  /** CIDR ranges of the endpoints that a live feed may set in their place; absent: none. */
  readonly ranges?: readonly string[];
  /** Names whose addresses are fed; absent: none. */
  readonly dns?: readonly DnsLookup[];
  readonly protocol: "http1" | "http2";
  readonly tls?: UpstreamTls;
  readonly credential: Credential;
  /** false: nodes that cannot hold the floors may be given it, too; absent: governed. */
  readonly governed?: false;
  readonly loadBalancer: "roundRobin" | "leastRequest" | "random" | "ringHash";
  readonly connectTimeoutMs: number;
  readonly healthCheck?: HealthCheck;
  readonly outlierDetection?: OutlierDetection;
  readonly circuitBreakers: CircuitBreakers;
}

export interface Endpoint {
  /** IP address or DNS name. */
  readonly address: string;
  readonly port: number;
  readonly weight: number;
  /** 0 first. */
  readonly priority: number;
  readonly region?: string;
  readonly zone?: string;
  /** Host header (and automatic SNI) for this endpoint; the address itself when it is a DNS name and this is absent. */
  readonly hostname?: string;
}

export interface UpstreamTls {
  readonly sni?: string;
  /** Exact DNS names of which the certificate must carry one. Never empty. */
  readonly subjectAltNames: readonly string[];
  /** A Secret of type ca; absent: the system's CA bundle. */
  readonly ca?: Key;
  /** A Secret of type tls with which Envoy identifies itself. */
  readonly clientCertificate?: Key;
}

export type Credential =
  | { readonly mode: "passThrough" }
  | { readonly mode: "none" }
  /** `prefix` is written before the value ("Bearer "). */
  | { readonly mode: "inject"; readonly secret: Key; readonly header: string; readonly prefix: string };

export interface HealthCheck {
  readonly path: string;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly unhealthyThreshold: number;
  readonly healthyThreshold: number;
}

export interface OutlierDetection {
  readonly consecutiveErrors: number;
  readonly intervalMs: number;
  readonly baseEjectionMs: number;
  readonly maxEjectionPercent: number;
}

export interface CircuitBreakers {
  readonly maxConnections: number;
  readonly maxPendingRequests: number;
  readonly maxRequests: number;
}

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

/** Decisions that are expected of the tree. No part of a revision. */
export interface PolicyTest extends Meta {
  /** Cases times their fixtures, in order. */
  readonly cases: readonly PolicyTestCase[];
}

export interface PolicyTestCase {
  readonly name: string;
  /** The fixture that it runs with. */
  readonly fixture?: string;
  /** Place among `spec.cases` as authored. */
  readonly index: number;
  /** RFC 3339. */
  readonly now: string;
  readonly request: PolicyTestRequest;
  /** In [0, 1). */
  readonly draw: number;
  readonly expect: PolicyTestExpectation;
}

export interface PolicyTestRequest {
  readonly application: Key;
  readonly gateway?: Key;
  readonly port?: number;
  readonly route?: Key;
  readonly method?: string;
  readonly host?: string;
  /** With query. */
  readonly path?: string;
  /** Lower-case name → values. */
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly model?: string;
  readonly stream: boolean;
  readonly subject: {
    readonly kind?: "jwt" | "apiKey" | "mtls" | "anonymous";
    readonly id?: string;
    readonly fields: Readonly<Record<string, string>>;
    readonly claims?: Readonly<Record<string, unknown>>;
  };
  readonly source: string;
}

export interface PolicyTestExpectation {
  readonly effect: "allow" | "deny";
  readonly code?: string;
  readonly rule?: string;
  readonly targets?: readonly string[];
  readonly rerouted?: readonly { readonly rule?: string; readonly to: string }[];
  readonly removed?: Readonly<Record<string, string>>;
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
