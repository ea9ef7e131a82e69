import { join } from "node:path";
import { SetupFailure } from "./failure.mjs";

/**
 * Where set-up works. Nothing is written outside `root`.
 *
 * @typedef {object} Project
 * @property {string} root          folder with package.json
 * @property {string} toolsFolder   fetched programs, the lock and temporary folders
 * @property {"x64" | "arm64"} architecture
 * @property {NodeJS.ProcessEnv} env
 * @property {(line: string) => void} say  one line for the person at the keyboard
 * @property {AbortSignal} signal  stops what is running
 */

/**
 * @param {string} root
 * @param {NodeJS.ProcessEnv} env
 * @param {{ platform: string, architecture: string }} machine  as in `process.platform` and `process.arch`
 * @param {Pick<Project, "say" | "signal">} edge
 * @returns {Project}
 */
export function openProject(root, env, machine, { say, signal }) {
  const { platform, architecture } = machine;
  if (platform !== "linux" || (architecture !== "x64" && architecture !== "arm64")) {
    throw new SetupFailure(
      `Chancery runs on Linux (x64 or arm64); this is ${platform} (${architecture}). Use a Linux machine, container or VM.`,
    );
  }
  return { root, toolsFolder: join(root, ".tools"), architecture, env, say, signal };
}
