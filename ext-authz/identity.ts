import { hash } from "node:crypto";
import type { CREDENTIAL_HEADERS } from "../envoy/index.ts";
import type { ApplicationFacts, PeerAttributes, Subject } from "../policy/index.ts";
import { type Refusal, refusal } from "./denials.ts";
import type { ApiKeyOwner, IdentityIndex, JwtOwner } from "./identity-index.ts";

export type CredentialHeader = (typeof CREDENTIAL_HEADERS)[number];

/** What a request presents. */
export interface Presented {
  readonly headers: { get(name: string): readonly string[] | undefined };
  /** Payload that Envoy's jwt_authn verified. */
  readonly claims: Readonly<Record<string, unknown>> | undefined;
  readonly source: PeerAttributes;
  /** Whether every target of the route gets the client's own Authorization (or the route has none: a redirect). */
  readonly passesAuthorization: boolean;
}

export type Identity =
  | {
      readonly ok: true;
      readonly application: ApplicationFacts;
      readonly subject: Subject;
      /** Headers with an API key of ours, which no upstream may see. */
      readonly headersToRemove: readonly CredentialHeader[];
    }
  | Refusal;

/**
 * Who asks. Exactly one credential counts: a token that Envoy verified, or an API key of ours in `authorization: Bearer`,
 * `x-api-key` or `api-key`. Two different ones are refused, since the server behind us might take the other; so is one
 * that fails, whatever the anonymous application may do: a caller whose key was withdrawn must learn it, and must not go
 * on under weaker rules.
 *
 * One exception. On a plain route whose every target gets the client's own Authorization, that header is addressed to the
 * upstream, which verifies it, and is no credential towards us. It is passed and grants nothing here: the caller is who
 * the other headers say, else anonymous. Not passed is a token of an issuer that is configured with us, since that one
 * *is* addressed to us and did not verify.
 */
export function identify(index: IdentityIndex, presented: Presented): Identity {
  const authorization = readAuthorization(presented.headers.get("authorization"));
  if (authorization === undefined) {
    return refusal("ambiguous_credentials", "The request has more than one Authorization value.");
  }
  const found: PresentedKey[] = [];
  for (const header of ["x-api-key", "api-key"] as const) {
    const values = presented.headers.get(header) ?? [];
    if (values.length > 1) return refusal("ambiguous_credentials", `The request has more than one ${header} header.`);
    const key = values[0];
    if (key === undefined || key === "") continue;
    const match = findKey(index, key, header);
    if (match === undefined) return refusal("invalid_api_key", `The API key in ${header} is not known.`);
    found.push(match);
  }
  if (authorization.bearer !== undefined) {
    const match = findKey(index, authorization.bearer, "authorization");
    if (match !== undefined) found.push(match);
    else if (presented.claims !== undefined) {
      if (!isTokenOf(authorization.bearer, presented.claims)) return refusal("invalid_token");
      if (found.length > 0) return refusal("ambiguous_credentials", "The request brings both a token and an API key.");
      return identifyToken(index, presented.claims);
    }
  }
  // Claims that do not come from this request's one Authorization header came from a place that nobody looks at.
  const tokenElsewhere = presented.claims !== undefined;
  if (tokenElsewhere) return refusal("ambiguous_credentials", "A token is taken from the Authorization header alone.");

  const [first, ...more] = found;
  if (more.some((other) => other.digest !== first?.digest)) {
    return refusal("ambiguous_credentials", "The request brings more than one API key.");
  }
  const foreign = authorization.present && !found.some((match) => match.header === "authorization");
  if (foreign && !(presented.passesAuthorization && isForeign(index, authorization.bearer))) {
    return authorization.bearer !== undefined && tokenPayload(authorization.bearer) !== undefined
      ? refusal("invalid_token")
      : refusal("invalid_api_key", "Authorization carries neither a valid token nor a known API key.");
  }
  if (first !== undefined) {
    const { application, id, subject: fields } = first.owner;
    return {
      ok: true,
      application,
      subject: { kind: "apiKey", id, claims: {}, fields },
      headersToRemove: found.map((match) => match.header),
    };
  }
  return identifyPeer(index, presented.source);
}

/** A client certificate names the subject; which application a certificate belongs to, applications do not say (yet). */
function identifyPeer(index: IdentityIndex, source: PeerAttributes): Identity {
  const application = index.anonymous;
  if (application === undefined) return refusal("missing_credentials");
  const subject: Subject =
    source.principal === undefined
      ? { kind: "anonymous", id: "anonymous", claims: {}, fields: {} }
      : { kind: "mtls", id: source.principal, claims: {}, fields: {} };
  return { ok: true, application, subject, headersToRemove: [] };
}

