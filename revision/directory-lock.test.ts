import { readdir, rm, utimes, writeFile } from "node:fs/promises";
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

const ELSEWHERE = JSON.stringify({ pid: 999_999_999, started: "1", machine: "another container", nonce: "n" });

test("a holder that cannot be looked up and showed life just now is waited for, until it has been silent for long enough", async () => {
  const directory = await temporaryDirectory("lock");
  await writeFile(join(directory, "lock"), ELSEWHERE);
  const waits: [number, number][] = [];
  const onWait = (pid: number, milliseconds: number): void => void waits.push([pid, milliseconds]);
  const begun = performance.now();
  const lock = await lockDirectory(directory, inUse, { onWait, silenceMs: 400 });
  expect(waits).toEqual([[999_999_999, expect.any(Number)]]);
  expect(performance.now() - begun).toBeGreaterThanOrEqual((waits[0]?.[1] ?? 0) - 1);
  await lock.release();
  expect(await readdir(directory)).toEqual([]);
});

test("one that shows life meanwhile keeps the directory, and one that lets go of it hands it over", async () => {
  for (const [act, expected] of [
    [(file: string) => utimes(file, new Date(), new Date()), "in use by 999999999"],
    [(file: string) => rm(file), "taken"],
  ] as const) {
    const directory = await temporaryDirectory("lock");
    const file = join(directory, "lock");
    await writeFile(file, ELSEWHERE);
    const before = new Date(Date.now() - 1_000);
    await utimes(file, before, before);
    let acting: Promise<void> | undefined;
    const onWait = (): void => {
      acting = act(file);
    };
    const outcome = await lockDirectory(directory, inUse, { onWait, silenceMs: 60_000 }).then(
      async (lock) => {
        await lock.release();
        return "taken";
      },
      (error: ChanceryError) => error.message,
    );
    await acting;
    expect(outcome).toBe(expected);
  }
});

async function age(file: string): Promise<void> {
  const long = new Date(Date.now() - 60_000);
  await utimes(file, long, long);
}
