import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArguments, USAGE } from "./arguments.mjs";
import { SetupFailure } from "./failure.mjs";
import { takeLock } from "./lock.mjs";
import { openProject } from "./project.mjs";
import { setUp } from "./steps.mjs";
import { removeLeftovers } from "./temporary.mjs";

const LOCK_WAIT_MS = 30 * 60_000;
const LOCK_SILENT_MS = 60_000;

/** The whole of `node setup/setup.mjs`. Messages go to standard error: standard output is the commands' own. */
export async function main() {
  const args = parseArguments(process.argv.slice(2));
  if ("error" in args) {
    process.stderr.write(`set-up: ${args.error}\n\n${USAGE}`);
    process.exitCode = 2;
    return;
  }
  if (args.help) {
    process.stdout.write(USAGE);
    return;
  }
  const signal = signalled();
  /** @param {string} line */
  const say = (line) => process.stderr.write(`set-up: ${line}\n`);
  try {
    const root = fileURLToPath(new URL("..", import.meta.url));
    const machine = { platform: process.platform, architecture: process.arch };
    const project = openProject(root, process.env, machine, { say, signal });
    const lock = () =>
      takeLock(join(project.toolsFolder, "setup.lock"), {
        waitMs: LOCK_WAIT_MS,
        silentMs: LOCK_SILENT_MS,
        signal,
        onWait: (owner) => say(`waiting for another set-up (process ${owner.pid || "unknown"}) …`),
      });
    await setUp(project, args, { lock, removeLeftovers });
  } catch (error) {
    process.stderr.write(signal.aborted ? "set-up was stopped.\n" : `set-up failed: ${describe(error)}\n`);
    process.exitCode = 1;
  }
}

/** A signal ends the child at work; what waits for it fails, cleans up and gives the lock back. */
function signalled() {
  const controller = new AbortController();
  for (const name of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) {
    process.once(name, () => controller.abort());
  }
  return controller.signal;
}

/**
 * @param {unknown} error
 * @returns {string} a message for what can be mended, the whole trace for a defect
 */
function describe(error) {
  if (error instanceof SetupFailure) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
