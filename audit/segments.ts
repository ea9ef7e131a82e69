import { type FileHandle, open, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { syncDirectory } from "../revision/index.ts";
import { encodeHeader, GENESIS, HEADER_BYTES, type SegmentHeader, scanSegment } from "./frame.ts";

/** A segment that is written to. */
export interface OpenSegment {
  readonly name: string;
  readonly handle: FileHandle;
  /** Bytes that are durable; what lies behind them was never acknowledged. */
  size: number;
}

/** Where a journal goes on after it was opened. */
export interface Recovery {
  /** Sequence of the newest record; 0: none yet. */
  readonly sequence: number;
  readonly hash: Uint8Array;
  /** The segment to go on with; undefined: a new one must be made. */
  readonly segment: OpenSegment | undefined;
  /** What was found and what was done about it. */
  readonly findings: readonly RecoveryFinding[];
}

export interface RecoveryFinding {
  readonly segment: string;
  readonly offset: number;
  /** Bytes that are no record. */
  readonly bytes: number;
  /**
   * `torn`: the end of a write that a crash cut off, moved to `keptIn`; `damaged`: bytes changed in the middle of
   * records, left as evidence, and a new segment begun.
   */
  readonly kind: "torn" | "damaged";
  readonly keptIn?: string;
}

const SUFFIX = ".journal";

/** Names of the segments of a directory, oldest first. */
export async function listSegments(directory: string): Promise<readonly string[]> {
  const names = await readdir(directory);
  return names.filter((name) => /^[0-9]{16}\.journal$/.test(name)).sort();
}

export async function createSegment(directory: string, header: SegmentHeader): Promise<OpenSegment> {
  const name = `${String(header.first).padStart(16, "0")}${SUFFIX}`;
  const file = join(directory, name);
  const handle = await open(file, "wx", 0o600);
  try {
    await handle.write(encodeHeader(header), 0, HEADER_BYTES, 0);
    await handle.sync();
    await syncDirectory(directory);
  } catch (error) {
    await handle.close();
    await rm(file, { force: true });
    throw error;
  }
  return { name, handle, size: HEADER_BYTES };
}

/**
 * Finds where the newest segment ends. A torn tail is what a crash leaves: writes that were never acknowledged. It is cut
 * off, and kept in a file beside, so that nothing is ever deleted on a guess.
 */
export async function recover(directory: string): Promise<Recovery> {
  const findings: RecoveryFinding[] = [];
  for (const name of (await listSegments(directory)).toReversed()) {
    const file = join(directory, name);
    const bytes = await readFile(file);
    const { header, frames, damages, end } = scanSegment(bytes);
    const last = frames.at(-1);
    if (header === undefined && last === undefined) {
      // The process died while it made the segment, before anything was written to it.
      const keptIn = `${name}.torn-0`;
      if (bytes.length === 0) await rm(file);
      else await rename(file, join(directory, keptIn));
      await syncDirectory(directory);
      findings.push({ segment: name, offset: 0, bytes: bytes.length, kind: "torn", keptIn });
      continue;
    }
    const sequence = last?.sequence ?? (header === undefined ? 0 : header.first - 1);
    const hash = last?.hash ?? header?.previous ?? GENESIS;
    const middle = damages.filter((damage) => damage.resumedAt !== undefined);
    if (header === undefined || middle.length > 0) {
      for (const { offset, resumedAt = bytes.length } of header === undefined ? damages : middle) {
        findings.push({ segment: name, offset, bytes: resumedAt - offset, kind: "damaged" });
      }
      if (header === undefined) findings.push({ segment: name, offset: 0, bytes: HEADER_BYTES, kind: "damaged" });
      return { sequence, hash, segment: undefined, findings };
    }
    const handle = await open(file, "r+");
    try {
      if (end < bytes.length) {
        const keptIn = `${name}.torn-${end}`;
        await writeFile(join(directory, keptIn), bytes.subarray(end), { mode: 0o600, flush: true });
        await syncDirectory(directory);
        await handle.truncate(end);
        await handle.sync();
        findings.push({ segment: name, offset: end, bytes: bytes.length - end, kind: "torn", keptIn });
      }
    } catch (error) {
      await handle.close();
      throw error;
    }
    return { sequence, hash, segment: { name, handle, size: end }, findings };
  }
  return { sequence: 0, hash: GENESIS, segment: undefined, findings };
}
