import { access, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { run } from "./child.mjs";
import { temporaryProject, writeProgram } from "./test-project.ts";

const { signal } = new AbortController();
const options = { cwd: "/", env: { PATH: "/usr/bin:/bin" }, timeoutMs: 60_000, signal };

test("gives status and both outputs, and the end of a long one", async () => {
  expect(await run("sh", ["-c", "echo out; echo err >&2; exit 3"], options)).toEqual({
    status: 3,
    output: expect.stringMatching(/^(out\nerr|err\nout)$/),
  });
  const { output } = await run("sh", ["-c", "seq 1 20000"], options);
  expect(output).toMatch(/19999\n20000$/);
  expect(output.length).toBeLessThanOrEqual(16 * 1024);
});

test("says that a program is not there", async () => {
  expect(await run("no-such-program", [], options)).toEqual({
    status: null,
    output: expect.stringContaining("ENOENT"),
  });
});

test("ends a program that takes too long", async () => {
  const { status, output } = await run("sh", ["-c", "sleep 1000"], { ...options, timeoutMs: 50 });
  expect(status).toBeNull();
  expect(output).toContain("without a result");
});

test("stops what the program has started, too", async () => {
  const { root } = await temporaryProject();
  const pidFile = join(root, "pid");
  const program = await writeProgram(join(root, "parent"), `sleep 1000 & echo $! > ${pidFile}; wait`);
  const stopping = new AbortController();
  const result = run(program, [], { ...options, signal: stopping.signal });
  await vi.waitFor(async () => expect(await readFile(pidFile, "utf8")).toMatch(/\d\n/), { timeout: 20_000 });
  const pid = Number(await readFile(pidFile, "utf8"));
  stopping.abort();
  expect((await result).status).toBeNull();
  // Gone, or dead and waiting to be reaped.
  await vi.waitFor(
    async () => {
      const exists = await access(`/proc/${pid}`).then(
        () => true,
        () => false,
      );
      if (exists) expect(await readFile(`/proc/${pid}/stat`, "utf8")).toMatch(/\) Z /);
    },
    { timeout: 20_000 },
  );
});
