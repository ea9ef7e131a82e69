import { fromBinary, type JsonObject, toBinary } from "@bufbuild/protobuf";
import { JWT_CLAIMS_KEY, JWT_NAMESPACE } from "../envoy/index.ts";
import type { ConnectionAttributes, PeerAttributes, RequestAttributes } from "../policy/index.ts";
import { CheckRequestSchema } from "../protos/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { canonicalPath } from "./canonical-path.ts";
import { type Refusal, refusal } from "./denials.ts";
import { type RequestHeaders, readHeaders } from "./headers.ts";
import { readFilterMetadata } from "./metadata.ts";
import { BYTES, bufferOf, TextInterner, VARINT, WireReader } from "./wire.ts";

/** A Check as it came in, before anything is believed. Decoded as far as somebody asks. */
export interface Check {
  readonly http: CheckHttp;
  readonly headers: RequestHeaders;
  readonly context: { readonly route: string; readonly layout: string; readonly nodeGroup: string };
  /** Content type of a gRPC call, whose refusal is a gRPC status. */
  readonly grpc: string | undefined;
  readonly source: PeerAttributes;
  readonly destination: PeerAttributes;
  readonly connection: ConnectionAttributes;
  /** `filter_metadata` that Envoy sent; undefined when it cannot be read. */
  readonly metadata: Readonly<Record<string, JsonObject>> | undefined;
  /** When Envoy got the first byte, in milliseconds since the epoch. */
  readonly time: number | undefined;
}

export interface CheckHttp {
  readonly id: string;
  readonly scheme: string;
  readonly protocol: string;
  /** Bytes of the body as Envoy counts them; -1: it does not know. */
  readonly size: number;
  readonly body: string;
  readonly rawBody: Uint8Array;
}

/** @returns undefined when the bytes are no CheckRequest about an HTTP request with raw headers */
export function decodeCheck(bytes: Uint8Array): Check | undefined {
  const check = readCheck(bufferOf(bytes));
  if (check !== "unusual") return check;
  try {
    // What Envoy does not write, protobuf may still allow (a message in several pieces): put into the usual form first.
    const usual = readCheck(bufferOf(toBinary(CheckRequestSchema, fromBinary(CheckRequestSchema, bytes))));
    return usual === "unusual" ? undefined : usual;
  } catch {
    // The caller answers malformed_check; what the bytes were is nobody's business here.
    return undefined;
  }
}

const TEXTS = new TextInterner((bytes) => bytes.toString("utf8"));

/** A message inside the CheckRequest, by its place. */
interface Place {
  readonly from: number;
  readonly to: number;
}

/** The parts of a message that are looked for, by field number; undefined: one stands twice, or it cannot be read. */
function partsOf(
  bytes: Buffer,
  from: number,
  to: number,
  wanted: readonly number[],
): ReadonlyMap<number, Place> | undefined {
  const reader = new WireReader(bytes, from, to);
  const parts = new Map<number, Place>();
  while (reader.next()) {
    if (!wanted.includes(reader.number)) continue;
    if (!reader.is(BYTES) || parts.has(reader.number)) return undefined;
    parts.set(reader.number, { from: reader.from, to: reader.to });
  }
  return reader.ok ? parts : undefined;
}

function readCheck(bytes: Buffer): Check | "unusual" | undefined {
  const attributes = partsOf(bytes, 0, bytes.length, [1])?.get(1);
  if (attributes === undefined) return bytes.length === 0 ? undefined : "unusual";
  const reader = new WireReader(bytes, attributes.from, attributes.to);
  let source: Place | undefined;
  let destination: Place | undefined;
  let request: Place | undefined;
  let metadata: Place | undefined;
  let tls: Place | undefined;
  let route = "";
  let layout = "";
  let nodeGroup = "";
  while (reader.next()) {
    const { number, from, to } = reader;
    if (number !== 1 && number !== 2 && number !== 4 && (number < 10 || number > 12)) continue;
    if (!reader.is(BYTES)) return "unusual";
    if (number === 10) {
      const entry = readTextEntry(bytes, reader.inner());
      if (entry === undefined) return "unusual";
      if (entry.key === "route") route = entry.value;
      else if (entry.key === "layout") layout = entry.value;
      else if (entry.key === "node_group") nodeGroup = entry.value;
      continue;
    }
    const place = { from, to };
    if (number === 12) {
      if (tls !== undefined) return "unusual";
      tls = place;
      continue;
    }
    const known = number === 1 ? source : number === 2 ? destination : number === 4 ? request : metadata;
    if (known !== undefined) return "unusual";
    if (number === 1) source = place;
    else if (number === 2) destination = place;
    else if (number === 4) request = place;
    else metadata = place;
  }
  if (!reader.ok) return "unusual";
  if (request === undefined) return undefined;
  const parts = partsOf(bytes, request.from, request.to, [1, 2]);
  if (parts === undefined) return "unusual";
  const http = parts.get(2);
  const read = http === undefined ? undefined : readHttp(bytes, http);
  // Without `encode_raw_headers` Envoy joins repeated headers and writes "!" for what is not UTF-8, while upstreams get
  // the real bytes: rules would be decided on something else.
  if (read === undefined || read === "unusual") return read;
  return new WireCheck(
    bytes,
    read,
    { route, layout, nodeGroup },
    { source, destination, metadata, tls, time: parts.get(1) },
  );
}

