import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { ChanceryError } from "../resources/index.ts";
import { type DurableFiles, errorCode } from "../revision/index.ts";
import type { HeadAnnouncement, SequencedHead } from "./bus.ts";
import { KEPT_GENERATIONS } from "./bus-limits.ts";
import { encodeHead, parseHead } from "./bus-schema.ts";
import { conflict } from "./in-process-bus.ts";

/** Many more than a writer can fall behind while it appends; see `append`. */
const KEPT_HEADS = 1024;
const DIGITS = 8;

/** `heads/<sequence>.json`: the name is the sequence, and creating it decides who was first. */
export class DirectoryHeads {
  readonly #directory: string;
  readonly #files: DurableFiles;
  readonly #onAlarm: (alarm: ChanceryError) => void;
  #damaged = 0;

  constructor(directory: string, files: DurableFiles, onAlarm: (alarm: ChanceryError) => void) {
    this.#directory = directory;
    this.#files = files;
    this.#onAlarm = onAlarm;
  }

  async append(head: HeadAnnouncement, expected: number): Promise<number> {
    const before = await this.#sequences();
    const newest = (await this.#newestOf(before))?.sequence ?? 0;
    if (newest !== expected) throw conflict(expected, newest);
    // Where all are damaged, `expected` is 0 and the names go on nevertheless.
    const sequence = (before[0] ?? 0) + 1;
    const file = this.#file(sequence);
    const bytes = encodeHead(head);
    if (!(await this.#files.create(file, bytes))) throw conflict(expected, sequence);
    const after = await this.#sequences();
    // The name was free because the head that had it is cleared away already: then this writer slept, and was not first.
    if ((after[0] ?? 0) - sequence >= KEPT_HEADS / 2) {
      await rm(file, { force: true });
      throw conflict(expected, after[0] ?? 0);
    }
    for (const old of after.slice(KEPT_HEADS)) await rm(this.#file(old), { force: true });
    return sequence;
  }

  /**
   * The newest head that can be read, under the newest sequence: a damaged file takes part in the order, so that the next
   * writer goes past it, and says nothing else. Where all are damaged, it is as before the first.
   */
  async newest(): Promise<SequencedHead | undefined> {
    return await this.#newestOf(await this.#sequences());
  }

  async #newestOf(sequences: readonly number[]): Promise<SequencedHead | undefined> {
    const newest = sequences[0];
    if (newest === undefined) return undefined;
    for (const sequence of sequences) {
      try {
        return { ...parseHead(await readFile(this.#file(sequence))), sequence: newest };
      } catch (error) {
        if (errorCode(error) === "ENOENT") continue;
        if (!(error instanceof ChanceryError)) throw error;
        this.#alarmOnce(sequence, error);
      }
    }
    return undefined;
  }

  /** When (milliseconds since the epoch) the oldest head whose blobs must stay was written; undefined: all must. */
  async generationStart(): Promise<number | undefined> {
    const oldest = (await this.#sequences())[KEPT_GENERATIONS];
    return oldest === undefined ? undefined : (await stat(this.#file(oldest))).mtimeMs;
  }

  /** Newest first. */
  async #sequences(): Promise<readonly number[]> {
    const names = await readdir(this.#directory);
    const sequences = names.map((name) => Number(/^([0-9]{8,15})\.json$/.exec(name)?.[1] ?? 0));
    return sequences.filter((sequence) => sequence > 0).sort((a, b) => b - a);
  }

  #file(sequence: number): string {
    return join(this.#directory, `${String(sequence).padStart(DIGITS, "0")}.json`);
  }

  #alarmOnce(sequence: number, cause: ChanceryError): void {
    if (sequence <= this.#damaged) return;
    this.#damaged = sequence;
    this.#onAlarm(new ChanceryError("corrupt", `head ${this.#file(sequence)} is damaged: ${cause.message}`, { cause }));
  }
}
