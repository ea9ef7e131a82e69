import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";

const PREFIX = "tmp-";

/**
 * Lends a folder inside the tools folder, and so on the same disk as where results are moved to.
 *
 * @template T
 * @param {import("./project.mjs").Project} project
 * @param {(folder: string) => Promise<T>} use
 * @returns {Promise<T>}
 */
export async function withTemporaryFolder(project, use) {
  await mkdir(project.toolsFolder, { recursive: true });
  const folder = await mkdtemp(join(project.toolsFolder, PREFIX));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Removes what a set-up that was killed has left. Only for the holder of the lock: nobody else has such folders then.
 *
 * @param {import("./project.mjs").Project} project
 */
export async function removeLeftovers(project) {
  for (const name of await readdir(project.toolsFolder)) {
    if (name.startsWith(PREFIX)) await rm(join(project.toolsFolder, name), { recursive: true, force: true });
  }
}
