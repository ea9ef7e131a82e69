import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { waitFor } from "./wait-for.ts";

export interface SpawnOptions {
  readonly cwd?: string;
  /** On top of this process's environment; undefined removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Written to its stdin, which is then closed. */
  readonly input?: string;
  /** Makes it the leader of a group of its own, as a shell does; signals go to the whole group, as Ctrl-C does. */
  readonly group?: boolean;
  /** Milliseconds from SIGTERM to SIGKILL in `close()`; 5,000 by default. */
  readonly graceMs?: number;
}

/** A child process whose output is kept. */
export interface SpawnedProcess {
  readonly pid: number;
  /** What it wrote so far; the newest 8 MiB of each. */
  stdout(): string;
  stderr(): string;
  /** Whether it has ended, and how. */
  readonly ended: Promise<Ending>;
  ending(): Ending | undefined;
  signal(signal: NodeJS.Signals): void;
  /** Waits until its stdout or stderr matches; fails with the whole output when it ends before, or at the deadline. */
  waitForOutput(pattern: RegExp, deadlineMs: number): Promise<RegExpExecArray>;
  /** Waits until it ends; fails with the whole output at the deadline. */
  waitForEnd(deadlineMs: number): Promise<Ending>;
  /** SIGTERM, and SIGKILL after its grace. Safe to call twice. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Exactly one of the two is not null. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const OUTPUT_LIMIT = 8 * 1024 * 1024;
const GRACE_MS = 5_000;

// A test process that ends early takes its children along: by pid, never by name.
const living = new Map<ChildProcess, (signal: NodeJS.Signals) => void>();
process.on("exit", () => {
  for (const signal of living.values()) signal("SIGKILL");
});

/** Starts a process; it is running when the promise is fulfilled. @throws Error when the file cannot be executed */
export async function spawnProcess(
  file: string,
  args: readonly string[],
  options: SpawnOptions = {},
): Promise<SpawnedProcess> {
  const child = spawn(file, [...args], {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
    detached: options.group === true,
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout = (stdout + text).slice(-OUTPUT_LIMIT);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = (stderr + text).slice(-OUTPUT_LIMIT);
  });
  // A child that does not read its stdin may be gone before all is written: its exit code tells.
  child.stdin.on("error", () => undefined);
  child.stdin.end(options.input ?? "");

  let ending: Ending | undefined;
  // "close" comes after the last output; "exit" may come before it.
  const ended = new Promise<Ending>((resolve) => {
    child.once("close", (code, signal) => {
      living.delete(child);
      ending = { code, signal };
      resolve(ending);
    });
  });
  await once(child, "spawn");
  const { pid } = child;
  if (pid === undefined) throw new Error(`${file} has no pid`);
  const signal = (name: NodeJS.Signals): void => {
    if (options.group !== true) child.kill(name);
    // A group that has ended cannot be signalled.
    else if (ending === undefined) process.kill(-pid, name);
  };
  if (ending === undefined) living.set(child, signal);

  const describe = (): string => {
    const state = ending === undefined ? "running" : `ended with ${ending.code ?? ending.signal}`;
    return `${file} ${args.join(" ")} (${state})\n--- stdout\n${stdout}\n--- stderr\n${stderr}\n---`;
  };
  const close = async (): Promise<void> => {
    if (ending !== undefined) return;
    signal("SIGTERM");
    const timer = setTimeout(() => signal("SIGKILL"), options.graceMs ?? GRACE_MS);
    await ended;
    clearTimeout(timer);
  };
  return {
    pid,
    stdout: () => stdout,
    stderr: () => stderr,
    ended,
    ending: () => ending,
    signal,
    waitForOutput: async (pattern, deadlineMs) => {
      const find = (): RegExpExecArray | undefined => pattern.exec(stdout) ?? pattern.exec(stderr) ?? undefined;
      const found = await waitFor(
        () => find() ?? (ending === undefined ? undefined : "ended"),
        deadlineMs,
        () => `${pattern} from ${describe()}`,
      );
      if (found === "ended") throw new Error(`ended before ${pattern}: ${describe()}`);
      return found;
    },
    waitForEnd: (deadlineMs) =>
      waitFor(
        () => ending,
        deadlineMs,
        () => `the end of ${describe()}`,
      ),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Runs a process to its end. */
export async function runProcess(
  file: string,
  args: readonly string[],
  options: SpawnOptions & { readonly deadlineMs?: number } = {},
): Promise<Ending & { readonly stdout: string; readonly stderr: string }> {
  await using child = await spawnProcess(file, args, options);
  const ending = await child.waitForEnd(options.deadlineMs ?? 30_000);
  return { ...ending, stdout: child.stdout(), stderr: child.stderr() };
}
