import type { GovernanceMode, Key, Meta } from "./inventory.ts";

/** What the Gateway API and Upstreams say: listeners, routes, and what is behind them. */

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
