import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { delimiter, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { ChanceryError } from "../resources/index.ts";
import tools from "../setup/tools.json" with { type: "json" };

const PROBE_TIMEOUT_MS = 20_000;

/** Where set-up puts what it fetches. */
const TOOLS_FOLDER = fileURLToPath(new URL("../.tools", import.meta.url));

/** A program on this machine. `path` is absolute, `version` as the program says it ("1.40.0"). */
export interface FoundProgram {
  readonly path: string;
  readonly version: string;
}

/** What is looked for; `minimum` bounds every place, `below` (exclusive) those that nobody named. */
export type SoughtProgram = Pick<
  (typeof tools)["envoy"],
  "title" | "program" | "environment" | "minimum" | "below" | "versionPattern" | "installed"
>;

/** Envoy 1.40: `$ENVOY_BIN`, then `PATH`, then what set-up has fetched. Throws ChanceryError "missing-tool". */
export function findEnvoy(env: NodeJS.ProcessEnv): Promise<FoundProgram> {
  return findProgram(tools.envoy, env, TOOLS_FOLDER);
}

/** nats-server: `$NATS_SERVER_BIN`, then `PATH`, then what set-up has fetched. Throws ChanceryError "missing-tool". */
export function findNatsServer(env: NodeJS.ProcessEnv): Promise<FoundProgram> {
  return findProgram(tools["nats-server"], env, TOOLS_FOLDER);
}

/** The search itself, the same as set-up's: a named program must do, the other places are passed over if they do not. */
export async function findProgram(
  sought: SoughtProgram,
  env: NodeJS.ProcessEnv,
  toolsFolder: string,
): Promise<FoundProgram> {
  const named = env[sought.environment];
  if (named !== undefined && named !== "") {
    const path = resolve(named);
    const version = (await isProgram(path)) ? await versionOf(sought, path) : undefined;
    if (version !== undefined && compareVersions(version, sought.minimum) >= 0) return { path, version };
    throw missing(sought, `$${sought.environment} is ${named}, which is ${fault(sought, version)}`);
  }
  const passedOver: string[] = [];
  const onPath = (env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  const places = [...onPath.map((folder) => resolve(folder, sought.program)), join(toolsFolder, sought.installed)];
  for (const path of places) {
    if (!(await isProgram(path))) continue;
    const version = await versionOf(sought, path);
    if (version !== undefined && isWithin(sought, version)) return { path, version };
    passedOver.push(`${path} is ${fault(sought, version)}`);
  }
  throw missing(sought, passedOver.length === 0 ? "it was found nowhere" : passedOver.join("; "));
}

function fault(sought: SoughtProgram, version: string | undefined): string {
  return version === undefined ? `no ${sought.title} that runs here` : `version ${version}`;
}

function missing({ title, environment, program, minimum, below }: SoughtProgram, why: string): ChanceryError {
  return new ChanceryError(
    "missing-tool",
    `${title} is missing: ${why}. Set ${environment} to ${title} ${minimum} or later, put \`${program}\` (${minimum} or later, before ${below}) on PATH, or let \`npm run setup\` fetch it.`,
  );
}

async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    // Absent, a broken link or not for us to run: for the search these are the same.
    return false;
  }
}

/** undefined: it does not run, or says nothing that looks like its version. */
function versionOf(sought: SoughtProgram, path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    execFile(path, ["--version"], { timeout: PROBE_TIMEOUT_MS }, (_error, stdout, stderr) => {
      resolve(new RegExp(sought.versionPattern).exec(`${stdout}\n${stderr}`)?.[1]);
    });
  });
}

function isWithin({ minimum, below }: SoughtProgram, version: string): boolean {
  return compareVersions(version, minimum) >= 0 && compareVersions(version, below) < 0;
}

/** Below 0: `left` is older. Versions are numbers with dots. */
function compareVersions(left: string, right: string): number {
  const others = right.split(".");
  for (const [index, part] of left.split(".").entries()) {
    const difference = Number(part) - Number(others[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
