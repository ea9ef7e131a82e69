import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { ChanceryError } from "../resources/index.ts";
import { canonicalJson, digestOf, durableFiles } from "../revision/index.ts";
import { type LastGoodFiles, openLastGoodFiles } from "./last-good-files.ts";

let root: string;
let alarms: ChanceryError[];
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "chancery-last-good-"));
  alarms = [];
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function opened(directory = root): Promise<LastGoodFiles> {
  const temporary = join(directory, "tmp");
  await mkdir(temporary, { recursive: true });
  return await openLastGoodFiles(directory, durableFiles(temporary), (alarm) => alarms.push(alarm));
}

const tree = (entries: Readonly<Record<string, string>>) => new Map(Object.entries(entries));
const changes = () => join(root, "last-good.changes");

test("after a restart it is the tree that was saved last, whatever was changed", async () => {
  const trees = fc.dictionary(fc.constantFrom("a.yaml", "b/c.yaml", "b/d.yaml"), fc.string({ maxLength: 6 }));
  let count = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ files: trees, restart: fc.boolean() }), { minLength: 1, maxLength: 6 }),
      async (steps) => {
        const directory = join(root, String(count++));
        let keeper = await opened(directory);
        for (const { files, restart } of steps) {
          await keeper.save(tree(files));
          const again = await opened(directory);
          expect(Object.fromEntries(again.files ?? [])).toEqual({ ...files });
          if (restart) keeper = again;
        }
      },
    ),
    { numRuns: 25 },
  );
  expect(alarms).toEqual([]);
});

test("an edit costs the file that was edited, until the changes outgrow the whole", async () => {
  const files = new Map(Array.from({ length: 200 }, (_, index) => [`${index}.yaml`, "x".repeat(2_000)]));
  const keeper = await opened();
  await keeper.save(files);
  await keeper.save(new Map([...files, ["7.yaml", "short"]]));
  expect((await stat(changes())).size).toBeLessThan(500);
  for (let round = 0; round < 3; round++) {
    await keeper.save(new Map([...files].map(([path, text]) => [path, text + round])));
  }
  expect((await opened()).files?.get("7.yaml")?.endsWith("x2")).toBe(true);
  expect((await stat(changes())).size).toBeLessThan(500_000);
});

test("a change that was cut off in the middle was never saved", async () => {
  const keeper = await opened();
  for (const text of ["one", "two", "three"]) await keeper.save(tree({ "a.yaml": text }));
  const bytes = await readFile(changes());
  const first = bytes.indexOf("\n") + 1;
  for (let length = 0; length < bytes.length; length += 7) {
    await writeFile(changes(), bytes.subarray(0, length));
    const expected = length < first ? "one" : "two";
    expect((await opened()).files?.get("a.yaml")).toBe(expected);
  }
  expect(alarms).toEqual([]);
  // Who goes on after such an end starts with the whole.
  const again = await opened();
  await again.save(tree({ "a.yaml": "four" }));
  expect((await opened()).files?.get("a.yaml")).toBe("four");
});

test("damage in the middle is told, and nothing counts as there", async () => {
  const keeper = await opened();
  for (const text of ["one", "two", "three"]) await keeper.save(tree({ "a.yaml": text }));
  const text = await readFile(changes(), "utf8");
  for (const damaged of [text.replace('"two"', '"owt"'), text.slice(text.indexOf("\n") + 1), text.replace("{", "")]) {
    await writeFile(changes(), damaged);
    expect((await opened()).files).toBeUndefined();
    expect(alarms.at(-1)?.code).toBe("corrupt");
  }
});

test("changes that a whole left behind say nothing of it", async () => {
  const keeper = await opened();
  for (const text of ["one", "two"]) await keeper.save(tree({ "a.yaml": text }));
  const left = await readFile(changes());
  await (await opened()).save(tree({ "a.yaml": "one" }));
  await writeFile(changes(), left);
  expect((await opened()).files?.get("a.yaml")).toBe("one");
  expect(alarms).toEqual([]);
});

test("a file of the format before is read", async () => {
  const files = { "a.yaml": "one" };
  const state = { format: 1, checksum: digestOf(canonicalJson(files)), files };
  await writeFile(join(root, "last-good.json"), JSON.stringify(state));
  expect((await opened()).files).toEqual(tree(files));
});
