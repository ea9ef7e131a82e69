import type { PeerAttributes } from "../policy/index.ts";
import { BYTES, TextInterner, VARINT, WireReader } from "./wire.ts";

/** What comes again and again in Checks. */
export const TEXTS = new TextInterner((bytes) => bytes.toString("utf8"));

/** A message inside the CheckRequest, by its place. */
export class Place {
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

export const NO_BYTES: Buffer = Buffer.alloc(0);

/** A google.protobuf.Timestamp in milliseconds. */
export function readTime(bytes: Buffer, { from, to }: Place): number | undefined {
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
export function readPeer(bytes: Buffer, place: Place): PeerAttributes {
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
export function hasCertificate(bytes: Buffer, { from, to }: Place): boolean {
  const reader = new WireReader(bytes, from, to);
  let found = false;
  while (reader.next()) if (reader.number === 5 && reader.is(BYTES)) found = reader.to > reader.from;
  return reader.ok && found;
}

/** TLSSession.sni (1); "" where the client named no server. */
export function readServerName(bytes: Buffer, { from, to }: Place): string {
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
