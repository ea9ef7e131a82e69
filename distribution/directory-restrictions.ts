import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { type DurableFiles, digestOf, errorCode } from "../revision/index.ts";
import { MAX_RESTRICTION_BYTES, MAX_RESTRICTIONS } from "./bus-limits.ts";
import { keepNewest } from "./newest-files.ts";

/** `restrictions/<hex digits of the digest>.json`, each written once. */
export class DirectoryRestrictions {
  readonly #directory: string;
  readonly #files: DurableFiles;

  constructor(directory: string, files: DurableFiles) {
    this.#directory = directory;
    this.#files = files;
  }

  async put(entry: Uint8Array): Promise<void> {
    // Room for one more.
    await keepNewest(this.#directory, await this.#names(), MAX_RESTRICTIONS - 1);
    const file = join(this.#directory, `${digestOf(entry).replace("sha256:", "")}.json`);
    // Under this name nothing else is good: what is damaged is mended.
    await this.#files.write(file, new Uint8Array(entry));
  }

  /** Entries whose file is not in `seen`, which is brought up to date. */
  async changed(seen: Set<string>): Promise<readonly Uint8Array[]> {
    const entries: Uint8Array[] = [];
    const names = await this.#names();
    for (const name of seen) if (!names.includes(name)) seen.delete(name);
    for (const name of names) {
      if (seen.has(name)) continue;
      const file = join(this.#directory, name);
      try {
        if ((await stat(file)).size <= MAX_RESTRICTION_BYTES) {
          const bytes = await readFile(file);
          // A damaged one is as good as not there; it is put again by whoever holds it.
          if (`${digestOf(bytes).replace("sha256:", "")}.json` !== name) continue;
          entries.push(bytes);
        }
        seen.add(name);
      } catch (error) {
        // Another process cleared it away.
        if (errorCode(error) !== "ENOENT") throw error;
      }
    }
    return entries;
  }

  async #names(): Promise<readonly string[]> {
    return (await readdir(this.#directory)).filter((name) => /^[0-9a-f]{64}\.json$/.test(name));
  }
}
