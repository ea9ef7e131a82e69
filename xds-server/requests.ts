import { fromBinary } from "@bufbuild/protobuf";
import { NodeSchema } from "../protos/gen/envoy/config/core/v3/base_pb.ts";
import {
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  type DiscoveryRequest,
  DiscoveryRequestSchema,
} from "../protos/gen/envoy/service/discovery/v3/discovery_pb.ts";
import { checkName, type NameList, type NameLists } from "./name-lists.ts";
import { type IdentitySettings, identityOf, type NodeIdentity } from "./node-identity.ts";
import type { SessionRequest } from "./session.ts";
import type { Protocol } from "./session-state.ts";

/** Field numbers of DiscoveryRequest and DeltaDiscoveryRequest (discovery.proto). `names`: to subscribe to. */
const FIELDS = {
  sotw: { version: 1, node: 2, names: 3, typeUrl: 4, nonce: 5 },
  delta: { version: 0, node: 1, names: 3, typeUrl: 2, nonce: 6 },
} as const;
/** Types whose last list of names is remembered; a stream has few. */
const MAX_TYPES = 64;

const NO_BYTES: Buffer = Buffer.alloc(0);
const NO_NAMES: readonly string[] = [];
const NO_CLAIMS: ReadonlyMap<string, string> = new Map();

/**
 * Reads the requests of one stream. Most are acknowledgements, which hold little, or repeat the names of the one before,
 * so only what is rare (claims, refusals, names given up, another node) is decoded as a whole.
 */
export class RequestReader {
  readonly #protocol: Protocol;
  readonly #settings: IdentitySettings;
  readonly #lists: NameLists;
  readonly #lastNames = new Map<string, NameList>();
  #lastTypeUrl = { bytes: Buffer.alloc(0), text: "" };
  #lastNode: { readonly bytes: Buffer; readonly identity: NodeIdentity } | undefined;

  constructor(protocol: Protocol, settings: IdentitySettings, lists: NameLists) {
    this.#protocol = protocol;
    this.#settings = settings;
    this.#lists = lists;
  }

