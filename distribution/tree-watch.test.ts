import { renameSync, writeFileSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { ChanceryError } from "../resources/index.ts";
import { type TreeWatch, type TreeWatchOptions, watchTree } from "./tree-watch.ts";

const DEADLINE = { timeout: 15_000, interval: 5 };
const HOUR = 3_600_000;

let root: string;
let tree: string;
let changes: number[];
let alarms: ChanceryError[];
let watch: TreeWatch | undefined;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "chancery-watch-"));
  tree = join(root, "tree");
  await mkdir(tree);
  changes = [];
  alarms = [];
});
afterEach(async () => {
  watch?.close();
  await rm(root, { recursive: true, force: true });
});

function watching(options: Partial<TreeWatchOptions> = {}): void {
  watch = watchTree(tree, (since) => changes.push(since), {
    pollMs: HOUR,
    quietMs: 10,
    maximumWaitMs: 100,
    now: Date.now,
    onAlarm: (alarm) => alarms.push(alarm),
    ...options,
  });
}

test("tells what the file system reports, in directories that are made later too", async () => {
  watching();
  await writeFile(join(tree, "a.yaml"), "a");
  await vi.waitFor(() => expect(changes).toHaveLength(1), DEADLINE);
  await mkdir(join(tree, "new"));
  await vi.waitFor(() => expect(changes).toHaveLength(2), DEADLINE);
  await writeFile(join(tree, "new", "b.yaml"), "b");
  await vi.waitFor(() => expect(changes.length).toBeGreaterThan(2), DEADLINE);
});

test("finds by looking what the file system does not report", async () => {
  // The directory is watched, the file that a link in it leads to is not.
  const target = join(root, "target.yaml");
  await writeFile(target, "a");
  await symlink(target, join(tree, "link.yaml"));
  watching({ pollMs: 5 });
  await vi.waitFor(async () => {
    await writeFile(target, `${Math.random()}`);
    expect(changes.length).toBeGreaterThan(0);
  }, DEADLINE);
});

test("watches a directory that is made, or replaced, after the start", async () => {
  await rm(tree, { recursive: true });
  watching({ pollMs: 20 });
  for (let round = 0; round < 2; round++) {
    const before = changes.length;
    await rename(await mkdtemp(join(root, "made-")), tree);
    await writeFile(join(tree, "a.yaml"), "a");
    await vi.waitFor(() => expect(changes.length).toBeGreaterThan(before), DEADLINE);
    await rm(tree, { recursive: true });
    await vi.waitFor(() => expect(changes.length).toBeGreaterThan(before + 1), DEADLINE);
  }
});

test("hears of a file each time that it is replaced, though the new one had another name for no time at all", async () => {
  await writeFile(join(tree, "a.yaml"), "a");
  watching();
  for (let round = 0; round < 4; round++) {
    const before = changes.length;
    writeFileSync(join(tree, "a.yaml.saving"), `${round}`);
    renameSync(join(tree, "a.yaml.saving"), join(tree, "a.yaml"));
    await vi.waitFor(() => expect(changes.length).toBeGreaterThan(before), DEADLINE);
  }
});

test("many changes at once are told once, and unending ones in between", async () => {
  watching({ quietMs: 50, maximumWaitMs: 60 });
  for (let index = 0; index < 20; index++) await writeFile(join(tree, `${index}.yaml`), "a");
  await vi.waitFor(() => expect(changes.length).toBeGreaterThan(0), DEADLINE);
  const after = changes.length;
  expect(after).toBeLessThan(20);
  // Never quiet for as long as it waits for, so only the longest wait can end it.
  await vi.waitFor(async () => {
    await writeFile(join(tree, "again.yaml"), `${Math.random()}`);
    expect(changes.length).toBeGreaterThan(after + 1);
  }, DEADLINE);
});

test("what begins with a dot is no part of the tree", async () => {
  await mkdir(join(tree, ".git"));
  watching({ pollMs: 5 });
  await writeFile(join(tree, ".git", "HEAD"), "a");
  await writeFile(join(tree, ".hidden.yaml"), "a");
  // The file that counts is written last: had the others counted, there would be a sign from before it.
  const before = Date.now();
  await writeFile(join(tree, "a.yaml"), "a");
  await vi.waitFor(() => expect(changes.length).toBeGreaterThan(0), DEADLINE);
  expect(changes[0]).toBeGreaterThanOrEqual(before);
});
