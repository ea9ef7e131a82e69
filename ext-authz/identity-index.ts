import { type ApplicationFacts, atOnce, type Steps } from "../policy/index.ts";

/** Who is recognised by what, made once per revision. */
export interface IdentityIndex {
  /**
   * SHA-256 (lower-case hex) of an API key → whose it is. A look-up by digest tells nothing about how near a wrong key
   * came to a right one, so its time is no oracle.
   */
  readonly apiKeys: ReadonlyMap<string, ApiKeyOwner>;
  readonly issuers: ReadonlyMap<string, readonly JwtOwner[]>;
  readonly anonymous: ApplicationFacts | undefined;
}

export interface ApiKeyOwner {
  readonly application: ApplicationFacts;
  readonly id: string;
  readonly subject: Readonly<Record<string, string>>;
}

export interface JwtOwner {
  readonly application: ApplicationFacts;
  readonly audiences: readonly string[];
  readonly claims: readonly (readonly [string, string])[];
  readonly subject: readonly (readonly [string, string])[];
}

/** A key that two applications claim is nobody's: which of the two it means cannot be told. */
export function indexIdentities(applications: readonly ApplicationFacts[]): IdentityIndex {
  return atOnce(identitySteps(applications));
}

/** Identities that are indexed at a time. */
const AT_A_TIME = 128;

/** As `indexIdentities`, in steps. */
export function* identitySteps(applications: readonly ApplicationFacts[]): Steps<IdentityIndex> {
  let seen = 0;
  const apiKeys = new Map<string, ApiKeyOwner>();
  const issuers = new Map<string, JwtOwner[]>();
  const contested = new Set<string>();
  for (const application of applications) {
    for (const { id, sha256, subject } of application.apiKeys) {
      const digest = sha256.toLowerCase();
      if (apiKeys.has(digest)) contested.add(digest);
      apiKeys.set(digest, { application, id, subject });
      seen += 1;
      if (seen % AT_A_TIME === 0) yield;
    }
    for (const identity of application.jwt) {
      const owners = issuers.get(identity.issuer) ?? [];
      owners.push({
        application,
        audiences: identity.audiences,
        claims: Object.entries(identity.claims),
        subject: Object.entries(identity.subject),
      });
      issuers.set(identity.issuer, owners);
      seen += 1;
      if (seen % AT_A_TIME === 0) yield;
    }
  }
  for (const digest of contested) apiKeys.delete(digest);
  const anonymous = applications.filter((application) => application.anonymous);
  return { apiKeys, issuers, anonymous: anonymous.length === 1 ? anonymous[0] : undefined };
}
