import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { EncodedResource } from "../compiler/index.ts";
import type { DeltaDiscoveryRequest, DiscoveryRequest } from "../protos/gen/envoy/service/discovery/v3/discovery_pb.ts";
import { identityOf } from "./node-identity.ts";
import type { Response } from "./respond.ts";
import type { SessionRequest } from "./session.ts";
import type { Protocol } from "./session-state.ts";

export function fromSotw(request: DiscoveryRequest, trustUnlisted: boolean): SessionRequest {
  return {
    typeUrl: request.typeUrl,
    node: request.node === undefined ? undefined : identityOf(request.node, trustUnlisted),
    nonce: request.responseNonce,
    error: errorOf(request),
    names: { protocol: "sotw", versionInfo: request.versionInfo, names: request.resourceNames },
  };
}

export function fromDelta(request: DeltaDiscoveryRequest, trustUnlisted: boolean): SessionRequest {
  return {
    typeUrl: request.typeUrl,
    node: request.node === undefined ? undefined : identityOf(request.node, trustUnlisted),
    nonce: request.responseNonce,
    error: errorOf(request),
    names: {
      protocol: "delta",
      subscribe: request.resourceNamesSubscribe,
      unsubscribe: request.resourceNamesUnsubscribe,
      claims: new Map(Object.entries(request.initialResourceVersions)),
    },
  };
}

function errorOf({ errorDetail }: DiscoveryRequest | DeltaDiscoveryRequest): string | undefined {
  if (errorDetail === undefined) return undefined;
  return errorDetail.message === "" ? `code ${errorDetail.code}` : errorDetail.message;
}

const entries: Readonly<Record<Protocol, WeakMap<EncodedResource, Uint8Array>>> = {
  sotw: new WeakMap(),
  delta: new WeakMap(),
};

/**
 * The bytes of a DiscoveryResponse or DeltaDiscoveryResponse (field numbers of discovery.proto). Each resource is
 * wrapped once, however many streams it goes to.
 */
export function encodeResponse(protocol: Protocol, response: Response): Buffer {
  const head = new BinaryWriter().tag(1, WireType.LengthDelimited).string(response.version);
  const tail = new BinaryWriter().tag(4, WireType.LengthDelimited).string(response.typeUrl);
  tail.tag(5, WireType.LengthDelimited).string(response.nonce);
  for (const name of response.removed) tail.tag(6, WireType.LengthDelimited).string(name);
  const chunks: Uint8Array[] = [head.finish()];
  for (const resource of response.resources) chunks.push(entryOf(protocol, resource));
  chunks.push(tail.finish());
  return Buffer.concat(chunks);
}

/** Field 2, `resources`: an Any, or (delta) a Resource with name, version and Any. */
function entryOf(protocol: Protocol, resource: EncodedResource): Uint8Array {
  const cache = entries[protocol];
  const known = cache.get(resource);
  if (known !== undefined) return known;
  const any = new BinaryWriter()
    .tag(1, WireType.LengthDelimited)
    .string(resource.typeUrl)
    .tag(2, WireType.LengthDelimited)
    .bytes(resource.value)
    .finish();
  const body =
    protocol === "sotw"
      ? any
      : new BinaryWriter()
          .tag(1, WireType.LengthDelimited)
          .string(resource.version)
          .tag(2, WireType.LengthDelimited)
          .bytes(any)
          .tag(3, WireType.LengthDelimited)
          .string(resource.name)
          .finish();
  const entry = new BinaryWriter().tag(2, WireType.LengthDelimited).bytes(body).finish();
  cache.set(resource, entry);
  return entry;
}
