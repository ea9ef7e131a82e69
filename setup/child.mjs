import { spawn } from "node:child_process";

/** Output is for messages and version lines; a child that writes more than this is cut to its last part. */
const KEPT_OUTPUT = 16 * 1024;

/** How long a child that was told to stop may take. */
const STOP_MS = 5_000;

/**
 * @typedef {object} Finished
 * @property {number | null} status  null: it could not be started, was stopped, or ran out of time
 * @property {string} output         end of standard output and standard error, as they came
 */

/**
 * Runs a program to its end, without a shell and without standard input.
 *
 * @param {string} program
 * @param {readonly string[]} args
 * @param {{ cwd: string, env: NodeJS.ProcessEnv, timeoutMs: number, signal: AbortSignal }} options
 * @returns {Promise<Finished>}
 */
export function run(program, args, { cwd, env, timeoutMs, signal }) {
  return new Promise((resolve) => {
    let output = "";
    /** @param {string} text */
    const keep = (text) => {
      output = (output + text).slice(-KEPT_OUTPUT);
    };
    // A process group of its own, so that what it starts (npm, pip and buf all start others) ends with it.
    const child = spawn(program, args, { cwd, env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    /** @param {NodeJS.Signals} name */
    const signalGroup = (name) => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, name);
      } catch {
        // The whole group has ended already.
      }
    };
    const timer = setTimeout(() => {
      keep(`\nended after ${timeoutMs / 1000} s without a result`);
      signalGroup("SIGKILL");
    }, timeoutMs);
    /** @type {NodeJS.Timeout | undefined} */
    let lastResort;
    const stop = () => {
      signalGroup("SIGTERM");
      lastResort = setTimeout(() => signalGroup("SIGKILL"), STOP_MS);
    };
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
    /** @param {number | null} status */
    const finish = (status) => {
      clearTimeout(timer);
      clearTimeout(lastResort);
      signal.removeEventListener("abort", stop);
      resolve({ status, output: output.trim() });
    };
    child.stdout.setEncoding("utf8").on("data", keep);
    child.stderr.setEncoding("utf8").on("data", keep);
    child.on("error", (error) => {
      keep(error.message);
      // It was never started; otherwise "close" follows when it has ended.
      if (child.pid === undefined) finish(null);
    });
    child.on("close", finish);
  });
}
