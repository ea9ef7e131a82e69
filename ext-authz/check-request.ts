import { fromBinary, type JsonObject, toBinary } from "@bufbuild/protobuf";
import { JWT_CLAIMS_KEY, JWT_NAMESPACE } from "../envoy/index.ts";
import type { ConnectionAttributes, PeerAttributes, RequestAttributes } from "../policy/index.ts";
import { CheckRequestSchema } from "../protos/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { canonicalPath } from "./canonical-path.ts";
import { type Refusal, refusal } from "./denials.ts";
import { type RequestHeaders, WireHeaders } from "./headers.ts";
import { readFilterMetadata } from "./metadata.ts";
import { BYTES, bufferOf, TextInterner, VARINT, WireReader } from "./wire.ts";

/** A Check as it came in, before anything is believed. Decoded as far as somebody asks. */
export interface Check {
  readonly http: CheckHttp;
  /** Those of `http`, without the rest of it. */
  readonly id: string;
  readonly scheme: string;
  readonly protocol: string;
  readonly size: number;
  /** Bytes of the body that came with it. */
  readonly bodyBytes: number;
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
export function decodeCheck(bytes: Uint8Array): WireCheck | undefined {
  return new CheckReader().read(bytes);
}

/** Decodes one Check after the other, into the same object. */
export class CheckReader {
  readonly #check = new WireCheck();

  /** @returns as `decodeCheck`; what it returns holds until the next call */
  read(bytes: Uint8Array): WireCheck | undefined {
    const check = this.#check;
    const found = check.read(bufferOf(bytes));
    if (found !== "unusual") return found === "ok" ? check : undefined;
    try {
      // What Envoy does not write, protobuf may still allow (a message in several pieces): put into the usual form first.
      const usual = check.read(bufferOf(toBinary(CheckRequestSchema, fromBinary(CheckRequestSchema, bytes))));
      return usual === "ok" ? check : undefined;
    } catch {
      // The caller answers malformed_check; what the bytes were is nobody's business here.
      return undefined;
    }
  }
}

const TEXTS = new TextInterner((bytes) => bytes.toString("utf8"));

/** A message inside the CheckRequest, by its place. */
class Place {
  from = 0;
  to = 0;
  found = false;

  /** False when it was found before. */
  set({ from, to }: WireReader): boolean {
    if (this.found) return false;
    this.found = true;
    this.from = from;
    this.to = to;
    return true;
  }
}

const NO_BODY = new Uint8Array();
const NO_BYTES: Buffer = Buffer.alloc(0);

/** One Check at a time, by the places of its parts. */
export class WireCheck implements Check {
  readonly headers = new WireHeaders();
  readonly #outer = new WireReader(NO_BYTES, 0, 0);
  readonly #inner = new WireReader(NO_BYTES, 0, 0);
  readonly #attributes = new Place();
  readonly #source = new Place();
  readonly #destination = new Place();
  readonly #request = new Place();
  readonly #metadata = new Place();
  readonly #tls = new Place();
  readonly #http = new Place();
  readonly #time = new Place();
  readonly #id = new Place();
  readonly #scheme = new Place();
  readonly #protocol = new Place();
  readonly #body = new Place();
  readonly #rawBody = new Place();
  bytes = NO_BYTES;
  #sourcePeer: PeerAttributes | undefined;
  #destinationPeer: PeerAttributes | undefined;
  #filterMetadata: Check["metadata"];
  #plainHttp: CheckHttp | undefined;
  #context: Check["context"] | undefined;
  route = "";
  layout = "";
  nodeGroup = "";
  size = 0;

  get http(): CheckHttp {
    const { id, scheme, protocol, size } = this;
    this.#plainHttp ??= { id, scheme, protocol, size, body: this.#textAt(this.#body), rawBody: this.#rawBytes() };
    return this.#plainHttp;
  }

  get context(): Check["context"] {
    const { route, layout, nodeGroup } = this;
    this.#context ??= { route, layout, nodeGroup };
    return this.#context;
  }

  /** Where the metadata context stands; empty where there is none. */
  get metadataFrom(): number {
    return this.#metadata.found ? this.#metadata.from : 0;
  }
  get metadataTo(): number {
    return this.#metadata.found ? this.#metadata.to : 0;
  }

  /** As `headers.get`, to be handed on by itself. */
  readonly header = (name: string): readonly string[] | undefined => this.headers.get(name);

