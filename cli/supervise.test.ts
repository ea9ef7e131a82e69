import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { closeAtEnd, waitFor } from "../test/support/index.ts";
import { createLogger } from "./logging.ts";
import { type SuperviseOptions, supervise } from "./supervise.ts";

const log = createLogger({ level: "silent", name: "test" });
const FOREVER = "setInterval(() => undefined, 1000);";

function start(script: string, options: Partial<SuperviseOptions> = {}) {
  const args = ["-e", script];
  return closeAtEnd(
    supervise({ name: "child", file: process.execPath, args, log, onLine: () => undefined, ...options }),
  );
}

test("starts a child again that was killed", async () => {
  const child = start(FOREVER, { timing: { firstPauseMs: 1 } });
  const first = await waitFor(() => child.pid(), 10_000, "the first");
  process.kill(first, "SIGKILL");
  const second = await waitFor(() => child.restarts() === 1 && child.pid(), 10_000, "the second");
  expect(second).not.toBe(first);
});

test("goes on when the program cannot be started", async () => {
  const child = start("", { file: "/nonexistent", timing: { firstPauseMs: 1, longestPauseMs: 2 } });
  await waitFor(() => child.restarts() >= 3, 10_000, "three tries");
});

test("passes on what the child writes, line by line", async () => {
  const lines: string[] = [];
  start(`process.stdout.write("a\\nb"); process.stderr.write("c\\n"); ${FOREVER}`, {
    onLine: (line) => lines.push(line),
  });
  await waitFor(() => lines.includes("a") && lines.includes("c"), 10_000, "the lines");
});

test("ends the child for good, by force where it does not listen", async () => {
  const lines: string[] = [];
  const child = start(`process.on("SIGTERM", () => undefined); console.log("up"); ${FOREVER}`, {
    onLine: (line) => lines.push(line),
    timing: { graceMs: 20 },
  });
  await waitFor(() => lines.length > 0, 10_000, "the child");
  const pid = child.pid() ?? 0;
  await child.close();
  await child.close();
  expect(child.pid()).toBeUndefined();
  expect(() => process.kill(pid, 0)).toThrow();
});

test("a child with a channel ends when its parent is killed", async () => {
  const directory = await mkdtemp(join(tmpdir(), "chancery-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  const file = join(directory, "pid");
  const grandchild = `require("fs").writeFileSync(${JSON.stringify(file)}, String(process.pid));
    process.once("disconnect", () => process.exit()); ${FOREVER}`;
  const parent = `import { supervise } from ${JSON.stringify(new URL("./supervise.ts", import.meta.url).href)};
    const log = { debug() {}, error() {}, warn() {} };
    supervise({ name: "c", file: process.execPath, args: ["-e", ${JSON.stringify(grandchild)}], log, channel: true });`;
  const child = start("", { args: ["--input-type=module-typescript", "-e", parent], timing: { firstPauseMs: 60_000 } });
  const pid = Number(await waitFor(async () => (await readFile(file, "utf8")) || undefined, 10_000, "the grandchild"));
  process.kill(await waitFor(() => child.pid(), 10_000, "the child"), "SIGKILL");
  await waitFor(() => !isRunning(pid), 10_000, "the end of the grandchild");
});

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