function readTextEntry(bytes: Buffer, entry: WireReader): { readonly key: string; readonly value: string } | undefined {
  let key = "";
  let value = "";
  while (entry.next()) {
    if (entry.number > 2) continue;
    if (!entry.is(BYTES)) return undefined;
    if (entry.number === 1) key = TEXTS.text(bytes, entry.from, entry.to);
    else value = TEXTS.text(bytes, entry.from, entry.to);
  }
  return entry.ok ? { key, value } : undefined;
}

const NO_BODY = new Uint8Array();

function readHttp(
  bytes: Buffer,
  place: Place,
): { readonly http: CheckHttp; readonly headers: RequestHeaders } | "unusual" | undefined {
  const reader = new WireReader(bytes, place.from, place.to);
  let id = "";
  let scheme = "";
  let protocol = "";
  let size = 0;
  let body = "";
  let rawBody: Uint8Array = NO_BODY;
  let headers: RequestHeaders | undefined;
  while (reader.next()) {
    const { number, from, to } = reader;
    if (number === 9) {
      if (!reader.is(VARINT)) return "unusual";
      size = reader.varint;
      continue;
    }
    if (number !== 1 && number !== 6 && (number < 10 || number > 13)) continue;
    if (!reader.is(BYTES)) return "unusual";
    if (number === 1) id = bytes.toString("utf8", from, to);
    else if (number === 6) scheme = TEXTS.text(bytes, from, to);
    else if (number === 10) protocol = TEXTS.text(bytes, from, to);
    else if (number === 11) body = bytes.toString("utf8", from, to);
    else if (number === 12) rawBody = bytes.subarray(from, to);
    else {
      if (headers !== undefined) return "unusual";
      headers = readHeaders(bytes, from, to);
      if (headers === undefined) return "unusual";
    }
  }
  if (!reader.ok) return "unusual";
  return headers === undefined ? undefined : { http: { id, scheme, protocol, size, body, rawBody }, headers };
}

interface Places {
  readonly source: Place | undefined;
  readonly destination: Place | undefined;
  readonly metadata: Place | undefined;
  readonly tls: Place | undefined;
  readonly time: Place | undefined;
}

class WireCheck implements Check {
  readonly http: CheckHttp;
  readonly headers: RequestHeaders;
  readonly context: Check["context"];
  readonly #bytes: Buffer;
  readonly #places: Places;
  #source: PeerAttributes | undefined;
  #destination: PeerAttributes | undefined;
  #metadata: Check["metadata"];

  constructor(
    bytes: Buffer,
    { http, headers }: { readonly http: CheckHttp; readonly headers: RequestHeaders },
    context: Check["context"],
    places: Places,
  ) {
    this.http = http;
    this.headers = headers;
    this.context = context;
    this.#bytes = bytes;
    this.#places = places;
  }

  get grpc(): string | undefined {
    return grpcContentType(this.headers.get("content-type"));
  }

  get source(): PeerAttributes {
    this.#source ??= readPeer(this.#bytes, this.#places.source);
    return this.#source;
  }

  get destination(): PeerAttributes {
    this.#destination ??= readPeer(this.#bytes, this.#places.destination);
    return this.#destination;
  }

