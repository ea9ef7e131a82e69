import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryDirectory } from "../test/support/index.ts";
import { lockState } from "./state-lock.ts";

test("gives a state directory to one process at a time", async () => {
  const path = join(await temporaryDirectory("lock"), "state");
  const lock = await lockState(path);
  await expect(lockState(path)).rejects.toMatchObject({
    code: "unavailable",
    message: `the state directory ${path} is in use by process ${process.pid}: stop it, or choose another by --state`,
  });
  await lock.close();
  await lock.close();
  await (await lockState(path)).close();
});

test.each(["", "nonsense", "999999999 1", `${process.pid} 1`])("takes over a lock that says %j", async (content) => {
  const path = await temporaryDirectory("lock");
  await writeFile(join(path, "lock"), content);
  const lock = await lockState(path);
  expect(JSON.parse(await readFile(join(path, "lock"), "utf8"))).toMatchObject({ pid: process.pid });
  await lock.close();
});

test.each(["/proc/chancery/state", "/dev/null/state", "/dev/null"])(
  "says why %s can be no state directory",
  async (path) => {
    await expect(lockState(path)).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringMatching(/^the directory \S+ cannot be made: /),
    });
  },
);
