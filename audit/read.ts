import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { chainHash, type Frame, HASH_BYTES, scanSegment } from "./frame.ts";
import { listSegments } from "./segments.ts";

/** A record read back. */
export interface JournalEntry {
  readonly sequence: number;
  readonly hash: Uint8Array;
  readonly payload: Uint8Array;
  readonly segment: string;
}

/**
 * Records in order, from a journal that may be written to meanwhile: it ends with the newest whole record. Damaged bytes
 * are skipped; `verifyJournal` is what tells of them.
 *
 * @param from  sequence of the first record wanted
 */
export async function* readJournal(directory: string, from = 1): AsyncGenerator<JournalEntry> {
  const names = await listSegments(directory);
  for (const [index, name] of names.entries()) {
    // The name says which record comes first, so segments that end before `from` are not opened.
    const next = names[index + 1];
    if (next !== undefined && Number.parseInt(next, 10) <= from) continue;
    const { frames } = scanSegment(await readFile(join(directory, name)));
    for (const { sequence, hash, payload } of frames) {
      if (sequence >= from) yield { sequence, hash, payload, segment: name };
    }
  }
}

export interface JournalProblem {
  readonly segment: string;
  /** Bytes from the start of the segment. */
  readonly offset: number;
  /**
   * `header`, `damaged`: bytes changed; `torn`: the last bytes are no whole record, as after a crash (or while the
   * journal is written to); `gap`: records are missing; `chain`: a record does not follow from the one before it.
   */
  readonly kind: "header" | "damaged" | "torn" | "gap" | "chain";
  readonly message: string;
}

export interface JournalVerification {
  readonly records: number;
  /** 0 when there is no record. */
  readonly firstSequence: number;
  readonly lastSequence: number;
  /** Ends the chain; compare it with one that was kept elsewhere to prove that nothing was cut off at the end. */
  readonly lastHash: Uint8Array;
  /** Empty: every record is whole and follows from the one before it. */
  readonly problems: readonly JournalProblem[];
}

/** Checks every byte of a journal, offline, with nothing but the files. */
export async function verifyJournal(directory: string): Promise<JournalVerification> {
  const problems: JournalProblem[] = [];
  let records = 0;
  let firstSequence = 0;
  let last: { readonly sequence: number; readonly hash: Uint8Array } | undefined;
  const names = await listSegments(directory);
  for (const [index, name] of names.entries()) {
    const { header, frames, damages } = scanSegment(await readFile(join(directory, name)));
    const report = (kind: JournalProblem["kind"], offset: number, message: string) => {
      problems.push({ segment: name, offset, kind, message });
    };
    if (header === undefined) {
      report("header", 0, "the segment's header is damaged");
    } else {
      if (last !== undefined && header.first !== last.sequence + 1) {
        report(
          "gap",
          0,
          `the segment begins with record ${header.first}, the one before it ends with ${last.sequence}`,
        );
      } else if (last !== undefined && !equal(header.previous, last.hash)) {
        report("chain", 0, "the segment does not follow from the one before it");
      }
      last = { sequence: header.first - 1, hash: header.previous };
    }
    for (const { offset, resumedAt } of damages) {
      const torn = resumedAt === undefined && index === names.length - 1;
      if (torn) report("torn", offset, "the last bytes are no whole record");
      else report("damaged", offset, "bytes that are no record stand between records");
    }
    for (const frame of frames) {
      const problem = last === undefined ? undefined : breakOf(frame, last);
      if (problem !== undefined) report(problem.kind, frame.offset, problem.message);
      records += 1;
      if (records === 1) firstSequence = frame.sequence;
      last = frame;
    }
  }
  return {
    records,
    firstSequence,
    lastSequence: records === 0 ? 0 : (last?.sequence ?? 0),
    lastHash: last?.hash ?? new Uint8Array(HASH_BYTES),
    problems,
  };
}

function breakOf(
  frame: Frame,
  last: { readonly sequence: number; readonly hash: Uint8Array },
): Pick<JournalProblem, "kind" | "message"> | undefined {
  if (frame.sequence !== last.sequence + 1) {
    return { kind: "gap", message: `record ${frame.sequence} follows record ${last.sequence}` };
  }
  if (equal(chainHash(last.hash, frame.sequence, frame.payload), frame.hash)) return undefined;
  return { kind: "chain", message: `record ${frame.sequence} does not follow from the one before it` };
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
