import { type ChildProcess, spawn } from "node:child_process";
import type { Logger } from "./logging.ts";

export interface SuperviseOptions {
  /** In logs: "authz-1", "envoy". */
  readonly name: string;
  readonly file: string;
  readonly args: readonly string[];
  readonly log: Logger;
  /** On top of this process's environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Gives the child a channel that closes when this process dies, whatever it dies of (Node children). */
  readonly channel?: boolean;
  /** Each line that the child writes to stdout or stderr; absent: stderr is passed on as it is, stdout is dropped. */
  readonly onLine?: (line: string) => void;
  /** Called after each start, the first included. */
  readonly onStart?: (pid: number) => void;
  readonly timing?: Partial<SuperviseTiming>;
}

/** Milliseconds. */
export interface SuperviseTiming {
  /** Pause before the first restart; doubles with each one. */
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
  /** A child that lived this long starts again at the first pause. */
  readonly healthyAfterMs: number;
  /** From SIGTERM to SIGKILL. */
  readonly graceMs: number;
}

/** A child process that is started again whenever it ends. */
export interface Supervised {
  readonly name: string;
  pid(): number | undefined;
  /** Times it was started again. */
  restarts(): number;
  /** Ends it for good. Safe to call twice. */
  close(): Promise<void>;
}

const TIMING: SuperviseTiming = { firstPauseMs: 100, longestPauseMs: 10_000, healthyAfterMs: 30_000, graceMs: 8_000 };
const LINE_LIMIT = 64 * 1024;

/** Starts a child and keeps it running: never gives up, and says so each time. */
export function supervise(options: SuperviseOptions): Supervised {
  const { name, log } = options;
  const timing = { ...TIMING, ...options.timing };
  let child: ChildProcess | undefined;
  let timer: NodeJS.Timeout | undefined;
  let pauseMs = timing.firstPauseMs;
  let restarts = 0;
  let closed = false;
  let ended: Promise<void> = Promise.resolve();

  function start(): void {
    const startedAt = performance.now();
    const output = options.onLine === undefined ? (["ignore", "inherit"] as const) : (["pipe", "pipe"] as const);
    const started = spawn(options.file, [...options.args], {
      env: { ...process.env, ...options.env },
      stdio: ["ignore", ...output, ...(options.channel === true ? (["ipc"] as const) : [])],
      // Of its own group: Ctrl-C in a terminal reaches the parent alone, which ends its children in order.
      detached: true,
    });
    child = started;
    const { onLine } = options;
    if (onLine !== undefined) {
      for (const stream of [started.stdout, started.stderr]) splitLines(stream, onLine);
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    ended = promise;
    let reason = "";
    started.once("error", (error) => {
      reason = error.message;
      // A program that cannot be started ends without "exit".
      if (started.pid === undefined) onEnd();
    });
    started.once("spawn", () => {
      log.debug({ child: name, childPid: started.pid }, "started");
      if (started.pid !== undefined) options.onStart?.(started.pid);
    });
    started.once("exit", (code, signal) => {
      reason = signal === null ? `exit code ${code}` : `signal ${signal}`;
      onEnd();
    });

    function onEnd(): void {
      child = undefined;
      resolve();
      if (closed) return;
      if (performance.now() - startedAt >= timing.healthyAfterMs) pauseMs = timing.firstPauseMs;
      log.error({ child: name, reason, againInMs: pauseMs, restarts }, "a child process ended by itself");
      timer = setTimeout(() => {
        restarts += 1;
        start();
      }, pauseMs);
      pauseMs = Math.min(pauseMs * 2, timing.longestPauseMs);
    }
  }
  start();

  return {
    name,
    pid: () => child?.pid,
    restarts: () => restarts,
    close: async () => {
      closed = true;
      clearTimeout(timer);
      const last = child;
      if (last === undefined) return;
      last.kill("SIGTERM");
      const kill = setTimeout(() => {
        log.warn({ child: name, graceMs: timing.graceMs }, "did not end on SIGTERM, killed");
        last.kill("SIGKILL");
      }, timing.graceMs);
      await ended;
      clearTimeout(kill);
    },
  };
}

function splitLines(stream: NodeJS.ReadableStream | null, onLine: (line: string) => void): void {
  let rest = "";
  stream?.setEncoding("utf8");
  stream?.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = (lines.pop() ?? "").slice(0, LINE_LIMIT);
    for (const line of lines) if (line !== "") onLine(line);
  });
  stream?.on("end", () => {
    if (rest !== "") onLine(rest);
  });
}
