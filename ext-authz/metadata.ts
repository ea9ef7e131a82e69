import { fromBinary, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { MetadataSchema } from "../protos/gen/envoy/config/core/v3/base_pb.ts";
import { BYTES, FIXED64, TextInterner, VARINT, WireReader } from "./wire.ts";

/** Nesting that is read here; deeper ones are left to the general decoder. */
const DEPTH = 32;

const KEYS = new TextInterner((bytes) => bytes.toString("utf8"));

/**
 * `filter_metadata` of an `envoy.config.core.v3.Metadata` that stands from `from` to `to`.
 *
 * @returns undefined for what is no such message
 */
export function readFilterMetadata(bytes: Buffer, from: number, to: number): Record<string, JsonObject> | undefined {
  const metadata: Record<string, JsonObject> = {};
  const reader = new WireReader(bytes, from, to);
  let ok = true;
  while (ok && reader.next()) {
    if (reader.number !== 1) continue;
    const entry = reader.is(BYTES) ? readEntry(bytes, reader, (value) => readStruct(bytes, value, 0)) : undefined;
    if (entry === undefined) ok = false;
    else metadata[entry.key] = entry.value ?? {};
  }
  if (ok && reader.ok) return metadata;
  try {
    return fromBinary(MetadataSchema, bytes.subarray(from, to)).filterMetadata;
  } catch {
    // The caller says that the request could not be read.
    return undefined;
  }
}

/** Fields of a google.protobuf.Struct; undefined: something that the general decoder has to judge. */
function readStruct(bytes: Buffer, reader: WireReader, depth: number): JsonObject | undefined {
  if (depth > DEPTH) return undefined;
  const struct: JsonObject = {};
  while (reader.next()) {
    if (reader.number !== 1) continue;
    if (!reader.is(BYTES)) return undefined;
    const entry = readEntry(bytes, reader, (value) => readValue(bytes, value, depth + 1));
    if (entry?.value === undefined) return undefined;
    struct[entry.key] = entry.value;
  }
  return reader.ok ? struct : undefined;
}

/** An entry of a map with text keys; `value` is undefined where there is none, the whole where it cannot be read. */
function readEntry<T>(
  bytes: Buffer,
  map: WireReader,
  read: (value: WireReader) => T | undefined,
): { readonly key: string; readonly value: T | undefined } | undefined {
  const reader = map.inner();
  let key = "";
  let value: T | undefined;
  while (reader.next()) {
    if (reader.number > 2) continue;
    if (!reader.is(BYTES)) return undefined;
    if (reader.number === 1) key = KEYS.text(bytes, reader.from, reader.to);
    else if (value !== undefined) return undefined;
    else {
      value = read(reader.inner());
      if (value === undefined) return undefined;
    }
  }
  // A key that JavaScript objects do not take as it is.
  return reader.ok && key !== "__proto__" ? { key, value } : undefined;
}

/** A google.protobuf.Value with exactly one kind. */
function readValue(bytes: Buffer, reader: WireReader, depth: number): JsonValue | undefined {
  if (!reader.next()) return undefined;
  const value = readKind(bytes, reader, depth);
  return reader.next() || !reader.ok ? undefined : value;
}

function readKind(bytes: Buffer, reader: WireReader, depth: number): JsonValue | undefined {
  switch (reader.number) {
    case 1:
      return reader.wire === VARINT && reader.varint === 0 ? null : undefined;
    case 2: {
      if (reader.wire !== FIXED64) return undefined;
      const number = bytes.readDoubleLE(reader.from);
      return Number.isFinite(number) ? number : undefined;
    }
    case 3:
      return reader.wire === BYTES ? bytes.toString("utf8", reader.from, reader.to) : undefined;
    case 4:
      return reader.wire === VARINT && reader.varint <= 1 ? reader.varint === 1 : undefined;
    case 5:
      return reader.wire === BYTES ? readStruct(bytes, reader.inner(), depth) : undefined;
    case 6:
      return reader.wire === BYTES ? readList(bytes, reader.inner(), depth) : undefined;
    default:
      return undefined;
  }
}

function readList(bytes: Buffer, reader: WireReader, depth: number): JsonValue[] | undefined {
  if (depth > DEPTH) return undefined;
  const list: JsonValue[] = [];
  while (reader.next()) {
    if (reader.number !== 1) continue;
    const value = reader.is(BYTES) ? readValue(bytes, reader.inner(), depth + 1) : undefined;
    if (value === undefined) return undefined;
    list.push(value);
  }
  return reader.ok ? list : undefined;
}
