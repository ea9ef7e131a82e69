import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { access, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "./child.mjs";

const PROBE_TIMEOUT_MS = 20_000;

/**
 * What a file answered to `--version`, kept in the tools folder so that a later set-up starts no program.
 *
 * @typedef {{ size: number, mtimeMs: number, output: string }} Answer
 */

/**
 * @param {string} path
 * @returns {Promise<boolean>} whether it is a file that we may run
 */
export async function isProgram(path) {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    // Absent, a broken link or not for us to run: for the search these are the same.
    return false;
  }
}

/**
 * @param {import("./project.mjs").Project} project
 * @param {string} path  a program (`isProgram`)
 * @returns {Promise<string>} what it prints for `--version`, or why it could not be run
 */
export async function versionOutput(project, path) {
  const { size, mtimeMs } = await stat(path);
  const file = join(project.toolsFolder, "probes.json");
  const answers = await readAnswers(file);
  const known = answers[path];
  if (known !== undefined && known.size === size && known.mtimeMs === mtimeMs) return known.output;
  const { status, output } = await run(path, ["--version"], {
    cwd: project.root,
    env: project.env,
    timeoutMs: PROBE_TIMEOUT_MS,
    signal: project.signal,
  });
  // A failure may pass (memory, a missing library that is installed next): ask again next time.
  if (status !== 0) return output;
  await mkdir(project.toolsFolder, { recursive: true });
  await replaceFile(file, `${JSON.stringify({ ...answers, [path]: { size, mtimeMs, output } }, undefined, 2)}\n`);
  return output;
}

/**
 * @param {string} file
 * @returns {Promise<Record<string, Answer>>}
 */
async function readAnswers(file) {
  try {
    const value = JSON.parse(await readFile(file, "utf8"));
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    // Absent or damaged: it is only a memory, the programs are asked again.
    return {};
  }
}

/**
 * Replaces a file in one step: readers see the old content or the new.
 *
 * @param {string} path
 * @param {string} text
 */
export async function replaceFile(path, text) {
  const draft = `${path}.${randomUUID()}`;
  try {
    await writeFile(draft, text);
    await rename(draft, path);
  } finally {
    await rm(draft, { force: true });
  }
}
