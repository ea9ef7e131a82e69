import { fromBinary, type JsonObject, toBinary } from "@bufbuild/protobuf";
import type { ConnectionAttributes, PeerAttributes } from "../policy/index.ts";
import { CheckRequestSchema } from "../protos/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { hasCertificate, readServerName, readTime, TEXTS } from "./check-parts.ts";
import { CheckPlaces, PART, type Part } from "./check-places.ts";
import { KEPT_HEADER, type RequestHeaders } from "./headers.ts";
import { readFilterMetadata } from "./metadata.ts";
import { WirePeer } from "./peer.ts";
import { bufferOf, NO_BYTES } from "./wire.ts";

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
    if (this.#read(bytes)) return this.#check.complete ? this.#check : undefined;
    try {
      // What Envoy does not write, protobuf may still allow (a message in several pieces): put into the usual form first.
      const usual = this.#read(toBinary(CheckRequestSchema, fromBinary(CheckRequestSchema, bytes)));
      return usual && this.#check.complete ? this.#check : undefined;
    } catch {
      // The caller answers malformed_check; what the bytes were is nobody's business here.
      return undefined;
    }
  }

  #read(bytes: Uint8Array): boolean {
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

/** One Check at a time, by the places of its parts. */
export class WireCheck implements Check {
  readonly places = new CheckPlaces();
  readonly headers = this.places.headers;
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

  /**
   * @param view  over the memory of `bytes`, of which the first `length` are read
   * @returns false for what only a whole decoder can read
   */
  read(bytes: Buffer, view: DataView, length: number): boolean {
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
    return this.places.read(bytes, view, length);
  }

  /**
   * Whether it is about an HTTP request with raw headers. Without `encode_raw_headers` Envoy joins repeated headers and
   * writes "!" for what is not UTF-8, while upstreams get the real bytes: rules would be decided on something else.
   */
  get complete(): boolean {
    return this.places.has(PART.headers);
  }

  get http(): CheckHttp {
    const { id, scheme, protocol, size } = this;
    this.#plainHttp ??= { id, scheme, protocol, size, body: this.#textOf(PART.body), rawBody: this.#rawBytes() };
    return this.#plainHttp;
  }

  get size(): number {
    return this.places.size;
  }

  get context(): Check["context"] {
    const { route, layout, nodeGroup } = this;
    this.#context ??= { route, layout, nodeGroup };
    return this.#context;
  }

  get route(): string {
    this.#route ??= this.#knownTextOf(PART.route);
    return this.#route;
  }
  get layout(): string {
    this.#layout ??= this.#knownTextOf(PART.layout);
    return this.#layout;
  }
  get nodeGroup(): string {
    this.#nodeGroup ??= this.#knownTextOf(PART.nodeGroup);
    return this.#nodeGroup;
  }

  /** Where address and principal of the source stand, for who compares bytes. */
  get sourcePlaces(): WirePeer {
    if (!this.#peerRead) {
      this.#readPeer(this.#peer, PART.source);
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
    return this.places.to(PART.rawBody) - this.places.from(PART.rawBody);
  }

  get id(): string {
    return this.#textOf(PART.id);
  }

  get scheme(): string {
    return this.#knownTextOf(PART.scheme);
  }

  get protocol(): string {
    return this.#knownTextOf(PART.protocol);
  }

  #textOf(part: Part): string {
    const { places } = this;
    return places.has(part) ? this.bytes.toString("utf8", places.from(part), places.to(part)) : "";
  }

  /** As `#textOf`, for what comes again and again. */
  #knownTextOf(part: Part): string {
    return TEXTS.text(this.bytes, this.places.from(part), this.places.to(part));
  }

  #rawBytes(): Uint8Array {
    const { places } = this;
    return this.bodyBytes === 0 ? NO_BYTES : this.bytes.subarray(places.from(PART.rawBody), places.to(PART.rawBody));
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
      this.#readPeer(peer, PART.destination);
      this.#destinationPeer = peer.attributes(this.bytes);
    }
    return this.#destinationPeer;
  }

  #readPeer(peer: WirePeer, part: Part): void {
    const { places } = this;
    if (places.has(part)) peer.read(this.bytes, places.from(part), places.to(part));
    else peer.forget();
  }

  get connection(): ConnectionAttributes {
    const { places, bytes } = this;
    const serverName = places.has(PART.tls) ? readServerName(bytes, places.from(PART.tls), places.to(PART.tls)) : "";
    const mtls = places.has(PART.source) && hasCertificate(bytes, places.from(PART.source), places.to(PART.source));
    return serverName === "" ? { mtls } : { mtls, requested_server_name: serverName };
  }

  get metadata(): Check["metadata"] {
    const { places, bytes } = this;
    this.#filterMetadata ??= places.has(PART.metadata)
      ? readFilterMetadata(bytes, places.from(PART.metadata), places.to(PART.metadata))
      : {};
    return this.#filterMetadata;
  }

  get time(): number | undefined {
    const { places } = this;
    return places.has(PART.time) ? readTime(this.bytes, places.from(PART.time), places.to(PART.time)) : undefined;
  }
}

/** Envoy's own test for gRPC, and grpc-web, whose clients read the same status headers. */
function grpcContentType(values: readonly string[] | undefined): string | undefined {
  const value = values?.[0]?.toLowerCase();
  if (value?.startsWith("application/grpc") !== true) return undefined;
  return /^application\/grpc(-web(-text)?)?(\+[a-z0-9.-]{1,32})?$/.exec(value.split(";")[0]?.trim() ?? "")?.[0];
}
