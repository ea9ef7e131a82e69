import { ChanceryError } from "../resources/index.ts";
import type { Digest } from "../revision/index.ts";
import { isBefore } from "./log-checkpoint.ts";
import type { LogFiles } from "./log-files.ts";
import type { SignedLogEntry } from "./log-statement.ts";

/** The operational log on the disk of one process, as it was last written. */
export class LogOnDisk {
  readonly #files: LogFiles;
  readonly #entries = new Map<Digest, SignedLogEntry>();

  constructor(files: LogFiles) {
    this.#files = files;
  }

  /** @param verify  undefined for what is refused, which stays where it is */
  async read(verify: (bytes: Uint8Array) => SignedLogEntry | undefined): Promise<readonly SignedLogEntry[]> {
    for (const bytes of await this.#files.read()) {
      const entry = verify(bytes);
      if (entry !== undefined) this.#entries.set(entry.digest, entry);
    }
    return [...this.#entries.values()];
  }

  /**
   * Brings the disk to what is held; what left the log goes last, and to the archive where a checkpoint stands for it.
   *
   * @param first  of the log
   * @throws ChanceryError "unavailable"
   */
  async save(held: readonly SignedLogEntry[], first: SignedLogEntry | undefined): Promise<void> {
    for (const entry of held) {
      if (sameBytes(this.#entries.get(entry.digest)?.bytes, entry.bytes)) continue;
      try {
        await this.#files.write(entry);
      } catch (cause) {
        const { message } = ChanceryError.from(cause);
        const what = `log entry ${entry.sequence} holds, but cannot be kept over a restart: ${message}`;
        throw new ChanceryError("unavailable", what, { cause });
      }
      this.#entries.set(entry.digest, entry);
    }
    const kept = new Set(held.map(({ digest }) => digest));
    const gone = [...this.#entries.values()].filter(({ digest }) => !kept.has(digest));
    await this.#files.archive(gone.filter((entry) => isBefore(entry, first)));
    for (const entry of gone) {
      await this.#files.remove(entry);
      this.#entries.delete(entry.digest);
    }
  }
}

function sameBytes(one: Uint8Array | undefined, other: Uint8Array): boolean {
  return one === other || (one !== undefined && Buffer.compare(one, other) === 0);
}
