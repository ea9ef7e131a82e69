import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

/**
 * Saves a file as editors and certificate agents do: it is there whole, or as it was.
 *
 * @param path  below `root`
 * @returns the whole path
 */
export async function save(root: string, path: string, text: string): Promise<string> {
  const file = join(root, path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.saving`, text, { mode: 0o600 });
  await rename(`${file}.saving`, file);
  return file;
}
