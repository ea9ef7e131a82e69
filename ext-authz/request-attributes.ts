import type { JsonObject } from "@bufbuild/protobuf";
import { JWT_CLAIMS_KEY, JWT_NAMESPACE } from "../envoy/index.ts";
import type { RequestAttributes } from "../policy/index.ts";
import { canonicalPath } from "./canonical-path.ts";
import type { Check } from "./check-request.ts";
import { type Refusal, refusal } from "./denials.ts";

export type RequestReading = { readonly ok: true; readonly request: RequestAttributes } | Refusal;

/** The request as rules see it, or why it can be read in more than one way. */
export function readRequest(check: Check, now: number): RequestReading {
  const { headers } = check;
  const target = headers.pseudo(":path");
  if (target === undefined) return refusal("ambiguous_path", "The request has no path.");
  const path = canonicalPath(target);
  if (!path.ok) return refusal("ambiguous_path", `The request is refused: ${path.problem}.`);
  const method = headers.knownPseudo(":method") ?? "";
  // Methods are case-sensitive, and servers that do not know that would read "get" past a rule about "GET". A tunnel has
  // no path to decide on, and no route is made for one.
  if (!COMMON_METHODS.has(method)) {
    if (!/^[A-Z][A-Z-]{0,31}$/.test(method)) return refusal("malformed_request", "The method is not usable.");
    if (method === "CONNECT") return refusal("malformed_request", "CONNECT is not served.");
  }
  const host = knownHost(headers.knownPseudo(":authority") ?? "");
  if (host === undefined) return refusal("malformed_request", "The host is not usable.");
  let scheme = headers.knownPseudo(":scheme") ?? check.scheme;
  if (scheme !== "https") scheme = scheme.toLowerCase();
  if (scheme !== "http" && scheme !== "https") return refusal("malformed_request", "The scheme is not usable.");
  const parts = { method, scheme, host, path: target, url_path: path.path, query: path.query };
  return { ok: true, request: new HttpAttributes(parts, check, now) };
}

const COMMON_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]);

/** Authority → host, for the last few hundred. */
const HOSTS = new Map<string, string | undefined>();
const HOSTS_LIMIT = 1_024;

function knownHost(authority: string): string | undefined {
  const known = HOSTS.get(authority);
  if (known !== undefined) return known;
  const host = canonicalHost(authority);
  if (host !== undefined) {
    if (HOSTS.size >= HOSTS_LIMIT) HOSTS.clear();
    HOSTS.set(authority, host);
  }
  return host;
}

/** What rules seldom read is read when they do. */
class HttpAttributes implements RequestAttributes {
  readonly method: string;
  readonly scheme: string;
  readonly host: string;
  readonly path: string;
  readonly url_path: string;
  readonly query: string;
  readonly #check: Check;
  readonly #now: number;

  constructor(
    parts: Pick<RequestAttributes, "method" | "scheme" | "host" | "path" | "url_path" | "query">,
    check: Check,
    now: number,
  ) {
    this.method = parts.method;
    this.scheme = parts.scheme;
    this.host = parts.host;
    this.path = parts.path;
    this.url_path = parts.url_path;
    this.query = parts.query;
    this.#check = check;
    this.#now = now;
  }

  get protocol(): string {
    return this.#check.protocol;
  }
  get id(): string {
    return this.#check.id;
  }
  get size(): number {
    return this.#check.size;
  }
  get time(): number {
    return this.#check.time ?? this.#now;
  }
  get headers(): ReadonlyMap<string, readonly string[]> {
    return this.#check.headers.fields;
  }
}

/**
 * Host name in lower case without port and trailing dot.
 *
 * @returns undefined for what is no host: empty, with user information, or with characters that hosts do not have
 */
export function canonicalHost(authority: string): string | undefined {
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9_.-]{0,252}))(?::[0-9]{1,5})?$/.exec(authority.toLowerCase());
  const host = match?.[1]?.replace(/\.$/, "");
  return host === "" || host?.includes("..") ? undefined : host;
}

/** Envoy's `filter_metadata`, and the token payload that jwt_authn verified; undefined when it cannot be read. */
export function readMetadata(check: Check):
  | {
      readonly metadata: Readonly<Record<string, JsonObject>>;
      readonly claims: Readonly<Record<string, unknown>> | undefined;
    }
  | undefined {
  const { metadata } = check;
  if (metadata === undefined) return undefined;
  const claims = metadata[JWT_NAMESPACE]?.[JWT_CLAIMS_KEY];
  // `failed` says nothing by itself: it is there without any token, and also when another provider's check succeeded.
  const verified = typeof claims === "object" && claims !== null && !Array.isArray(claims) ? claims : undefined;
  return { metadata, claims: verified };
}
