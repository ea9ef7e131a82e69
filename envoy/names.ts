/** Names that generated configuration, bootstrap and the decision service agree on. */

/** Bootstrap cluster of the xDS server. */
export const XDS_CLUSTER = "chancery_xds";
/** Bootstrap cluster of the decision services. */
export const EXT_AUTHZ_CLUSTER = "chancery_ext_authz";
/** A cluster without endpoints: where every decision that is not one ends. */
export const BLACKHOLE_CLUSTER = "chancery_blackhole";
/** Dynamic metadata namespace of decisions; no client can write to it. */
export const DECISION_NAMESPACE = "envoy.filters.http.ext_authz";
/** Dynamic metadata namespace of verified tokens. */
export const JWT_NAMESPACE = "envoy.filters.http.jwt_authn";
/** Key in JWT_NAMESPACE under which every provider puts the payload; `iss` tells them apart. */
export const JWT_CLAIMS_KEY = "claims";
/** Key in JWT_NAMESPACE with the failure of the last provider that was tried; means nothing where claims are there. */
export const JWT_FAILURE_KEY = "failed";
/** The one header that an OK answer sets; only it re-picks the route (`clear_route_cache_headers`). */
export const DECISION_HEADER = "x-chancery-decision";
/** Headers in which an API key may come. The decision service may remove them, and nothing else. */
export const CREDENTIAL_HEADERS = ["authorization", "x-api-key", "api-key"] as const;
/** The weighted group of a plain route. */
export const WEIGHTED_GROUP = "weighted";

/** Filter names; those that are also metadata namespaces must not change. */
export const FILTERS = {
  trailers: "envoy.filters.http.header_mutation",
  jwtAuthn: "envoy.filters.http.jwt_authn",
  extAuthz: "envoy.filters.http.ext_authz",
  rbac: "envoy.filters.http.rbac",
  router: "envoy.filters.http.router",
} as const;

/** Extensions without which a node gets nothing that is governed: the decision and the floors under it. */
export const FLOOR_EXTENSIONS = [
  "envoy.filters.http.ext_authz",
  "envoy.filters.http.rbac",
  "envoy.filters.http.upstream_rbac",
] as const;

/** Extensions without which a node with the floors gets the reduced plan. */
export const FALLBACK_EXTENSIONS = ["envoy.router.cluster_specifier_plugin.priority_group"] as const;

/** Extensions without which a node does not get the full plan. */
export const REQUIRED_EXTENSIONS = [...FLOOR_EXTENSIONS, ...FALLBACK_EXTENSIONS] as const;

/**
 * What an Envoy with the floors runs: routes that go along the whole list of a decision, or (reduced) a route for each
 * pool, taken where the decision's list begins with it. Reduced ones say nothing that Envoy 1.39 does not understand.
 */
export type RoutePlan = "full" | "reduced";
