import { ChanceryError } from "../resources/index.ts";
import { type DirectoryLock, ensureDirectory, lockDirectory } from "../revision/index.ts";
import { chainHash, FRAME_BYTES, HEADER_BYTES, MAX_PAYLOAD_BYTES, writeFrame } from "./frame.ts";
import { createSegment, type OpenSegment, type Recovery, type RecoveryFinding, recover } from "./segments.ts";

export interface JournalOptions {
  /** Made when it is not there; one process writes to it at a time. */
  readonly directory: string;
  /** A new segment is begun when one has this many bytes; 32 MiB by default. */
  readonly segmentBytes?: number;
  /** Bytes that may wait for the disk before appends are refused; 16 MiB by default. */
  readonly queueBytes?: number;
  /** Told of what is not the fault of one append: a segment that could not be begun, a file that cannot be repaired. */
  readonly onProblem?: (problem: ChanceryError) => void;
  /** Told where whoever may still have the directory is waited for; these milliseconds at most. */
  readonly onWait?: (pid: number, milliseconds: number) => void;
}

/** Where a record stands in the chain. */
export interface Position {
  /** 1, 2, 3, … without gaps. */
  readonly sequence: number;
  /** SHA-256 that ends the chain up to and including the record. */
  readonly hash: Uint8Array;
}

export interface JournalState extends Position {
  readonly segment: string;
  /** Payload bytes that wait for the disk. */
  readonly waitingBytes: number;
}

export interface Journal {
  /** Torn and damaged bytes that were found when it was opened. */
  readonly findings: readonly RecoveryFinding[];
  /**
   * Resolves when the record is on the disk (`fdatasync`); rejects when it is not: what was written of it is cut off
   * again, unless the disk refuses that too (then `onProblem` is told). The bytes belong to the journal until then.
   *
   * @throws ChanceryError "unavailable": disk full or failing, queue full, closed; "invalid-argument": over 1 MiB
   */
  append(payload: Uint8Array): Promise<Position>;
  state(): JournalState;
  /** Writes what waits, then lets go of the directory. Safe to call twice. */
  close(): Promise<void>;
}

/** Payloads that are written and synced together at most (bytes). */
const BATCH_BYTES = 4 * 1024 * 1024;

/** @throws ChanceryError "conflict" while another process writes to the directory */
export async function openJournal(options: JournalOptions): Promise<Journal> {
  await ensureDirectory(options.directory);
  const { directory } = options;
  const lock = await lockDirectory(
    directory,
    (pid) =>
      new ChanceryError(
        "conflict",
        `process ${pid} writes to the journal in ${directory} already; give each process a directory of its own`,
      ),
    options.onWait === undefined ? {} : { onWait: options.onWait },
  );
  try {
    const recovery = await recover(options.directory);
    const header = { first: recovery.sequence + 1, previous: recovery.hash };
    const segment = recovery.segment ?? (await createSegment(options.directory, header));
    return new FileJournal(options, lock, recovery, segment);
  } catch (error) {
    await lock.release();
    throw ChanceryError.from(error, "unavailable");
  }
}

interface Waiting {
  readonly payload: Uint8Array;
  readonly resolve: (position: Position) => void;
  readonly reject: (error: ChanceryError) => void;
}

