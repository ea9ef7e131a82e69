import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { demandDescent, sourceLineage } from "./source-lineage.ts";

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "chancery-lineage-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

function git(...args: readonly string[]): string {
  const who = ["-c", "user.name=Test", "-c", "user.email=test@acme.example", "-c", "init.defaultBranch=main"];
  return execFileSync("git", ["-C", root, ...who, ...args], { encoding: "utf8" }).trim();
}

async function commit(text: string): Promise<string> {
  await mkdir(join(root, "tree"), { recursive: true });
  await writeFile(join(root, "tree", "a.yaml"), text);
  git("add", "-A");
  git("commit", "-q", "-m", text);
  return git("rev-parse", "HEAD");
}

const lineage = () => sourceLineage(join(root, "tree"));

test("a tree outside of git has no lineage, and follows nothing that has one", async () => {
  await mkdir(join(root, "tree"));
  expect(await lineage()).toBeUndefined();
  expect(await sourceLineage(join(root, "missing"))).toBeUndefined();
  await demandDescent(undefined, undefined);
  await expect(demandDescent(undefined, "a".repeat(40))).rejects.toMatchObject({
    code: "conflict",
    message: expect.stringContaining("no git checkout"),
  });
});

test("a commit follows itself and those before it, and none of another branch", async () => {
  git("init", "-q");
  const first = await commit("one");
  const second = await commit("two");
  expect((await lineage())?.commit).toBe(second);
  for (const ancestor of [first, second, `${first}+dirty`]) await demandDescent(await lineage(), ancestor);

  git("checkout", "-q", "-b", "other", first);
  const other = await commit("three");
  await expect(demandDescent(await lineage(), second)).rejects.toMatchObject({ code: "conflict" });
  await expect(demandDescent(await lineage(), "b".repeat(40))).rejects.toThrow("--force-source");
  git("merge", "-q", "-s", "ours", "-m", "both", second);
  for (const ancestor of [first, second, other]) await demandDescent(await lineage(), ancestor);
});

test("files that differ from the commit are told", async () => {
  git("init", "-q");
  const first = await commit("one");
  await writeFile(join(root, "outside.txt"), "not of the tree");
  expect((await lineage())?.commit).toBe(first);
  await writeFile(join(root, "tree", "b.yaml"), "new");
  expect((await lineage())?.commit).toBe(`${first}+dirty`);
});
