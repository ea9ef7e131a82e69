import { readdir, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { blobFile, type Digest, errorCode } from "../revision/index.ts";

/** Putting a blob again makes it young; what nobody put for many heads goes. */
export class DirectoryBlobs {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async has(digest: Digest): Promise<boolean> {
    try {
      await stat(blobFile(this.#directory, digest));
      return true;
    } catch (error) {
      if (errorCode(error) === "ENOENT") return false;
      throw error;
    }
  }

  async touch(digest: Digest): Promise<void> {
    // The machine's own clock, because it is compared with the times that the file system gave to heads.
    const now = new Date();
    await utimes(blobFile(this.#directory, digest), now, now);
  }

  /** @param time  milliseconds since the epoch */
  async removeBefore(time: number): Promise<void> {
    const root = join(this.#directory, "sha256");
    for (const prefix of await readdir(root)) {
      for (const rest of await readdir(join(root, prefix))) {
        const file = join(root, prefix, rest);
        try {
          if ((await stat(file)).mtimeMs < time) await rm(file, { force: true });
        } catch (error) {
          // Another writer cleared it away.
          if (errorCode(error) !== "ENOENT") throw error;
        }
      }
    }
  }
}