/** One writer: a batch is written and synced, and what came in meanwhile is the next batch. */
class FileJournal implements Journal {
  readonly findings: readonly RecoveryFinding[];
  readonly #options: JournalOptions;
  readonly #lock: DirectoryLock;
  readonly #segmentBytes: number;
  readonly #queueBytes: number;
  #segment: OpenSegment;
  #sequence: number;
  #hash: Uint8Array;
  #queue: Waiting[] = [];
  #waitingBytes = 0;
  /** Behind the durable bytes of the segment lie some that must not stay. */
  #dirty = false;
  #writing: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: JournalOptions, lock: DirectoryLock, recovery: Recovery, segment: OpenSegment) {
    this.findings = recovery.findings;
    this.#options = options;
    this.#lock = lock;
    this.#segmentBytes = options.segmentBytes ?? 32 * 1024 * 1024;
    this.#queueBytes = options.queueBytes ?? 16 * 1024 * 1024;
    this.#segment = segment;
    this.#sequence = recovery.sequence;
    this.#hash = recovery.hash;
  }

  append(payload: Uint8Array): Promise<Position> {
    if (this.#closing !== undefined) return Promise.reject(unavailable("the journal is closed"));
    if (payload.length > MAX_PAYLOAD_BYTES) {
      const message = `a record of ${payload.length} bytes is over the ${MAX_PAYLOAD_BYTES} that a journal takes`;
      return Promise.reject(new ChanceryError("invalid-argument", message));
    }
    if (this.#waitingBytes + payload.length > this.#queueBytes) {
      return Promise.reject(unavailable("the journal's queue is full: the disk is too slow"));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ payload, resolve, reject });
      this.#waitingBytes += payload.length;
      this.#writing ??= this.#writeAll();
    });
  }

  state(): JournalState {
    return {
      sequence: this.#sequence,
      hash: this.#hash,
      segment: this.#segment.name,
      waitingBytes: this.#waitingBytes,
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#writing;
    await this.#tryRepair();
    await this.#segment.handle.close();
    await this.#lock.release();
  }

  async #writeAll(): Promise<void> {
    while (this.#queue.length > 0) {
      const batch = this.#takeBatch();
      try {
        const positions = await this.#write(batch);
        for (const [index, { resolve }] of batch.entries()) resolve(positions[index] ?? this.state());
      } catch (thrown) {
        const error = unavailable(`a record could not be written: ${messageOf(thrown)}`, thrown);
        await this.#tryRepair();
        for (const { reject } of batch) reject(error);
      }
      for (const { payload } of batch) this.#waitingBytes -= payload.length;
    }
    this.#writing = undefined;
  }

  #takeBatch(): readonly Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const { payload } of this.#queue) {
      if (count > 0 && bytes + payload.length > BATCH_BYTES) break;
      bytes += payload.length;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  async #write(batch: readonly Waiting[]): Promise<readonly Position[]> {
    if (this.#dirty) await this.#repair();
    if (this.#segment.size >= this.#segmentBytes) await this.#rotate();
    const bytes = Buffer.allocUnsafe(batch.reduce((sum, { payload }) => sum + FRAME_BYTES + payload.length, 0));
    const positions: Position[] = [];
    let { sequence, hash } = this.state();
    let at = 0;
    for (const { payload } of batch) {
      sequence += 1;
      hash = chainHash(hash, sequence, payload);
      writeFrame(bytes, at, { sequence, hash, payload });
      positions.push({ sequence, hash });
      at += FRAME_BYTES + payload.length;
    }
    this.#dirty = true;
    const segment = this.#segment;
    for (let written = 0; written < bytes.length; ) {
      written += (await segment.handle.write(bytes, written, bytes.length - written, segment.size + written))
        .bytesWritten;
    }
    await segment.handle.datasync();
    this.#dirty = false;
    segment.size += bytes.length;
    this.#sequence = sequence;
    this.#hash = hash;
    return positions;
  }

  /**
   * Cuts off what a failed write or sync left: nobody was told that it is durable. Pages that a failed sync has given up
   * are written anew this way, never taken for synced. A segment with records is then left behind, since what ails it
   * may be its own (a bad block, a limit of its size).
   */
  async #repair(): Promise<void> {
    await this.#segment.handle.truncate(this.#segment.size);
    await this.#segment.handle.sync();
    this.#dirty = false;
    if (this.#segment.size > HEADER_BYTES) await this.#rotate();
  }

  async #tryRepair(): Promise<void> {
    try {
      if (this.#dirty) await this.#repair();
    } catch (thrown) {
      // Tried again before the next write, which fails as long as this does.
      const message = `what a failed write left cannot be cut off: ${messageOf(thrown)}`;
      this.#options.onProblem?.(unavailable(message, thrown));
    }
  }

  /** Begins a new segment. Where that fails the old one is gone on with, and the next batch tries again. */
  async #rotate(): Promise<void> {
    const header = { first: this.#sequence + 1, previous: this.#hash };
    try {
      const next = await createSegment(this.#options.directory, header);
      const old = this.#segment;
      this.#segment = next;
      await old.handle.close();
    } catch (thrown) {
      const message = `a new segment of the journal could not be begun: ${messageOf(thrown)}`;
      this.#options.onProblem?.(unavailable(message, thrown));
    }
  }
}

function unavailable(message: string, cause?: unknown): ChanceryError {
  return new ChanceryError("unavailable", message, { cause });
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