  get bodyBytes(): number {
    return this.#rawBody.found ? this.#rawBody.to - this.#rawBody.from : 0;
  }

  /** "unusual": for a whole decoder to read. */
  read(bytes: Buffer): "ok" | "unusual" | "none" {
    this.#forget(bytes);
    const found = this.#readParts(bytes);
    if (found !== "ok") return found;
    return this.#readHttp(bytes);
  }

  #forget(bytes: Buffer): void {
    this.bytes = bytes;
    this.#sourcePeer = undefined;
    this.#destinationPeer = undefined;
    this.#filterMetadata = undefined;
    this.#plainHttp = undefined;
    this.#context = undefined;
    this.route = "";
    this.layout = "";
    this.nodeGroup = "";
    this.size = 0;
    this.#attributes.found = false;
    this.#source.found = false;
    this.#destination.found = false;
    this.#request.found = false;
    this.#metadata.found = false;
    this.#tls.found = false;
    this.#http.found = false;
    this.#time.found = false;
    this.#id.found = false;
    this.#scheme.found = false;
    this.#protocol.found = false;
    this.#body.found = false;
    this.#rawBody.found = false;
  }

  #readParts(bytes: Buffer): "ok" | "unusual" | "none" {
    if (bytes.length === 0) return "none";
    const reader = this.#outer;
    reader.reset(bytes, 0, bytes.length);
    while (reader.next()) {
      if (reader.number === 1 && !(reader.is(BYTES) && this.#attributes.set(reader))) return "unusual";
    }
    if (!reader.ok || !this.#attributes.found) return "unusual";
    reader.reset(bytes, this.#attributes.from, this.#attributes.to);
    while (reader.next()) {
      const { number } = reader;
      if (number !== 1 && number !== 2 && number !== 4 && (number < 10 || number > 12)) continue;
      if (!reader.is(BYTES)) return "unusual";
      if (number === 10) {
        if (!this.#readExtension(bytes, reader)) return "unusual";
        continue;
      }
      if (!this.#partOf(number).set(reader)) return "unusual";
    }
    if (!reader.ok) return "unusual";
    if (!this.#request.found) return "none";
    reader.reset(bytes, this.#request.from, this.#request.to);
    while (reader.next()) {
      if (reader.number !== 1 && reader.number !== 2) continue;
      const place = reader.number === 1 ? this.#time : this.#http;
      if (!reader.is(BYTES) || !place.set(reader)) return "unusual";
    }
    if (!reader.ok) return "unusual";
    return this.#http.found ? "ok" : "none";
  }

  /** By its field number in AttributeContext. */
  #partOf(number: number): Place {
    if (number === 1) return this.#source;
    if (number === 2) return this.#destination;
    if (number === 4) return this.#request;
    return number === 11 ? this.#metadata : this.#tls;
  }

  /** An entry of the context extensions. */
  #readExtension(bytes: Buffer, { from, to }: WireReader): boolean {
    const entry = this.#inner;
    entry.reset(bytes, from, to);
    let key = "";
    let value = "";
    while (entry.next()) {
      if (entry.number > 2) continue;
      if (!entry.is(BYTES)) return false;
      if (entry.number === 1) key = TEXTS.text(bytes, entry.from, entry.to);
      else value = TEXTS.text(bytes, entry.from, entry.to);
    }
    if (key === "route") this.route = value;
    else if (key === "layout") this.layout = value;
    else if (key === "node_group") this.nodeGroup = value;
    return entry.ok;
  }

  #readHttp(bytes: Buffer): "ok" | "unusual" | "none" {
    const reader = this.#outer;
    reader.reset(bytes, this.#http.from, this.#http.to);
    let headers = false;
    while (reader.next()) {
      const { number } = reader;
      if (number === 9) {
        if (!reader.is(VARINT)) return "unusual";
        this.size = reader.varint;
        continue;
      }
      if (number !== 1 && number !== 6 && (number < 10 || number > 13)) continue;
      if (!reader.is(BYTES)) return "unusual";
      if (number === 13) {
        if (headers || !this.headers.read(bytes, reader.from, reader.to)) return "unusual";
        headers = true;
      } else {
        const place = this.#partOfHttp(number);
        // The last one counts.
        place.found = false;
        place.set(reader);
      }
    }
    if (!reader.ok) return "unusual";
    // Without `encode_raw_headers` Envoy joins repeated headers and writes "!" for what is not UTF-8, while upstreams get
    // the real bytes: rules would be decided on something else.
    return headers ? "ok" : "none";
  }

  /** By its field number in AttributeContext.HttpRequest. */
  #partOfHttp(number: number): Place {
    if (number === 1) return this.#id;
    if (number === 6) return this.#scheme;
    if (number === 10) return this.#protocol;
    return number === 11 ? this.#body : this.#rawBody;
  }

  get id(): string {
    return this.#textAt(this.#id);
  }

  get scheme(): string {
    return this.#knownTextAt(this.#scheme);
  }

  get protocol(): string {
    return this.#knownTextAt(this.#protocol);
  }

  #textAt({ found, from, to }: Place): string {
    return found && to > from ? this.bytes.toString("utf8", from, to) : "";
  }

  /** As `#textAt`, for what comes again and again. */
  #knownTextAt({ found, from, to }: Place): string {
    return found ? TEXTS.text(this.bytes, from, to) : "";
  }

  #rawBytes(): Uint8Array {
    const { found, from, to } = this.#rawBody;
    return found && to > from ? this.bytes.subarray(from, to) : NO_BODY;
  }

  get grpc(): string | undefined {
    return grpcContentType(this.headers.get("content-type"));
  }

  get source(): PeerAttributes {
    this.#sourcePeer ??= readPeer(this.bytes, this.#source);
    return this.#sourcePeer;
  }

  get destination(): PeerAttributes {
    this.#destinationPeer ??= readPeer(this.bytes, this.#destination);
    return this.#destinationPeer;
  }

  get connection(): ConnectionAttributes {
    const serverName = this.#tls.found ? readServerName(this.bytes, this.#tls) : "";
    const mtls = this.#source.found && hasCertificate(this.bytes, this.#source);
    return serverName === "" ? { mtls } : { mtls, requested_server_name: serverName };
  }

  get metadata(): Check["metadata"] {
    const { found, from, to } = this.#metadata;
    this.#filterMetadata ??= found ? readFilterMetadata(this.bytes, from, to) : {};
    return this.#filterMetadata;
  }

  get time(): number | undefined {
    return this.#time.found ? readTime(this.bytes, this.#time) : undefined;
  }
}

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

/** Envoy's own test for gRPC, and grpc-web, whose clients read the same status headers. */
function grpcContentType(values: readonly string[] | undefined): string | undefined {
  const value = values?.[0]?.toLowerCase();
  if (value?.startsWith("application/grpc") !== true) return undefined;
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

/** One after the other: what they read is read to its end at once. */
const PEER = new WireReader(NO_BYTES, 0, 0);
const ADDRESS = new WireReader(NO_BYTES, 0, 0);
const SOCKET = new WireReader(NO_BYTES, 0, 0);

/** AttributeContext.Peer; one that cannot be read is nobody. */
function readPeer(bytes: Buffer, place: Place): PeerAttributes {
  if (!place.found) return UNKNOWN_PEER;
  const reader = PEER;
  reader.reset(bytes, place.from, place.to);
  let address = UNKNOWN_PEER;
  let principal = "";
  while (reader.next()) {
    if (reader.number !== 1 && reader.number !== 4) continue;
    if (!reader.is(BYTES)) return UNKNOWN_PEER;
    if (reader.number === 1) address = readAddress(bytes, reader.from, reader.to);
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
function readAddress(bytes: Buffer, from: number, to: number): PeerAttributes {
  const outer = ADDRESS;
  const inner = SOCKET;
  outer.reset(bytes, from, to);
  let peer = UNKNOWN_PEER;
  while (outer.next()) {
    if (outer.number > 3) continue;
    if (!outer.is(BYTES)) return UNKNOWN_PEER;
    inner.reset(bytes, outer.from, outer.to);
    const textField = outer.number === 1 ? 2 : outer.number === 2 ? 1 : 0;
    let address = "";
    let port = 0;
    while (inner.next()) {
      if (inner.number === textField && inner.is(BYTES)) address = TEXTS.text(bytes, inner.from, inner.to);
      else if (outer.number === 1 && inner.number === 3 && inner.is(VARINT)) port = inner.varint;
      else if (outer.number === 1 && inner.number === 4) port = 0;
    }
    if (!inner.ok) return UNKNOWN_PEER;
    peer = { address, port };
  }
  return outer.ok ? peer : UNKNOWN_PEER;
}
