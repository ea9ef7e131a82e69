import { BYTES, TextInterner, VARINT, WireReader } from "./wire.ts";

/** What comes again and again in Checks. */
export const TEXTS = new TextInterner((bytes) => bytes.toString("utf8"));

/** A google.protobuf.Timestamp in milliseconds. */
export function readTime(bytes: Buffer, from: number, to: number): number | undefined {
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

/** Whether the peer showed a certificate (5): Envoy sends one that it has verified, and no other is let in. */
export function hasCertificate(bytes: Buffer, from: number, to: number): boolean {
  const reader = new WireReader(bytes, from, to);
  let found = false;
  while (reader.next()) if (reader.number === 5 && reader.is(BYTES)) found = reader.to > reader.from;
  return reader.ok && found;
}

/** TLSSession.sni (1); "" where the client named no server. */
export function readServerName(bytes: Buffer, from: number, to: number): string {
  const reader = new WireReader(bytes, from, to);
  let name = "";
  while (reader.next()) if (reader.number === 1 && reader.is(BYTES)) name = TEXTS.text(bytes, reader.from, reader.to);
  return reader.ok ? name : "";
}