  get connection(): ConnectionAttributes {
    const { source, tls } = this.#places;
    const serverName = tls === undefined ? "" : readServerName(this.#bytes, tls);
    const mtls = source !== undefined && hasCertificate(this.#bytes, source);
    return serverName === "" ? { mtls } : { mtls, requested_server_name: serverName };
  }

  get metadata(): Check["metadata"] {
    const { metadata } = this.#places;
    this.#metadata ??= metadata === undefined ? {} : readFilterMetadata(this.#bytes, metadata.from, metadata.to);
    return this.#metadata;
  }

  get time(): number | undefined {
    const { time } = this.#places;
    return time === undefined ? undefined : readTime(this.#bytes, time);
  }
}

export type RequestReading = { readonly ok: true; readonly request: RequestAttributes } | Refusal;

/** The request as rules see it, or why it can be read in more than one way. */
export function readRequest(check: Check, now: number): RequestReading {
  const { http, headers } = check;
  const target = headers.pseudo(":path");
  if (target === undefined) return refusal("ambiguous_path", "The request has no path.");
  const path = canonicalPath(target);
  if (!path.ok) return refusal("ambiguous_path", `The request is refused: ${path.problem}.`);
  const method = headers.pseudo(":method") ?? "";
  // Methods are case-sensitive, and servers that do not know that would read "get" past a rule about "GET". A tunnel has
  // no path to decide on, and no route is made for one.
  if (!/^[A-Z][A-Z-]{0,31}$/.test(method)) return refusal("malformed_request", "The method is not usable.");
  if (method === "CONNECT") return refusal("malformed_request", "CONNECT is not served.");
  const host = canonicalHost(headers.pseudo(":authority") ?? "");
  if (host === undefined) return refusal("malformed_request", "The host is not usable.");
  const scheme = (headers.pseudo(":scheme") ?? http.scheme).toLowerCase();
  if (scheme !== "http" && scheme !== "https") return refusal("malformed_request", "The scheme is not usable.");
  const parts = { method, scheme, host, path: target, url_path: path.path, query: path.query, time: check.time ?? now };
  return { ok: true, request: new HttpAttributes(parts, http, headers) };
}

/** Only rules that look at all headers pay for a map of them. */
class HttpAttributes implements RequestAttributes {
  readonly method: string;
  readonly scheme: string;
  readonly host: string;
  readonly path: string;
  readonly url_path: string;
  readonly query: string;
  readonly protocol: string;
  readonly id: string;
  readonly size: number;
  readonly time: number;
  readonly #headers: RequestHeaders;

  constructor(
    parts: Pick<RequestAttributes, "method" | "scheme" | "host" | "path" | "url_path" | "query" | "time">,
    http: CheckHttp,
    headers: RequestHeaders,
  ) {
    this.method = parts.method;
    this.scheme = parts.scheme;
    this.host = parts.host;
    this.path = parts.path;
    this.url_path = parts.url_path;
    this.query = parts.query;
    this.protocol = http.protocol;
    this.id = http.id;
    this.size = http.size;
    this.time = parts.time;
    this.#headers = headers;
  }

  get headers(): ReadonlyMap<string, readonly string[]> {
    return this.#headers.fields;
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

/** Envoy's own test for gRPC, and grpc-web, whose clients read the same status headers. */
function grpcContentType(values: readonly string[] | undefined): string | undefined {
  const value = values?.[0]?.toLowerCase() ?? "";
  return /^application\/grpc(-web(-text)?)?(\+[a-z0-9.-]{1,32})?$/.exec(value.split(";")[0]?.trim() ?? "")?.[0];
}

function readTime(bytes: Buffer, { from, to }: Place): number | undefined {
  const reader = new WireReader(bytes, from, to);
  let seconds = 0;
  let nanos = 0;
  while (reader.next()) {
    if (reader.number > 2 || !reader.is(VARINT)) continue;
    if (reader.number === 1) seconds = reader.varint;
    else nanos = reader.varint;
  }
  return reader.ok ? seconds * 1000 + Math.floor(nanos / 1e6) : undefined;
}

const UNKNOWN_PEER: PeerAttributes = { address: "", port: 0 };

/** AttributeContext.Peer; one that cannot be read is nobody. */
function readPeer(bytes: Buffer, place: Place | undefined): PeerAttributes {
  if (place === undefined) return UNKNOWN_PEER;
  const reader = new WireReader(bytes, place.from, place.to);
  let address = UNKNOWN_PEER;
  let principal = "";
  while (reader.next()) {
    if (reader.number !== 1 && reader.number !== 4) continue;
    if (!reader.is(BYTES)) return UNKNOWN_PEER;
    if (reader.number === 1) address = readAddress(bytes, reader.inner());
    else principal = TEXTS.text(bytes, reader.from, reader.to);
  }
  if (!reader.ok) return UNKNOWN_PEER;
  return principal === "" ? address : { ...address, principal };
}

/** Whether the peer showed a certificate (5): Envoy sends one that it has verified, and no other is let in. */
function hasCertificate(bytes: Buffer, { from, to }: Place): boolean {
  const reader = new WireReader(bytes, from, to);
  let found = false;
  while (reader.next()) if (reader.number === 5 && reader.is(BYTES)) found = reader.to > reader.from;
  return reader.ok && found;
}

/** TLSSession.sni (1); "" where the client named no server. */
function readServerName(bytes: Buffer, { from, to }: Place): string {
  const reader = new WireReader(bytes, from, to);
  let name = "";
  while (reader.next()) if (reader.number === 1 && reader.is(BYTES)) name = TEXTS.text(bytes, reader.from, reader.to);
  return reader.ok ? name : "";
}

/** envoy.config.core.v3.Address: a socket (1) or a pipe (2). */
function readAddress(bytes: Buffer, outer: WireReader): PeerAttributes {
  let peer = UNKNOWN_PEER;
  while (outer.next()) {
    if (outer.number > 3) continue;
    if (!outer.is(BYTES)) return UNKNOWN_PEER;
    const inner = outer.inner();
    const textField = outer.number === 1 ? 2 : outer.number === 2 ? 1 : 0;
    let address = "";
    let port = 0;
    while (inner.next()) {
      if (inner.number === textField && inner.is(BYTES)) address = bytes.toString("utf8", inner.from, inner.to);
      else if (outer.number === 1 && inner.number === 3 && inner.is(VARINT)) port = inner.varint;
      else if (outer.number === 1 && inner.number === 4) port = 0;
    }
    if (!inner.ok) return UNKNOWN_PEER;
    peer = { address, port };
  }
  return outer.ok ? peer : UNKNOWN_PEER;
}
