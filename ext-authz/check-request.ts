import { fromBinary, type JsonObject, toBinary } from "@bufbuild/protobuf";
import type { ConnectionAttributes, PeerAttributes } from "../policy/index.ts";
import { CheckRequestSchema } from "../protos/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { hasCertificate, NO_BYTES, Place, readPeer, readServerName, readTime, TEXTS } from "./check-parts.ts";
import { type RequestHeaders, WireHeaders } from "./headers.ts";
import { readFilterMetadata } from "./metadata.ts";
import { BYTES, bufferOf, VARINT, WireReader } from "./wire.ts";

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

const NO_BODY = new Uint8Array();

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

/** Envoy's own test for gRPC, and grpc-web, whose clients read the same status headers. */
function grpcContentType(values: readonly string[] | undefined): string | undefined {
  const value = values?.[0]?.toLowerCase();
  if (value?.startsWith("application/grpc") !== true) return undefined;
  return /^application\/grpc(-web(-text)?)?(\+[a-z0-9.-]{1,32})?$/.exec(value.split(";")[0]?.trim() ?? "")?.[0];
}
