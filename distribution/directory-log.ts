import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { type DurableFiles, errorCode } from "../revision/index.ts";
import type { SequencedEntry } from "./bus.ts";
import { MAX_BUS_LOG_ENTRIES, MAX_KEPT_LOG_ENTRY_BYTES } from "./bus-limits.ts";
import { checkLogEntry, logConflict, logFull } from "./log-checks.ts";

const DIGITS = 8;

/** `log/<sequence>.json`: the name is the sequence, and creating it decides who was first. The newest is never removed. */
export class DirectoryLog {
  readonly #directory: string;
  readonly #files: DurableFiles;

  constructor(directory: string, files: DurableFiles) {
    this.#directory = directory;
    this.#files = files;
  }

  async append(entry: Uint8Array, expected: number): Promise<number> {
    checkLogEntry(entry);
    const sequences = await this.#sequences();
    const newest = sequences.at(-1) ?? 0;
    if (newest !== expected) throw logConflict(expected, newest);
    if (sequences.length >= MAX_BUS_LOG_ENTRIES) throw logFull();
    const sequence = expected + 1;
    if (await this.#files.create(this.#file(sequence), new Uint8Array(entry))) return sequence;
    throw logConflict(expected, sequence);
  }

  async newestSequence(): Promise<number> {
    return (await this.#sequences()).at(-1) ?? 0;
  }

  async after(sequence: number): Promise<readonly SequencedEntry[]> {
    const entries: SequencedEntry[] = [];
    for (const each of (await this.#sequences()).filter((other) => other > sequence)) {
      const file = this.#file(each);
      try {
        // One that is too large is told as one that cannot be read.
        const entry = (await stat(file)).size > MAX_KEPT_LOG_ENTRY_BYTES ? new Uint8Array() : await readFile(file);
        entries.push({ sequence: each, entry });
      } catch (error) {
        // Somebody wipes the bus.
        if (errorCode(error) !== "ENOENT") throw error;
      }
    }
    return entries;
  }

  async dropBefore(sequence: number): Promise<void> {
    const sequences = await this.#sequences();
    // The newest one's name is what says which is the next.
    for (const each of sequences.slice(0, -1)) {
      if (each < sequence) await rm(this.#file(each), { force: true });
    }
  }

  /** Oldest first. */
  async #sequences(): Promise<readonly number[]> {
    const names = await readdir(this.#directory);
    const sequences = names.map((name) => Number(/^([0-9]{8,15})\.json$/.exec(name)?.[1] ?? 0));
    return sequences.filter((sequence) => sequence > 0).sort((a, b) => a - b);
  }

  #file(sequence: number): string {
    return join(this.#directory, `${String(sequence).padStart(DIGITS, "0")}.json`);
  }
}
