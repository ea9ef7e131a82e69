import { fromBinary, type JsonObject, toBinary } from "@bufbuild/protobuf";
import type { ConnectionAttributes, PeerAttributes } from "../policy/index.ts";
import { CheckRequestSchema } from "../protos/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { hasCertificate, NO_BYTES, Place, readServerName, readTime, TEXTS } from "./check-parts.ts";
import { KEPT_HEADER, type RequestHeaders, WireHeaders } from "./headers.ts";
import { readFilterMetadata } from "./metadata.ts";
import { WirePeer } from "./peer.ts";
import { BYTES, bufferOf, type Span, VARINT, WireReader } from "./wire.ts";

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

/** Requests up to so many bytes are copied to one place, which no other takes meanwhile. */
const COPIED_BYTES = 16 * 1024;

/** Decodes one Check after the other, into the same object. */
export class CheckReader {
  readonly #check = new WireCheck();
  readonly #copy = Buffer.alloc(COPIED_BYTES);
  readonly #copyView = viewOf(this.#copy);

  /** @returns as `decodeCheck`; what it returns holds until the next call */
  read(bytes: Uint8Array): WireCheck | undefined {
    const found = this.#read(bytes);
    if (found !== "unusual") return found === "ok" ? this.#check : undefined;
    try {
      // What Envoy does not write, protobuf may still allow (a message in several pieces): put into the usual form first.
      const usual = this.#read(toBinary(CheckRequestSchema, fromBinary(CheckRequestSchema, bytes)));
      return usual === "ok" ? this.#check : undefined;
    } catch {
      // The caller answers malformed_check; what the bytes were is nobody's business here.
      return undefined;
    }
  }

  #read(bytes: Uint8Array): "ok" | "unusual" | "none" {
    const { length } = bytes;
    if (length <= COPIED_BYTES) {
      this.#copy.set(bytes);
      return this.#check.read(this.#copy, this.#copyView, length);
    }
    const buffer = bufferOf(bytes);
    return this.#check.read(buffer, viewOf(buffer), length);
  }
}

function viewOf({ buffer, byteOffset, length }: Buffer): DataView {
  return new DataView(buffer, byteOffset, length);
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
  readonly #routeText = new Place();
  readonly #layoutText = new Place();
  readonly #nodeGroupText = new Place();
  readonly #peer = new WirePeer();
  #peerRead = false;
  bytes = NO_BYTES;
  /** Over the same memory. */
  view = new DataView(NO_BYTES.buffer, 0, 0);
  #sourcePeer: PeerAttributes | undefined;
  #destinationPeer: PeerAttributes | undefined;
  #filterMetadata: Check["metadata"];
  #plainHttp: CheckHttp | undefined;
  #context: Check["context"] | undefined;
  #route: string | undefined;
  #layout: string | undefined;
  #nodeGroup: string | undefined;
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

  get route(): string {
    this.#route ??= this.#knownTextAt(this.#routeText);
    return this.#route;
  }
  get layout(): string {
    this.#layout ??= this.#knownTextAt(this.#layoutText);
    return this.#layout;
  }
  get nodeGroup(): string {
    this.#nodeGroup ??= this.#knownTextAt(this.#nodeGroupText);
    return this.#nodeGroup;
  }

  /** Where parts stand, for who compares bytes. */
  get metadataSpan(): Span {
    return this.#metadata;
  }
  get schemeSpan(): Span {
    return this.#scheme;
  }
  get protocolSpan(): Span {
    return this.#protocol;
  }
  get nodeGroupSpan(): Span {
    return this.#nodeGroupText;
  }
  get sourcePlaces(): WirePeer {
    if (!this.#peerRead) {
      this.#peer.read(this.bytes, this.#source);
      this.#peerRead = true;
    }
    return this.#peer;
  }

  /** The text of the path up to a place in `bytes`. */
  pathUpTo(end: number): string {
    const index = this.headers.onlyIndex(KEPT_HEADER.path);
    return index < 0 ? "" : this.bytes.toString("latin1", this.headers.startOf(index), end);
  }

  /** As `headers.get`, to be handed on by itself. */
  readonly header = (name: string): readonly string[] | undefined => this.headers.get(name);

  get bodyBytes(): number {
    return this.#rawBody.found ? this.#rawBody.to - this.#rawBody.from : 0;
  }

  /**
   * @param view  over the memory of `bytes`, of which the first `length` are read
   * @returns "unusual": for a whole decoder to read
   */
  read(bytes: Buffer, view: DataView, length: number): "ok" | "unusual" | "none" {
    this.#forget(bytes, view);
    const found = this.#readParts(bytes, length);
    if (found !== "ok") return found;
    return this.#readHttp(bytes);
  }

  #forget(bytes: Buffer, view: DataView): void {
    this.bytes = bytes;
    this.view = view;
    this.#peerRead = false;
    this.#sourcePeer = undefined;
    this.#destinationPeer = undefined;
    this.#filterMetadata = undefined;
    this.#plainHttp = undefined;
    this.#context = undefined;
    this.#route = undefined;
    this.#layout = undefined;
    this.#nodeGroup = undefined;
    this.#routeText.found = false;
    this.#layoutText.found = false;
    this.#nodeGroupText.found = false;
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

  #readParts(bytes: Buffer, length: number): "ok" | "unusual" | "none" {
    if (length === 0) return "none";
    const reader = this.#outer;
    reader.reset(bytes, 0, length);
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

  /** An entry of the context extensions. Of one that comes again the last one counts, as in any map. */
  #readExtension(bytes: Buffer, { from, to }: WireReader): boolean {
    const entry = this.#inner;
    entry.reset(bytes, from, to);
    let key = from;
    let keyEnd = from;
    let value = from;
    let valueEnd = from;
    while (entry.next()) {
      if (entry.number > 2) continue;
      if (!entry.is(BYTES)) return false;
      if (entry.number === 1) {
        key = entry.from;
        keyEnd = entry.to;
      } else {
        value = entry.from;
        valueEnd = entry.to;
      }
    }
    this.#extensionOf(bytes, key, keyEnd)?.put(value, valueEnd);
    return entry.ok;
  }

  /** By its key. */
  #extensionOf(bytes: Buffer, from: number, to: number): Place | undefined {
    if (isText(bytes, from, to, "route")) return this.#routeText;
    if (isText(bytes, from, to, "layout")) return this.#layoutText;
    return isText(bytes, from, to, "node_group") ? this.#nodeGroupText : undefined;
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
        place.put(reader.from, reader.to);
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
    const index = this.headers.onlyIndex(KEPT_HEADER.contentType);
    if (index === -1 || (index >= 0 && !this.headers.startsWith(index, "application/grpc"))) return undefined;
    return grpcContentType(this.headers.get("content-type"));
  }

  get source(): PeerAttributes {
    this.#sourcePeer ??= this.sourcePlaces.attributes(this.bytes);
    return this.#sourcePeer;
  }

  get destination(): PeerAttributes {
    if (this.#destinationPeer === undefined) {
      const peer = new WirePeer();
      peer.read(this.bytes, this.#destination);
      this.#destinationPeer = peer.attributes(this.bytes);
    }
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

/** Whether these bytes are a text of ASCII. */
function isText(bytes: Uint8Array, from: number, to: number, text: string): boolean {
  if (to - from !== text.length) return false;
  for (let at = 0; at < text.length; at += 1) if (bytes[from + at] !== text.charCodeAt(at)) return false;
  return true;
}
