import { isUtf8 } from "node:buffer";
import type { HeaderMap } from "../protos/gen/envoy/config/core/v3/base_pb.ts";

export interface RequestHeaders {
  /** Lower-case name → every value, in order. Without pseudo headers. */
  readonly fields: ReadonlyMap<string, readonly string[]>;
  /** ":path", ":method", … → value with one char per byte; absent when it is missing or stands more than once. */
  readonly pseudo: ReadonlyMap<string, string>;
}

/**
 * Headers as Envoy has them (`encode_raw_headers`): raw bytes, repeated ones apart. Headers that Envoy keeps inline
 * (authorization, content-type, …) are joined by a comma when they are repeated; who reads those looks out for it.
 */
export function readHeaders(map: HeaderMap): RequestHeaders {
  const fields = new Map<string, string[]>();
  const pseudo = new Map<string, string>();
  const repeated: string[] = [];
  for (const { key, value, rawValue } of map.headers) {
    const name = key.toLowerCase();
    const bytes = rawValue.length > 0 ? Buffer.from(rawValue.buffer, rawValue.byteOffset, rawValue.length) : undefined;
    if (name.startsWith(":")) {
      if (pseudo.has(name)) repeated.push(name);
      pseudo.set(name, bytes === undefined ? Buffer.from(value).toString("latin1") : bytes.toString("latin1"));
      continue;
    }
    const text = bytes === undefined ? value : decodeHeaderValue(bytes);
    const values = fields.get(name);
    if (values === undefined) fields.set(name, [text]);
    else values.push(text);
  }
  for (const name of repeated) pseudo.delete(name);
  return { fields, pseudo };
}

/**
 * Text of a header value. Bytes that are not UTF-8 become U+DC80 to U+DCFF, one each (PEP 383): different bytes always
 * give different text, the text equals none that a rule can be written with, the header is still there for rules that
 * ask whether it is, and its valid part is still found by `startsWith` and `contains`. (Latin-1 would make byte 0xFF and
 * a UTF-8 "ÿ" the same; leaving the header out would let a guarded deny rule pass.)
 */
export function decodeHeaderValue(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString("utf8");
  let text = "";
  let at = 0;
  while (at < bytes.length) {
    const lead = bytes[at] ?? 0;
    const length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    const sequence = bytes.subarray(at, at + length);
    if (isUtf8(sequence)) {
      text += sequence.toString("utf8");
      at += length;
    } else {
      text += String.fromCharCode(0xdc00 + lead);
      at++;
    }
  }
  return text;
}
