import { type FileHandle, open, readlink } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { temporaryDirectory } from "../test/support/index.ts";
import { digestOf } from "./digest.ts";
import { durableFiles, ensureDirectory } from "./durable-file.ts";
import { diskMedium } from "./store-disk.ts";

/** What is synced from now on, in order, as paths; it is synced all the same. */
async function syncedFiles(directory: string): Promise<string[]> {
  const paths: string[] = [];
  const probe = await open(directory, "r");
  const handles: Pick<FileHandle, "sync"> = Object.getPrototypeOf(probe);
  await probe.close();
  const { sync } = handles;
  const spy = vi.spyOn(handles, "sync").mockImplementation(async function (this: FileHandle) {
    paths.push(await readlink(`/proc/self/fd/${this.fd}`));
    await sync.call(this);
  });
  onTestFinished(() => spy.mockRestore());
  return paths;
}

test("a file is on the disk before it has its name, and its name before it counts as written", async () => {
  const directory = await temporaryDirectory("durable");
  const files = durableFiles(directory);
  const synced = await syncedFiles(directory);
  await files.write(join(directory, "a"), Buffer.from("1"));
  expect(synced).toEqual([expect.stringMatching(/\/[0-9a-f-]{36}$/), directory]);
  synced.length = 0;
  expect(await files.create(join(directory, "b"), Buffer.from("1"))).toBe(true);
  expect(synced).toEqual([expect.stringMatching(/\/[0-9a-f-]{36}$/), directory]);
});

test("the names of new directories are on the disk, each in its parent", async () => {
  const directory = await temporaryDirectory("durable");
  const synced = await syncedFiles(directory);
  await ensureDirectory(join(directory, "a", "b"));
  expect(synced).toEqual([directory, join(directory, "a")]);
  synced.length = 0;
  await ensureDirectory(join(directory, "a", "b"));
  expect(synced).toEqual([]);
});

test("records that go are gone from the disk before what they name goes", async () => {
  const directory = await temporaryDirectory("durable");
  const medium = await diskMedium(directory);
  const bytes = Buffer.from("a manifest");
  const manifest = digestOf(bytes);
  await medium.putBlob(manifest, bytes);
  await medium.putRecord({ format: 1, number: 1, manifest, revision: manifest });
  const synced = await syncedFiles(directory);
  await medium.removeRecords([]);
  expect(synced).toEqual([]);
  await medium.removeRecords([1]);
  expect(synced).toEqual([join(directory, "revisions")]);
  expect(await medium.numbers()).toEqual([]);
});
