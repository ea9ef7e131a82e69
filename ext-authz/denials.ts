/** gRPC status codes, as numbers on the wire. */
export const GRPC = {
  INVALID_ARGUMENT: 3,
  NOT_FOUND: 5,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const;

interface DenialShape {
  readonly status: 400 | 401 | 403 | 404 | 413 | 503;
  /** grpc-status of the answer to a gRPC call. */
  readonly grpc: (typeof GRPC)[keyof typeof GRPC];
  /** `error.type`, in OpenAI's words. */
  readonly type: string;
  readonly meaning: string;
}

const request = { status: 400, grpc: GRPC.INVALID_ARGUMENT, type: "invalid_request_error" } as const;
const identity = { status: 401, grpc: GRPC.UNAUTHENTICATED, type: "authentication_error" } as const;
const permission = { status: 403, grpc: GRPC.PERMISSION_DENIED, type: "permission_error" } as const;
const failure = { status: 503, grpc: GRPC.UNAVAILABLE, type: "server_error" } as const;

/** Every code that a refusal can carry: stable, documented in docs/denials.md (a test holds the two together). */
export const DENIALS = {
  ambiguous_path: { ...request, meaning: "The path can be read in more than one way." },
  malformed_request: { ...request, meaning: "Method, host, scheme or a header is not usable." },
  unsupported_body: { ...request, meaning: "The body's content type or encoding is not JSON in plain UTF-8." },
  malformed_body: { ...request, meaning: "The body is not a JSON document that every parser reads alike." },
  model_missing: { ...request, meaning: "The request names no model." },
  ambiguous_model: { ...request, meaning: "The request names the model more than once or in an unusable way." },
  missing_credentials: {
    ...identity,
    meaning: "The request brings no identity, and anonymous requests are not taken.",
  },
  invalid_token: { ...identity, meaning: "The token did not verify." },
  invalid_api_key: { ...identity, meaning: "The API key is not known." },
  ambiguous_credentials: { ...identity, meaning: "The request brings more than one credential." },
  unknown_caller: { ...identity, meaning: "The token is valid, but belongs to no application." },
  denied: { ...permission, meaning: "A rule denies the request." },
  not_allowed: { ...permission, meaning: "No rule allows the request." },
  no_legal_target: { ...permission, meaning: "Nothing that could answer may answer this request." },
  evaluation_error: { ...permission, meaning: "A rule could not be evaluated, and unknown is not permission." },
  model_not_found: {
    status: 404,
    grpc: GRPC.NOT_FOUND,
    type: "invalid_request_error",
    meaning: "The requested model or version does not exist on this route.",
  },
  body_too_large: {
    status: 413,
    grpc: GRPC.RESOURCE_EXHAUSTED,
    type: "invalid_request_error",
    meaning: "The body did not reach the decision service as a whole.",
  },
  overloaded: { ...failure, meaning: "The decision service has too many requests in flight." },
  unknown_layout: { ...failure, meaning: "The Envoy runs a route table that the decision service does not have." },
  unknown_route: { ...failure, meaning: "The route is not in the route table that the Envoy says it runs." },
  no_revision: { ...failure, meaning: "The decision service has no revision yet." },
  record_unavailable: { ...failure, meaning: "The decision could not be recorded, and this application demands it." },
  malformed_check: { ...failure, meaning: "The Envoy sent a check that does not carry what is needed." },
  foreign_node: { ...failure, meaning: "The Envoy asked about a gateway that its certificate is not for." },
  internal: { ...failure, meaning: "A defect of the decision service." },
} as const satisfies Readonly<Record<string, DenialShape>>;

export type DenialCode = keyof typeof DENIALS;

/** Codes of the decision service's own failures; everything else is a refusal. */
export type FailureCode = {
  [Code in DenialCode]: (typeof DENIALS)[Code]["status"] extends 503 ? Code : never;
}[DenialCode];

export function isFailure(code: DenialCode): code is FailureCode {
  return DENIALS[code].status === 503;
}

/** Why a request is refused, before its shape for the client is known. Holds nothing of a credential. */
export interface Refusal {
  readonly ok: false;
  readonly code: DenialCode;
  /** For the client. */
  readonly message: string;
}

export function refusal(code: DenialCode, message: string = DENIALS[code].meaning): Refusal {
  return { ok: false, code, message };
}
