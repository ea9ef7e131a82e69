import { expect, test } from "vitest";
import { closeAtEnd } from "./close-at-end.ts";
import { runProcess, spawnProcess } from "./spawn-process.ts";

const node = process.execPath;

test("keeps the output and the exit code", async () => {
  const script = "process.stdin.pipe(process.stdout); console.error('e'); process.exitCode = 3";
  const run = await runProcess(node, ["-e", script], { input: "in" });
  expect(run).toEqual({ code: 3, signal: null, stdout: "in", stderr: "e\n" });
});

test("waits for a line of output", async () => {
  const child = closeAtEnd(
    await spawnProcess(node, ["-e", "console.log('port 4711'); setInterval(() => undefined, 1000)"]),
  );
  expect((await child.waitForOutput(/port (\d+)/, 10_000))[1]).toBe("4711");
  expect(child.ending()).toBeUndefined();
});

test("shows the whole output when the process ends before its line", async () => {
  const child = closeAtEnd(await spawnProcess(node, ["-e", "console.error('no such file'); process.exit(9)"]));
  await expect(child.waitForOutput(/ready/, 10_000)).rejects.toThrow(/ended with 9[\s\S]*no such file/);
});

test("ends a process that ignores nothing, by its pid", async () => {
  const child = await spawnProcess(node, ["-e", "setInterval(() => undefined, 1000)"]);
  await child.close();
  await child.close();
  expect(child.ending()).toEqual({ code: null, signal: "SIGTERM" });
  expect(() => process.kill(child.pid, 0)).toThrow();
});

test("fails when there is no such program", async () => {
  await expect(spawnProcess("/nonexistent/program", [])).rejects.toThrow("ENOENT");
});
