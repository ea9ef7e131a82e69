import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";

/**
 * The bytes of a journal. A segment is a header and then frames, all integers big-endian:
 *
 *     header: "CHANJNL1" | u64 sequence of the first frame | 32 B hash of the frame before it | u32 CRC-32
 *     frame:  "\xC4JF\x01" | u32 length of the payload | u64 sequence | 32 B hash | u32 CRC-32 | payload
 *
 * The CRC tells a torn or damaged frame by itself. The hash is SHA-256 over (hash of the frame before | sequence |
 * payload): it chains the records, so that one who keeps the newest hash can prove that none before it was changed.
 */
export const HEADER_BYTES = 52;
export const FRAME_BYTES = 52;
export const HASH_BYTES = 32;

const SEGMENT_MAGIC = Buffer.from("CHANJNL1", "latin1");
const FRAME_MAGIC = Buffer.from("\xC4JF\x01", "latin1");

/** What stands before the first record of a journal. */
export const GENESIS: Uint8Array = new Uint8Array(HASH_BYTES);

/** Largest payload of a record (bytes). */
export const MAX_PAYLOAD_BYTES = 1024 * 1024;

export interface SegmentHeader {
  readonly first: number;
  readonly previous: Uint8Array;
}

export interface Frame {
  readonly sequence: number;
  readonly hash: Uint8Array;
  readonly payload: Uint8Array;
  /** Bytes from the start of the segment. */
  readonly offset: number;
}

/** Bytes that are no frame: up to the next intact one, or to the end. */
export interface Damage {
  readonly offset: number;
  /** undefined: nothing intact follows, as after a crash in the middle of a write. */
  readonly resumedAt: number | undefined;
}

export interface SegmentScan {
  /** undefined: the header is damaged or not there. */
  readonly header: SegmentHeader | undefined;
  readonly frames: readonly Frame[];
  readonly damages: readonly Damage[];
  /** End of the last intact frame that follows the header without a gap. */
  readonly end: number;
}

export function encodeHeader({ first, previous }: SegmentHeader): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES);
  SEGMENT_MAGIC.copy(bytes, 0);
  bytes.writeBigUInt64BE(BigInt(first), 8);
  bytes.set(previous, 16);
  bytes.writeUInt32BE(crc32(bytes.subarray(0, 48)), 48);
  return bytes;
}

export function chainHash(previous: Uint8Array, sequence: number, payload: Uint8Array): Buffer {
  const number = Buffer.alloc(8);
  number.writeBigUInt64BE(BigInt(sequence));
  return createHash("sha256").update(previous).update(number).update(payload).digest();
}

/** Writes a frame into `target` at `at`, which must have room for FRAME_BYTES and the payload. */
export function writeFrame(target: Buffer, at: number, frame: Omit<Frame, "offset">): void {
  const { sequence, hash, payload } = frame;
  FRAME_MAGIC.copy(target, at);
  target.writeUInt32BE(payload.length, at + 4);
  target.writeBigUInt64BE(BigInt(sequence), at + 8);
  target.set(hash, at + 16);
  target.set(payload, at + FRAME_BYTES);
  target.writeUInt32BE(checksum(target, at, payload.length), at + 48);
}

export function scanSegment(bytes: Buffer): SegmentScan {
  const header = readHeader(bytes);
  const frames: Frame[] = [];
  const damages: Damage[] = [];
  let at = header === undefined ? 0 : HEADER_BYTES;
  let end = at;
  let whole = header !== undefined;
  while (at < bytes.length) {
    const frame = readFrame(bytes, at);
    if (frame !== undefined) {
      frames.push(frame);
      at += FRAME_BYTES + frame.payload.length;
      if (whole) end = at;
      continue;
    }
    whole = false;
    const resumedAt = nextFrame(bytes, at + 1);
    // A header that cannot be read is damage of its own, and reported by who needs it.
    if (at > 0 || resumedAt === undefined) damages.push({ offset: at, resumedAt });
    if (resumedAt === undefined) break;
    at = resumedAt;
  }
  return { header, frames, damages, end };
}

function readHeader(bytes: Buffer): SegmentHeader | undefined {
  if (bytes.length < HEADER_BYTES || !bytes.subarray(0, 8).equals(SEGMENT_MAGIC)) return undefined;
  if (bytes.readUInt32BE(48) !== crc32(bytes.subarray(0, 48))) return undefined;
  return { first: Number(bytes.readBigUInt64BE(8)), previous: bytes.subarray(16, 16 + HASH_BYTES) };
}

function readFrame(bytes: Buffer, at: number): Frame | undefined {
  if (at + FRAME_BYTES > bytes.length || !bytes.subarray(at, at + 4).equals(FRAME_MAGIC)) return undefined;
  const length = bytes.readUInt32BE(at + 4);
  if (length > MAX_PAYLOAD_BYTES || at + FRAME_BYTES + length > bytes.length) return undefined;
  if (bytes.readUInt32BE(at + 48) !== checksum(bytes, at, length)) return undefined;
  return {
    sequence: Number(bytes.readBigUInt64BE(at + 8)),
    hash: bytes.subarray(at + 16, at + 16 + HASH_BYTES),
    payload: bytes.subarray(at + FRAME_BYTES, at + FRAME_BYTES + length),
    offset: at,
  };
}

function nextFrame(bytes: Buffer, from: number): number | undefined {
  for (let at = bytes.indexOf(FRAME_MAGIC, from); at !== -1; at = bytes.indexOf(FRAME_MAGIC, at + 1)) {
    if (readFrame(bytes, at) !== undefined) return at;
  }
  return undefined;
}

/** Over everything of a frame but the magic and itself. */
function checksum(bytes: Buffer, at: number, length: number): number {
  const head = crc32(bytes.subarray(at + 4, at + 48));
  return crc32(bytes.subarray(at + FRAME_BYTES, at + FRAME_BYTES + length), head);
}
