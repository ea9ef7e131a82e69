import { createHash } from "node:crypto";
import { readdir, readFile, rename, writeFile } from "node:fs/promises";
import { delimiter, join, relative } from "node:path";
import { run } from "./child.mjs";
import { SetupFailure, systemCode } from "./failure.mjs";
import { isProgram } from "./probe.mjs";
import { announced } from "./progress.mjs";
import { withTemporaryFolder } from "./temporary.mjs";

/** @typedef {import("./project.mjs").Project} Project */

const GENERATE_TIMEOUT_MS = 10 * 60_000;

/** What generates; a new version may write other code. */
const GENERATORS = ["@bufbuild/buf", "@bufbuild/protoc-gen-es"];

/** The folder that is generated, inside protos/ and in the output of buf (`out:` in buf.gen.yaml). */
const GENERATED = "gen";
const STAMP = ".stamp";

/**
 * @param {Project} project
 * @returns {Promise<boolean>} whether protos/gen was made from what is in protos/ now
 */
export async function protosInPlace(project) {
  const stamp = await readFile(join(project.root, "protos", GENERATED, STAMP), "utf8").catch(() => undefined);
  return stamp !== undefined && stamp === (await sourceDigest(project));
}

/**
 * Generates beside, then swaps: protos/gen is the old code or the new, whole, or (for a moment) absent.
 *
 * @param {Project} project
 */
export async function generateProtos(project) {
  if (!(await isProgram(join(programs(project), "buf")))) {
    throw new SetupFailure("the generator of protobuf code is not installed yet; `npm run setup` does both.");
  }
  const digest = await sourceDigest(project);
  const work = () => withTemporaryFolder(project, (folder) => generateInto(project, folder, digest));
  await announced(project, "generating code from protos/", "about 20 seconds", work);
}

/**
 * @param {Project} project
 * @param {string} folder
 * @param {string} digest
 */
async function generateInto(project, folder, digest) {
  const bin = programs(project);
  const { status, output } = await run(join(bin, "buf"), ["generate", "--output", folder], {
    cwd: join(project.root, "protos"),
    env: {
      ...project.env,
      PATH: [bin, project.env.PATH ?? ""].join(delimiter),
      BUF_CACHE_DIR: join(folder, "buf-cache"),
    },
    timeoutMs: GENERATE_TIMEOUT_MS,
    signal: project.signal,
  });
  if (status !== 0) throw new SetupFailure(`\`buf generate\` in protos/ failed:\n${output}`);
  const made = join(folder, GENERATED);
  await writeFile(join(made, STAMP), digest);
  await replaceFolder(join(project.root, "protos", GENERATED), made, join(folder, "old"));
}

/** @param {Project} project */
function programs(project) {
  return join(project.root, "node_modules", ".bin");
}

/**
 * @param {string} target
 * @param {string} made
 * @param {string} aside  where the old content goes
 */
async function replaceFolder(target, made, aside) {
  try {
    await rename(target, aside);
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
  }
  await rename(made, target);
}

/**
 * SHA-256 over everything in protos/ but the generated code, and over the versions of the generators.
 *
 * @param {Project} project
 */
async function sourceDigest(project) {
  const hash = createHash("sha256");
  const folder = join(project.root, "protos");
  for (const path of await sourceFiles(folder)) {
    const content = createHash("sha256")
      .update(await readFile(path))
      .digest("hex");
    hash.update(`${relative(folder, path)}\n${content}\n`);
  }
  for (const name of GENERATORS) {
    const text = await readFile(join(project.root, "node_modules", name, "package.json"), "utf8").catch(() => "{}");
    hash.update(`${name} ${JSON.parse(text).version}\n`);
  }
  return hash.digest("hex");
}

/**
 * @param {string} folder
 * @returns {Promise<string[]>} sorted
 */
async function sourceFiles(folder) {
  const entries = await readdir(folder, { withFileTypes: true });
  const nested = entries.map(async (entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === GENERATED ? [] : sourceFiles(path);
    return entry.isFile() ? [path] : [];
  });
  return (await Promise.all(nested)).flat().sort();
}
