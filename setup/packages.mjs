import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { run } from "./child.mjs";
import { SetupFailure, systemCode } from "./failure.mjs";
import { isProgram } from "./probe.mjs";
import { announced } from "./progress.mjs";

/** @typedef {import("./project.mjs").Project} Project */

const INSTALL_TIMEOUT_MS = 20 * 60_000;
const NODE_MAJOR = "v24.";

/**
 * @param {Project} project
 * @returns {Promise<boolean>} whether node_modules is what the lockfile says
 */
export async function packagesInPlace(project) {
  const wanted = await lockfileDigest(project);
  const stamp = await readFile(stampFile(project), "utf8").catch(() => undefined);
  return stamp === wanted && (await isProgram(nodeProgram(project)));
}

/**
 * `npm ci` by the lockfile. No install scripts run (.npmrc): Node 24 itself comes as a package for this machine.
 *
 * @param {Project} project
 * @param {boolean} force  install even where the packages that are there are the wanted ones
 */
export async function installPackages(project, force) {
  const wanted = await lockfileDigest(project);
  if (force || !(await packagesMatch(project)) || !(await isProgram(nodeProgram(project)))) {
    await announced(project, "installing the locked npm packages", "half a minute to a few minutes", () =>
      runNpm(project),
    );
  }
  const node = await run(nodeProgram(project), ["--version"], {
    cwd: project.root,
    env: project.env,
    timeoutMs: 20_000,
    signal: project.signal,
  });
  if (node.status !== 0 || !node.output.startsWith(NODE_MAJOR)) {
    throw new SetupFailure(
      `node_modules/.bin/node should be Node 24 but says: ${node.output || "nothing"}. It needs a Linux with glibc 2.28 or later; \`npm run setup -- --only packages --force\` installs it anew.`,
    );
  }
  await writeFile(stampFile(project), wanted);
}

/** @param {Project} project */
async function runNpm(project) {
  const options = ["--include=dev", "--include=optional", "--no-audit", "--no-fund", "--engine-strict=false"];
  const { status, output } = await run("npm", ["ci", "--ignore-scripts", "--loglevel=error", ...options], {
    cwd: project.root,
    env: outsideNodeModules(project),
    timeoutMs: INSTALL_TIMEOUT_MS,
    signal: project.signal,
  });
  if (status === null) throw new SetupFailure(`npm (it comes with Node.js) could not be run: ${output}`);
  if (status !== 0) throw new SetupFailure(`\`npm ci\` failed:\n${output}`);
}

/** @param {Project} project */
function stampFile(project) {
  return join(project.root, "node_modules", ".chancery-lockfile");
}

/** @param {Project} project */
function nodeProgram(project) {
  return join(project.root, "node_modules", ".bin", "node");
}

/**
 * npm's own `node` must not be the one that `npm ci` is about to replace.
 *
 * @param {Project} project
 * @returns {NodeJS.ProcessEnv}
 */
function outsideNodeModules(project) {
  const folders = (project.env.PATH ?? "").split(delimiter);
  const own = join(project.root, "node_modules", ".bin");
  return { ...project.env, PATH: folders.filter((folder) => folder !== own).join(delimiter) };
}

/** @param {Project} project */
async function lockfileDigest(project) {
  try {
    const bytes = await readFile(join(project.root, "package-lock.json"));
    return createHash("sha256").update(bytes).digest("hex");
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
    throw new SetupFailure(`${project.root} has no package-lock.json; is the clone complete?`);
  }
}

/** @typedef {{ version?: string, integrity?: string, optional?: boolean }} LockedPackage */

/**
 * Compares the lockfile with what npm noted at its last run, so that after `npm install NAME` nothing is installed twice.
 *
 * @param {Project} project
 */
async function packagesMatch(project) {
  const wanted = await lockedPackages(join(project.root, "package-lock.json"));
  const present = await lockedPackages(join(project.root, "node_modules", ".package-lock.json"));
  if (wanted === undefined || present === undefined) return false;
  return samePackages(wanted, present);
}

/**
 * @param {Readonly<Record<string, LockedPackage>>} wanted
 * @param {Readonly<Record<string, LockedPackage>>} present
 * @returns {boolean} whether nothing is missing but optional packages (for other machines), different, or left over
 */
export function samePackages(wanted, present) {
  for (const [path, { version, integrity, optional }] of Object.entries(wanted)) {
    if (path === "") continue;
    const found = present[path];
    if (found === undefined ? optional !== true : found.version !== version || found.integrity !== integrity) {
      return false;
    }
  }
  return Object.keys(present).every((path) => Object.hasOwn(wanted, path));
}

/**
 * @param {string} path
 * @returns {Promise<Record<string, LockedPackage> | undefined>}
 */
async function lockedPackages(path) {
  try {
    return JSON.parse(await readFile(path, "utf8")).packages;
  } catch {
    // Absent or damaged: then `npm ci` decides.
    return undefined;
  }
}