/** Among the applications whose conditions hold, the one that demands the most claims; a tie is nobody's. */
function identifyToken(index: IdentityIndex, claims: Readonly<Record<string, unknown>>): Identity {
  const issuer = claims.iss;
  const owners = typeof issuer === "string" ? (index.issuers.get(issuer) ?? []) : [];
  let best: JwtOwner | undefined;
  let tied = false;
  for (const owner of owners) {
    if (!covers(owner, claims)) continue;
    if (best === undefined || owner.claims.length > best.claims.length) {
      best = owner;
      tied = false;
    } else if (owner.claims.length === best.claims.length && owner.application.key !== best.application.key) {
      tied = true;
    }
  }
  if (best === undefined) return refusal("unknown_caller");
  if (tied) return refusal("unknown_caller", "The token is valid, but more than one application claims it.");
  const fields: Record<string, string> = {};
  for (const [field, claim] of best.subject) {
    const value = ownClaim(claims, claim);
    if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") {
      fields[field] = String(value);
    }
  }
  const id = typeof claims.sub === "string" ? claims.sub : "";
  return { ok: true, application: best.application, subject: { kind: "jwt", id, claims, fields }, headersToRemove: [] };
}

function covers(owner: JwtOwner, claims: Readonly<Record<string, unknown>>): boolean {
  if (owner.audiences.length > 0 && !owner.audiences.some((audience) => holds(claims.aud, audience))) return false;
  return owner.claims.every(([name, value]) => holds(ownClaim(claims, name), value));
}

/** A claim is the value, or a list that contains it. */
function holds(claim: unknown, value: string): boolean {
  if (Array.isArray(claim)) return claim.some((item) => !Array.isArray(item) && holds(item, value));
  return (
    (typeof claim === "string" || typeof claim === "number" || typeof claim === "boolean") && String(claim) === value
  );
}

function ownClaim(claims: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(claims, name) ? claims[name] : undefined;
}

interface PresentedKey {
  readonly owner: ApiKeyOwner;
  readonly header: CredentialHeader;
  readonly digest: string;
}

function findKey(index: IdentityIndex, key: string, header: CredentialHeader): PresentedKey | undefined {
  if (index.apiKeys.size === 0) return undefined;
  const digest = hash("sha256", key, "hex");
  const owner = index.apiKeys.get(digest);
  return owner === undefined ? undefined : { owner, header, digest };
}

interface Authorization {
  readonly present: boolean;
  /** The token behind "Bearer". */
  readonly bearer?: string;
}

/** @returns undefined when there is more than one value; Envoy joins repeated Authorization headers by a comma */
function readAuthorization(values: readonly string[] | undefined): Authorization | undefined {
  if (values === undefined || values.length === 0) return { present: false };
  const [value = ""] = values;
  if (values.length > 1 || /,\s*(bearer|basic)(\s|$)/i.test(value)) return undefined;
  if (value === "") return { present: false };
  // One token without spaces and commas: "Bearer a b" and "Bearer a,b" are not read as a key or a token.
  const bearer = /^bearer +([!-+\x2d-~]+)$/i.exec(value)?.[1];
  return bearer === undefined ? { present: true } : { present: true, bearer };
}

/** Whether the token is addressed to somebody else: opaque, or of an issuer that is not configured with us. */
function isForeign(index: IdentityIndex, bearer: string | undefined): boolean {
  const payload = bearer === undefined ? undefined : tokenPayload(bearer);
  if (payload === undefined) return true;
  const issuer = payload.iss;
  return typeof issuer !== "string" || !index.issuers.has(issuer);
}

/**
 * Whether the verified claims are those of this token. Envoy says what it verified, not where it found it; the claims
 * that make a token this one are compared, so that a second, unverified token cannot travel under the first one's name.
 */
function isTokenOf(token: string, claims: Readonly<Record<string, unknown>>): boolean {
  // Envoy stops reading at the first character that no token has; what follows would travel on unseen.
  const payload = /^[\w-]+\.[\w-]+\.[\w-]+$/.test(token) ? tokenPayload(token) : undefined;
  if (payload === undefined) return false;
  return ["iss", "sub", "jti", "exp", "iat"].every((name) => payload[name] === claims[name]);
}

/** Payload of what has the shape of a JWT (RFC 7519); nothing is verified here. */
function tokenPayload(token: string): Readonly<Record<string, unknown>> | undefined {
  const parts = token.split(".");
  if (parts.length !== 3) return undefined;
  try {
    const payload: unknown = JSON.parse(Buffer.from(parts[1] ?? "", "base64url").toString("utf8"));
    return isRecord(payload) ? payload : undefined;
  } catch {
    // Not JSON, so not a token; the caller treats it as an opaque value.
    return undefined;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
