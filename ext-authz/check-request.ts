import { fromBinary, type JsonObject } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { JWT_CLAIMS_KEY, JWT_NAMESPACE } from "../envoy/index.ts";
import type { PeerAttributes, RequestAttributes } from "../policy/index.ts";
import type {
  AttributeContext,
  AttributeContext_HttpRequest,
  AttributeContext_Peer,
} from "../protos/gen/envoy/service/auth/v3/attribute_context_pb.ts";
import { CheckRequestSchema } from "../protos/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { canonicalPath } from "./canonical-path.ts";
import { type Refusal, refusal } from "./denials.ts";
import { type RequestHeaders, readHeaders } from "./headers.ts";

/** A Check as it came in, before anything is believed. */
export interface Check {
  readonly attributes: AttributeContext;
  readonly http: AttributeContext_HttpRequest;
  readonly headers: RequestHeaders;
  readonly context: { readonly route: string; readonly layout: string; readonly nodeGroup: string };
  /** Content type of a gRPC call, whose refusal is a gRPC status. */
  readonly grpc: string | undefined;
  readonly source: PeerAttributes;
}

/** @returns undefined when the bytes are no CheckRequest about an HTTP request with raw headers */
export function decodeCheck(bytes: Uint8Array): Check | undefined {
  let attributes: AttributeContext | undefined;
  try {
    attributes = fromBinary(CheckRequestSchema, bytes).attributes;
  } catch {
    // The caller answers malformed_check; what the bytes were is nobody's business here.
    return undefined;
  }
  const http = attributes?.request?.http;
  // Without `encode_raw_headers` Envoy joins repeated headers and writes "!" for what is not UTF-8, while upstreams get
  // the real bytes: rules would be decided on something else.
  if (attributes === undefined || http?.headerMap === undefined) return undefined;
  const headers = readHeaders(http.headerMap);
  const { route = "", layout = "", node_group: nodeGroup = "" } = attributes.contextExtensions;
  return {
    attributes,
    http,
    headers,
    context: { route, layout, nodeGroup },
    grpc: grpcContentType(headers.fields.get("content-type")),
    source: readPeer(attributes.source),
  };
}

export type RequestReading = { readonly ok: true; readonly request: RequestAttributes } | Refusal;

/** The request as rules see it, or why it can be read in more than one way. */
export function readRequest(check: Check, now: number): RequestReading {
  const { http, headers } = check;
  const target = headers.pseudo.get(":path");
  if (target === undefined) return refusal("ambiguous_path", "The request has no path.");
  const path = canonicalPath(target);
  if (!path.ok) return refusal("ambiguous_path", `The request is refused: ${path.problem}.`);
  const method = headers.pseudo.get(":method") ?? "";
  // Methods are case-sensitive, and servers that do not know that would read "get" past a rule about "GET". A tunnel has
  // no path to decide on, and no route is made for one.
  if (!/^[A-Z][A-Z-]{0,31}$/.test(method)) return refusal("malformed_request", "The method is not usable.");
  if (method === "CONNECT") return refusal("malformed_request", "CONNECT is not served.");
  const host = canonicalHost(headers.pseudo.get(":authority") ?? "");
  if (host === undefined) return refusal("malformed_request", "The host is not usable.");
  const scheme = (headers.pseudo.get(":scheme") ?? http.scheme).toLowerCase();
  if (scheme !== "http" && scheme !== "https") return refusal("malformed_request", "The scheme is not usable.");
  return {
    ok: true,
    request: {
      method,
      scheme,
      host,
      path: target,
      url_path: path.path,
      query: path.query,
      protocol: http.protocol,
      id: http.id,
      size: Number(http.size),
      time: milliseconds(check.attributes.request?.time) ?? now,
      headers: headers.fields,
    },
  };
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

/** Envoy's `filter_metadata`, and the token payload that jwt_authn verified. */
export function readMetadata(check: Check): {
  readonly metadata: Readonly<Record<string, JsonObject>>;
  readonly claims: Readonly<Record<string, unknown>> | undefined;
} {
  const metadata = check.attributes.metadataContext?.filterMetadata ?? {};
  const claims = metadata[JWT_NAMESPACE]?.[JWT_CLAIMS_KEY];
  // `failed` says nothing by itself: it is there without any token, and also when another provider's check succeeded.
  const verified = typeof claims === "object" && claims !== null && !Array.isArray(claims) ? claims : undefined;
  return { metadata, claims: verified };
}

export function readPeer(peer: AttributeContext_Peer | undefined): PeerAttributes {
  const address = peer?.address?.address;
  const shared =
    address?.case === "socketAddress"
      ? {
          address: address.value.address,
          port: address.value.portSpecifier.case === "portValue" ? address.value.portSpecifier.value : 0,
        }
      : { address: address?.case === "pipe" ? address.value.path : "", port: 0 };
  return peer === undefined || peer.principal === "" ? shared : { ...shared, principal: peer.principal };
}

/** Envoy's own test for gRPC, and grpc-web, whose clients read the same status headers. */
function grpcContentType(values: readonly string[] | undefined): string | undefined {
  const value = values?.[0]?.toLowerCase() ?? "";
  return /^application\/grpc(-web(-text)?)?(\+[a-z0-9.-]{1,32})?$/.exec(value.split(";")[0]?.trim() ?? "")?.[0];
}

function milliseconds(time: Timestamp | undefined): number | undefined {
  return time === undefined ? undefined : Number(time.seconds) * 1000 + Math.floor(time.nanos / 1e6);
}
