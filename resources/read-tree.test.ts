import { once } from "node:events";
import { chmod, mkdir, mkdtemp, realpath, rename, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { UPSTREAM, yaml } from "./fixtures.ts";
import { loadDirectory } from "./load-directory.ts";
import { formatProblem } from "./problem.ts";
import { type KnownTree, readTree, TREE_LIMITS } from "./read-tree.ts";
import { resourceFiles } from "./resource-files.ts";

let base: string;
let root: string;

beforeEach(async () => {
  base = await mkdtemp(join(tmpdir(), "chancery-tree-"));
  root = join(base, "root");
  await mkdir(root);
});

afterEach(async () => {
  await rm(base, { recursive: true, force: true });
});

async function write(path: string, content: string | Uint8Array): Promise<void> {
  const full = join(root, path);
  await mkdir(dirname(full), { recursive: true });
  await writeFile(full, content);
}

describe("readTree", () => {
  it("reads YAML files of every directory, but for dot directories and node_modules", async () => {
    await write("b.yaml", "b");
    await write("a/a.yml", "\uFEFFa");
    await write("a/.hidden/x.yaml", "x");
    await write(".git/x.yaml", "x");
    await write(".swap.yaml", "x");
    await write("node_modules/x/x.yaml", "x");
    await write("a/readme.md", "x");
    const tree = await readTree(root);
    expect([...tree.files]).toEqual([
      ["a/a.yml", "a"],
      ["b.yaml", "b"],
    ]);
    expect(tree.problems).toEqual([]);
  });

  it("does not read again what looks the same, once its times can tell", async () => {
    const known: KnownTree = { files: new Map(), directories: new Map() };
    const reading = (laterMs: number) => ({
      ...{ before: new Map<string, string>(), settleMs: 0, emptySettleMs: 0, onUnsettled: () => undefined },
      now: () => Date.now() + laterMs,
      known,
    });
    const texts = async (laterMs: number) => [...(await readTree(root, reading(laterMs))).files.values()];
    await write("a.yaml", "a");
    await write("b.yaml", "b");
    // Written a moment ago: another change might leave the same times.
    await texts(0);
    expect([...known.files.keys()]).toEqual([]);
    await texts(10_000);
    expect([...known.files.keys()].sort()).toEqual(["a.yaml", "b.yaml"]);
    // What is kept is what is given.
    for (const [path, { looks }] of known.files) known.files.set(path, { looks, text: `kept ${path}` });
    expect(await texts(10_000)).toEqual(["kept a.yaml", "kept b.yaml"]);
    await write("a.yaml", "c");
    expect(await texts(0)).toEqual(["c", "kept b.yaml"]);
    await rm(join(root, "b.yaml"));
    expect(await texts(10_000)).toEqual(["c"]);
    expect([...known.files.keys()]).toEqual(["a.yaml"]);
  });

  it("finds by looking at what it has heard of what it finds by looking at everything", async () => {
    const names = ["a.yaml", "b.yaml", "one", "one/a.yaml", "one/two", "one/two/c.yaml", "link.yaml", "linked"];
    const step = fc.record({
      does: fc.constantFrom("write", "write", "remove", "makeDirectory", "rename", "link"),
      name: fc.constantFrom(...names),
      other: fc.constantFrom(...names),
      text: fc.string({ maxLength: 3 }),
    });
    let count = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
        const tree = join(root, `${count++}`);
        await mkdir(tree);
        const known: KnownTree = { files: new Map(), directories: new Map() };
        const reading = (changed: ReadonlySet<string> | undefined) => ({
          ...{ before: new Map<string, string>(), settleMs: 0, emptySettleMs: 0, onUnsettled: () => undefined },
          ...{ now: () => Date.now() + 10_000, known, changed },
        });
        await readTree(tree, reading(undefined));
        for (const { does, name, other, text } of steps) {
          const [path, to] = [join(tree, name), join(tree, other)];
          const heard = new Set<string>();
          // Of a directory that a link leads to, the file system reports what happens where it is.
          const hear = async (at: string) => heard.add(relative(tree, join(await realpath(dirname(at)), basename(at))));
          try {
            for (const at of does === "rename" ? [path, to] : [path]) await hear(at);
            if (does === "write") {
              await writeFile(path, text);
              await hear(await realpath(path));
            }
            if (does === "remove") await rm(path, { recursive: true });
            if (does === "makeDirectory") await mkdir(path);
            if (does === "rename") await rename(path, to);
            if (does === "link") await symlink(relative(dirname(path), to), path);
          } catch {
            // Not every step can be taken in every tree.
            continue;
          }
          const made = await readTree(tree, reading(heard));
          const fresh = await readTree(tree);
          expect([...made.files]).toEqual([...fresh.files]);
          expect(made.problems).toEqual(fresh.problems);
        }
      }),
      { numRuns: 60 },
    );
  });

  it("takes a file as it was before while it is being written", async () => {
    const unsettled: string[] = [];
    const reading = (ageMs: number) => ({
      before: new Map([["a.yaml", "whole"]]),
      settleMs: 50,
      emptySettleMs: 1_000,
      now: () => clock + ageMs,
      onUnsettled: (path: string) => unsettled.push(path),
    });
    await write("a.yaml", "who");
    await write("empty.yaml", "");
    await write("new.yaml", "ne");
    const clock = 1_800_000_000_000;
    for (const name of ["a", "empty", "new"]) await utimes(join(root, `${name}.yaml`), clock / 1_000, clock / 1_000);

    expect([...(await readTree(root, reading(49))).files]).toEqual([["a.yaml", "whole"]]);
    // Files are read side by side: which is found first is not promised.
    expect(unsettled.splice(0).sort()).toEqual(["a.yaml", "empty.yaml", "new.yaml"]);
    expect([...(await readTree(root, reading(50))).files]).toEqual([
      ["a.yaml", "who"],
      ["new.yaml", "ne"],
    ]);
    expect(unsettled.splice(0)).toEqual(["empty.yaml"]);
    for (const ageMs of [1_000, -3_600_000]) {
      expect((await readTree(root, reading(ageMs))).files.get("empty.yaml")).toBe("");
      expect(unsettled).toEqual([]);
    }
  });

  it("has a digest that changes with paths and texts, and with nothing else", async () => {
    const digest = async () => (await readTree(root)).digest;
    await write("a.yaml", "x");
    const first = await digest();
    await write("notes.txt", "x");
    expect(await digest()).toBe(first);
    await write("a.yaml", "y");
    const second = await digest();
    expect(second).not.toBe(first);
    await rm(join(root, "a.yaml"));
    await write("b.yaml", "y");
    expect(await digest()).not.toBe(second);
    expect(resourceFiles(new Map([["ab", "c"]])).digest).not.toBe(resourceFiles(new Map([["a", "bc"]])).digest);
  });

  it("says what it cannot take, and reads the rest", async () => {
    await write("ok.yaml", "ok");
    await write("big/big.yaml", "x".repeat(TREE_LIMITS.fileBytes + 1));
    await write("fits.yaml", "x".repeat(TREE_LIMITS.fileBytes));
    await write("latin/latin.yaml", Uint8Array.of(0x61, 0xe4));
    const tree = await readTree(root);
    expect([...tree.files.keys()]).toEqual(["fits.yaml", "ok.yaml"]);
    expect(tree.problems.map(formatProblem)).toEqual([
      "big/big.yaml:1:1: error: a file may have 1 MiB [file-too-large]\n    hint: split it",
      "latin/latin.yaml:1:1: error: this file is not UTF-8 [unreadable-file]\n    hint: save it as UTF-8",
    ]);
    expect(tree.problems.map(({ scope }) => scope)).toEqual(["big", "latin"]);
  });

  it("follows links inside the tree, and refuses those that leave it", async () => {
    await write("real/a.yaml", "a");
    await writeFile(join(base, "outside.yaml"), "secret");
    await mkdir(join(base, "elsewhere"));
    await writeFile(join(base, "elsewhere", "x.yaml"), "secret");
    await symlink("real/a.yaml", join(root, "link.yaml"));
    await symlink("real", join(root, "mirror"));
    await symlink(join(base, "outside.yaml"), join(root, "out.yaml"));
    await symlink(join(base, "elsewhere"), join(root, "out"));
    await symlink("nowhere.yaml", join(root, "dangling.yaml"));
    await symlink("..", join(root, "real", "up"));
    const tree = await readTree(root);
    expect([...tree.files]).toEqual([
      ["link.yaml", "a"],
      ["mirror/a.yaml", "a"],
      ["real/a.yaml", "a"],
    ]);
    expect(tree.problems.map(({ at, code, scope }) => [at.file, code, scope])).toEqual([
      ["dangling.yaml", "unreadable-file", "."],
      ["mirror/up", "symlink-cycle", "mirror/up"],
      ["out", "symlink-outside", "out"],
      ["out.yaml", "symlink-outside", "."],
      ["real/up", "symlink-cycle", "real/up"],
    ]);
  });

  it("passes by no file that cannot be one", async () => {
    const socket = createServer().listen(join(root, "socket.yaml"));
    await once(socket, "listening");
    await symlink("socket.yaml", join(root, "to-socket.yaml"));
    const tree = await readTree(root);
    await new Promise((resolve) => socket.close(resolve));
    expect(tree.problems.map(formatProblem)).toEqual([
      "socket.yaml:1:1: error: this is no regular file [unreadable-file]",
      "to-socket.yaml:1:1: error: this link leads to no regular file [unreadable-file]",
    ]);
  });

  it("goes so deep and no deeper", async () => {
    const levels = (count: number) => Array.from({ length: count }, (_, index) => `d${index}`).join("/");
    await write(`${levels(TREE_LIMITS.depth)}/a.yaml`, "a");
    await write(`${levels(TREE_LIMITS.depth + 1)}/b.yaml`, "b");
    const tree = await readTree(root);
    expect([...tree.files.values()]).toEqual(["a"]);
    expect(tree.problems.map(({ code, scope }) => [code, scope])).toEqual([
      ["tree-too-deep", levels(TREE_LIMITS.depth + 1)],
    ]);
  });

  it.skipIf(process.getuid?.() === 0)(
    "says which directory it may not list (skipped for root, who may list all)",
    async () => {
      await write("closed/a.yaml", "a");
      await chmod(join(root, "closed"), 0o000);
      const tree = await readTree(root);
      await chmod(join(root, "closed"), 0o700);
      expect(tree.problems.map(({ code, scope, at }) => [code, scope, at.file])).toEqual([
        ["unreadable-directory", "closed", "closed"],
      ]);
    },
  );

  it("does not find what is not there", async () => {
    await expect(readTree(join(base, "nope"))).rejects.toMatchObject({ code: "not-found" });
    await writeFile(join(base, "file"), "");
    await expect(readTree(join(base, "file"))).rejects.toMatchObject({ code: "not-found" });
  });
});

