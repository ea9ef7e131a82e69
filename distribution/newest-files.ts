import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { errorCode } from "../revision/index.ts";

/** Removes the files of `names` that were written longest ago, down to `count`. Others may do the same meanwhile. */
export async function keepNewest(directory: string, names: readonly string[], count: number): Promise<void> {
  if (names.length <= count) return;
  const ages: { readonly file: string; readonly mtimeMs: number }[] = [];
  for (const name of names) {
    const file = join(directory, name);
    try {
      ages.push({ file, mtimeMs: (await stat(file)).mtimeMs });
    } catch (error) {
      if (errorCode(error) !== "ENOENT") throw error;
    }
  }
  ages.sort((a, b) => b.mtimeMs - a.mtimeMs);
  for (const { file } of ages.slice(count)) await rm(file, { force: true });
}
