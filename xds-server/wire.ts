import { toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { DurationSchema, durationFromMs } from "@bufbuild/protobuf/wkt";
import { typeUrl } from "../envoy/index.ts";
import { ResourceSchema } from "../protos/gen/envoy/service/discovery/v3/discovery_pb.ts";
import type { Bodiless, Response } from "./respond.ts";
import type { Protocol } from "./session-state.ts";
import type { ServedResource } from "./snapshot.ts";

/** Bytes of `resources` entries, by what the client is told: each resource is wrapped once, however many streams get it. */
const entries = {
  plain: new WeakMap<ServedResource, Uint8Array>(),
  named: new WeakMap<ServedResource, Uint8Array>(),
  expiring: new WeakMap<ServedResource, Uint8Array>(),
};

/** Lists shorter than this are put together as fast as they are looked up. */
const SHARED_FROM = 8;
/** By protocol and list of resources that streams share: what of their responses is the same, and with which version. */
const bodies: Readonly<Record<Protocol, WeakMap<readonly ServedResource[], { version: string; body: Buffer }>>> = {
  sotw: new WeakMap(),
  delta: new WeakMap(),
};

/** The bytes of a DiscoveryResponse or DeltaDiscoveryResponse (field numbers of discovery.proto). */
export function encodeResponse(protocol: Protocol, response: Response): Buffer {
  const { resources, shared, bodiless } = response;
  const tail = [textField(5, response.nonce)];
  for (const name of response.removed) tail.push(textField(6, name));
  if (!shared || resources.length < SHARED_FROM || bodiless.length > 0) {
    return Buffer.concat([...chunksOf(protocol, response), ...tail]);
  }
  let known = bodies[protocol].get(resources);
  if (known === undefined || known.version !== response.version) {
    known = { version: response.version, body: Buffer.concat(chunksOf(protocol, response)) };
    bodies[protocol].set(resources, known);
  }
  return Buffer.concat([known.body, ...tail]);
}

/** All of a response but what is the stream's own. */
function chunksOf(protocol: Protocol, { typeUrl, version, ttl, resources, bodiless }: Response): Uint8Array[] {
  const chunks: Uint8Array[] = [repeated.version(version)];
  for (const resource of resources) {
    chunks.push(protocol === "delta" ? deltaEntry(resource, ttl) : sotwEntry(resource, ttl, version));
  }
  for (const bare of bodiless) {
    // State of the world has one version for all: a client knows a heartbeat by it.
    chunks.push(protocol === "delta" ? field2(resourceOf(bare, undefined)) : wrapped({ ...bare, version }, undefined));
  }
  chunks.push(repeated.typeUrl(typeUrl));
  return chunks;
}

function deltaEntry(resource: ServedResource, ttl: boolean): Uint8Array {
  const told = ttl && resource.ttlMs !== undefined;
  return cached(told ? entries.expiring : entries.named, resource, () =>
    field2(
      resourceOf({ ...resource, ttlMs: told ? resource.ttlMs : undefined }, anyOf(resource.typeUrl, resource.value)),
    ),
  );
}

/** An Any of the resource; one that expires comes in an Any of a Resource (xds_protocol.rst, "TTL": SotW). */
function sotwEntry(resource: ServedResource, ttl: boolean, version: string): Uint8Array {
  const body = () => anyOf(resource.typeUrl, resource.value);
  if (ttl && resource.ttlMs !== undefined) return wrapped({ ...resource, version }, body());
  return cached(entries.plain, resource, () => field2(body()));
}

function cached(
  cache: WeakMap<ServedResource, Uint8Array>,
  resource: ServedResource,
  make: () => Uint8Array,
): Uint8Array {
  const known = cache.get(resource);
  if (known !== undefined) return known;
  const entry = make();
  cache.set(resource, entry);
  return entry;
}

function wrapped(resource: Bodiless, body: Uint8Array | undefined): Uint8Array {
  return field2(anyOf(typeUrl(ResourceSchema), resourceOf({ ...resource, aliases: undefined }, body)));
}

/** Fields that one stream after the other is sent: the last few are kept. */
const repeated = { version: lastFields(1, 8), typeUrl: lastFields(4, 32) };

function lastFields(number: number, most: number): (text: string) => Uint8Array {
  const fields = new Map<string, Uint8Array>();
  return (text) => {
    const known = fields.get(text);
    if (known !== undefined) return known;
    const field = textField(number, text);
    if (fields.size >= most) fields.clear();
    fields.set(text, field);
    return field;
  };
}

/** A string field. Nonces and versions are short: this saves a writer for each. */
function textField(number: number, text: string): Uint8Array {
  const length = Buffer.byteLength(text);
  if (length > 127) return new BinaryWriter().tag(number, WireType.LengthDelimited).string(text).finish();
  const field = Buffer.allocUnsafe(2 + length);
  field[0] = number * 8 + WireType.LengthDelimited;
  field[1] = length;
  field.write(text, 2);
  return field;
}

function field2(bytes: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(2, WireType.LengthDelimited).bytes(bytes).finish();
}

function anyOf(typeUrl: string, value: Uint8Array): Uint8Array {
  const writer = new BinaryWriter().tag(1, WireType.LengthDelimited).string(typeUrl);
  return writer.tag(2, WireType.LengthDelimited).bytes(value).finish();
}

/** envoy.service.discovery.v3.Resource */
function resourceOf({ name, version, ttlMs, aliases }: Bodiless, body: Uint8Array | undefined): Uint8Array {
  const writer = new BinaryWriter();
  if (version !== "") writer.tag(1, WireType.LengthDelimited).string(version);
  if (body !== undefined) writer.tag(2, WireType.LengthDelimited).bytes(body);
  writer.tag(3, WireType.LengthDelimited).string(name);
  for (const alias of aliases ?? []) writer.tag(4, WireType.LengthDelimited).string(alias);
  if (ttlMs !== undefined)
    writer.tag(6, WireType.LengthDelimited).bytes(toBinary(DurationSchema, durationFromMs(ttlMs)));
  return writer.finish();
}