  /** @throws Error where the bytes are no request of the protocol */
  read(bytes: Buffer): SessionRequest {
    const parts = scan(bytes, this.#protocol, this.#lastNames.values());
    if (parts === undefined) return this.#decode(bytes);
    const typeUrl = this.#typeUrl(parts.typeUrl);
    const names = this.#names(typeUrl, parts.names);
    return {
      typeUrl,
      node: parts.node === undefined ? undefined : this.#identity(parts.node),
      nonce: parts.nonce.toString(),
      error: undefined,
      names:
        this.#protocol === "delta"
          ? { protocol: "delta", subscribe: names, unsubscribe: NO_NAMES, claims: NO_CLAIMS }
          : { protocol: "sotw", versionInfo: parts.version.toString(), names },
    };
  }

  #typeUrl(bytes: Buffer): string {
    if (this.#lastTypeUrl.bytes.equals(bytes)) return this.#lastTypeUrl.text;
    this.#lastTypeUrl = { bytes: Buffer.from(bytes), text: checkName(bytes.toString()) };
    return this.#lastTypeUrl.text;
  }

  #names(typeUrl: string, field: Buffer): readonly string[] {
    if (field.length === 0) return NO_NAMES;
    const last = this.#lastNames.get(typeUrl);
    if (last?.field.equals(field)) return last.names;
    const list = this.#lists.list(field);
    // What is not a list of its own would keep the whole request alive.
    if (list.field !== field && this.#lastNames.size < MAX_TYPES) this.#lastNames.set(typeUrl, list);
    return list.names;
  }

  #identity(bytes: Buffer): NodeIdentity {
    if (this.#lastNode?.bytes.equals(bytes)) return this.#lastNode.identity;
    const identity = identityOf(fromBinary(NodeSchema, bytes), this.#settings);
    this.#lastNode ??= { bytes: Buffer.from(bytes), identity };
    return identity;
  }

  #decode(bytes: Buffer): SessionRequest {
    return this.#protocol === "delta"
      ? fromDelta(fromBinary(DeltaDiscoveryRequestSchema, bytes), this.#settings)
      : fromSotw(fromBinary(DiscoveryRequestSchema, bytes), this.#settings);
  }
}

interface Parts {
  readonly version: Buffer;
  readonly node: Buffer | undefined;
  /** The repeated field as a whole; where it is that of a known list, the very buffer of that. */
  readonly names: Buffer;
  readonly typeUrl: Buffer;
  readonly nonce: Buffer;
}

/** Wire type of strings, bytes and messages: a length comes first. */
const LENGTH_DELIMITED = 2;
/** A byte of a varint after which another one comes. */
const MORE = 0x80;

/**
 * Where the parts of a request lie; undefined where it has others, or has them in an order that none sends.
 *
 * @param known  lists that came before in the stream: one that comes again is compared as a whole, not read name by name
 */
function scan(bytes: Buffer, protocol: Protocol, known: Iterable<NameList>): Parts | undefined {
  const field = FIELDS[protocol];
  let [version, names, typeUrl, nonce] = [NO_BYTES, NO_BYTES, NO_BYTES, NO_BYTES];
  let node: Buffer | undefined;
  let namesFrom = -1;
  let namesTo = -1;
  let at = 0;
  while (at < bytes.length) {
    const start = at;
    const tag = bytes[at++] ?? 0;
    // Tags of two bytes belong to fields that are decoded as a whole, if there are any.
    if ((tag & MORE) !== 0 || (tag & 7) !== LENGTH_DELIMITED) return undefined;
    const number = tag >>> 3;
    if (number === field.names && namesFrom === -1) {
      const list = listAt(bytes, start, tag, known);
      if (list !== undefined) {
        names = list.field;
        namesFrom = start;
        namesTo = at = start + names.length;
        continue;
      }
    }
    let length = 0;
    let shift = 0;
    let byte = MORE;
    for (; (byte & MORE) !== 0; shift += 7) {
      if (at === bytes.length || shift > 21) return undefined;
      byte = bytes[at++] ?? 0;
      length |= (byte & ~MORE) << shift;
    }
    const from = at;
    at += length;
    if (at > bytes.length) return undefined;
    switch (number) {
      case field.names:
        if (namesFrom === -1) namesFrom = start;
        else if (namesTo !== start) return undefined;
        namesTo = at;
        break;
      case field.typeUrl:
        typeUrl = bytes.subarray(from, at);
        break;
      case field.nonce:
        nonce = bytes.subarray(from, at);
        break;
      case field.version:
        version = bytes.subarray(from, at);
        break;
      case field.node:
        // Two of them would have to be merged.
        if (node !== undefined) return undefined;
        node = bytes.subarray(from, at);
        break;
      default:
        return undefined;
    }
  }
  if (namesFrom !== -1 && names === NO_BYTES) names = bytes.subarray(namesFrom, namesTo);
  return { version, node, names, typeUrl, nonce };
}

/** The list that is all of the names that begin here. */
function listAt(bytes: Buffer, start: number, tag: number, known: Iterable<NameList>): NameList | undefined {
  for (const list of known) {
    const end = start + list.field.length;
    // Where another name follows, it is a longer list.
    if (end > bytes.length || bytes[end] === tag) continue;
    if (list.field.compare(bytes, start, end) === 0) return list;
  }
  return undefined;
}

/** @throws Error for a name that is too long to be kept */
export function fromSotw(request: DiscoveryRequest, settings: IdentitySettings): SessionRequest {
  for (const name of request.resourceNames) checkName(name);
  return {
    typeUrl: checkName(request.typeUrl),
    node: request.node === undefined ? undefined : identityOf(request.node, settings),
    nonce: request.responseNonce,
    error: errorOf(request),
    names: { protocol: "sotw", versionInfo: request.versionInfo, names: request.resourceNames },
  };
}

/** @throws Error for a name or version that is too long to be kept */
export function fromDelta(request: DeltaDiscoveryRequest, settings: IdentitySettings): SessionRequest {
  const claims = Object.entries(request.initialResourceVersions);
  for (const names of [request.resourceNamesSubscribe, request.resourceNamesUnsubscribe, ...claims]) {
    for (const name of names) checkName(name);
  }
  return {
    typeUrl: checkName(request.typeUrl),
    node: request.node === undefined ? undefined : identityOf(request.node, settings),
    nonce: request.responseNonce,
    error: errorOf(request),
    names: {
      protocol: "delta",
      subscribe: request.resourceNamesSubscribe,
      unsubscribe: request.resourceNamesUnsubscribe,
      claims: new Map(claims),
    },
  };
}

function errorOf({ errorDetail }: DiscoveryRequest | DeltaDiscoveryRequest): string | undefined {
  if (errorDetail === undefined) return undefined;
  return errorDetail.message === "" ? `code ${errorDetail.code}` : errorDetail.message;
}
