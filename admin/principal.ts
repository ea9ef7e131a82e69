import { createHash, timingSafeEqual } from "node:crypto";
import { createContextKey } from "@connectrpc/connect";
import { ChanceryError, type Key, type Scope, scopeChain, scopeOf } from "../resources/index.ts";

/** What a caller may do: an operator everything, but two things that need two people. Everybody may read. */
const ROLES = ["operator", "requester", "approver"] as const;
export type Role = (typeof ROLES)[number];

/** Who calls the admin API. */
export interface Principal {
  readonly name: string;
  /** Whoever stands behind the name, in lower case: two names of one person are one pair of eyes. */
  readonly person: string;
  readonly roles: ReadonlySet<Role>;
  /** It works on approvals of what is in these scopes or below. */
  readonly scopes: readonly Scope[];
}

/** Whoever reaches a loopback address where no token is asked for. */
const LOCAL: Principal = { name: "local", person: "local", roles: new Set(ROLES), scopes: ["."] };
/** Whoever has the token of the process. */
const OPERATOR: Principal = { name: "operator", person: "operator", roles: new Set(ROLES), scopes: ["."] };

export const principalKey = createContextKey<Principal>(LOCAL, { description: "who calls" });

/** A principal, and the SHA-256 of the token that it comes with. */
export interface Credential {
  readonly principal: Principal;
  readonly tokenSha256: Uint8Array;
}

/** @param token  of the process, whose bearer is its operator */
export function credentialsOf(token: string | undefined, others: readonly Credential[]): readonly Credential[] {
  return token === undefined ? others : [{ principal: OPERATOR, tokenSha256: sha256(token) }, ...others];
}

/** @returns whose token an `Authorization` header carries; undefined: nobody's. Takes as long whoever it is. */
export function principalOf(
  authorization: string | null | undefined,
  credentials: readonly Credential[],
): Principal | undefined {
  const token = /^Bearer +(.+)$/i.exec(authorization ?? "")?.[1];
  if (token === undefined) return undefined;
  const given = sha256(token);
  let found: Principal | undefined;
  for (const { principal, tokenSha256 } of credentials) {
    if (timingSafeEqual(given, tokenSha256)) found = principal;
  }
  return found;
}

/** @throws ChanceryError "forbidden" */
export function demandRole({ name, roles }: Principal, ...oneOf: readonly Role[]): void {
  if (oneOf.some((role) => roles.has(role))) return;
  const own = roles.size === 0 ? "none" : [...roles].join(", ");
  throw new ChanceryError("forbidden", `this needs the role ${oneOf.join(" or ")}; ${name} has ${own}`);
}

/**
 * An approval speaks for a version and for an application: only who has a scope that holds both may work on it.
 *
 * @param keys  of the two
 * @throws ChanceryError "forbidden"
 */
export function demandScope({ name, scopes }: Principal, ...keys: readonly Key[]): void {
  if (scopes.some((scope) => keys.every((key) => scopeChain(scopeOf(key)).includes(scope)))) return;
  const own = scopes.length === 0 ? "none" : scopes.join(", ");
  throw new ChanceryError("forbidden", `${keys.join(" and ")} are not both in a scope of ${name}, who has ${own}`);
}

/** Who stands behind a name; behind one that nobody has any more, whoever has the name. */
export function personOf(name: string, credentials: readonly Credential[]): string {
  const own = name.toLowerCase();
  return credentials.find(({ principal }) => principal.name.toLowerCase() === own)?.principal.person ?? own;
}

function sha256(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}