describe("loadDirectory", () => {
  it("looks whether the files that are named exist, in the tree", async () => {
    const secret = (name: string, file: string) => yaml("Secret", name, `type: opaque\nvalueFile: ${file}`);
    await write(
      "team/a.yaml",
      secret("a", "here.txt") + secret("b", "gone.txt") + secret("c", "dir") + secret("d", "link.txt"),
    );
    await write("team/here.txt", "x");
    await mkdir(join(root, "team/dir"));
    await writeFile(join(base, "outside.txt"), "x");
    await symlink(join(base, "outside.txt"), join(root, "team/link.txt"));
    const { problems, inventory, tree } = await loadDirectory(root);
    expect(problems.map(formatProblem)).toEqual([
      "team/a.yaml:15:14: error: there is no file team/gone.txt [missing-file]\n    hint: a path is relative to the directory of this YAML file",
      "team/a.yaml:23:14: error: team/dir is not a file [missing-file]\n    hint: name the file itself",
      "team/a.yaml:31:14: error: team/link.txt is a link out of the resource tree [outside-tree]\n    hint: put the file itself into the tree",
    ]);
    expect(problems.every(({ scope }) => scope === "team")).toBe(true);
    expect(inventory.secrets).toHaveLength(4);
    expect([...tree.files.keys()]).toEqual(["team/a.yaml"]);
  });

  it("reports what could not be read with what could", async () => {
    await write("a.yaml", UPSTREAM);
    await write("b/b.yaml", Uint8Array.of(0xff));
    const { problems, inventory } = await loadDirectory(root);
    expect(problems.map(({ code }) => code)).toEqual(["unreadable-file"]);
    expect(inventory.upstreams).toHaveLength(1);
  });
});
