import { spawn } from "node:child_process";

/** Output is for messages and version lines; a child that writes more than this is cut to its last part. */
const KEPT_OUTPUT = 16 * 1024;

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
    const child = spawn(program, args, { cwd, env, signal, stdio: ["ignore", "pipe", "pipe"] });
    const timer = setTimeout(() => {
      keep(`\nended after ${timeoutMs / 1000} s without a result`);
      child.kill("SIGKILL");
    }, timeoutMs);
    /** @param {number | null} status */
    const finish = (status) => {
      clearTimeout(timer);
      resolve({ status, output: output.trim() });
    };
    child.stdout.setEncoding("utf8").on("data", keep);
    child.stderr.setEncoding("utf8").on("data", keep);
    child.on("error", (error) => {
      keep(error.message);
      // Stopped while running: "close" follows when it has ended.
      if (child.pid === undefined) finish(null);
    });
    child.on("close", finish);
  });
}
