import { readdir, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ChanceryError } from "../resources/index.ts";
import { temporaryDirectory } from "../test/support/index.ts";
import { lockDirectory } from "./directory-lock.ts";

const inUse = (pid: number) => new ChanceryError("conflict", `in use by ${pid}`);

test.each([
  ["nobody has", undefined],
  [
    "a process had that is gone",
    JSON.stringify({ pid: 999_999_999, started: "1", machine: "an earlier boot", nonce: "n" }),
  ],
  ["was damaged", "999999999 1"],
])("of many that want a directory at once, which %s, exactly one gets it", async (_, left) => {
  for (let round = 0; round < 20; round += 1) {
    const directory = await temporaryDirectory("lock");
    if (left !== undefined) {
      await writeFile(join(directory, "lock"), left);
      await age(join(directory, "lock"));
    }
    const tried = await Promise.allSettled(Array.from({ length: 8 }, () => lockDirectory(directory, inUse)));
    const held = tried.filter((each) => each.status === "fulfilled");
    expect(held).toHaveLength(1);
    for (const each of tried) if (each.status === "rejected") expect(String(each.reason)).toContain("in use by");
    await held[0]?.value.release();
    expect(await readdir(directory)).toEqual([]);
  }
});

test("a guard that was left in the middle of a takeover keeps nobody out", async () => {
  const directory = await temporaryDirectory("lock");
  const dead = JSON.stringify({ pid: 999_999_999, started: "1", machine: "an earlier boot", nonce: "n" });
  for (const name of ["lock", "lock.takeover"]) {
    await writeFile(join(directory, name), dead);
    await age(join(directory, name));
  }
  await (await lockDirectory(directory, inUse)).release();
  expect(await readdir(directory)).toEqual([]);
});

async function age(file: string): Promise<void> {
  const long = new Date(Date.now() - 60_000);
  await utimes(file, long, long);
}
