import { access, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { setUp } from "./steps.mjs";
import { temporaryProject, writeProgram } from "./test-project.ts";

const NATS = { steps: ["nats"], force: false, quiet: false } as const;
const ENVOY = { ...NATS, steps: ["envoy"] } as const;

/** A project on a machine that has no programs but those of its own `bin`; `locked` is what happens to its lock. */
async function project(whileWaiting: (root: string) => Promise<unknown> = async () => undefined) {
  const made = await temporaryProject();
  const { project: of, root } = made;
  of.env.PATH = join(root, "bin");
  const locked: string[] = [];
  const lock = async () => {
    // It lies beside the tools.
    await mkdir(of.toolsFolder, { recursive: true });
    await whileWaiting(root);
    locked.push("taken");
    return async () => void locked.push("released");
  };
  const removeLeftovers = async () => void locked.push("cleared");
  return { ...made, locked, guard: { lock, removeLeftovers } };
}

const provideNats = (root: string) => writeProgram(join(root, "bin/nats-server"), "echo nats-server: v2.15.1");

test("where all is in place it takes no lock, and says so once", async () => {
  const { project: of, root, said, locked, guard } = await project();
  await provideNats(root);
  await setUp(of, NATS, guard);
  expect(said).toEqual([expect.stringMatching(/^everything is in place: .*2\.15\.1\.$/)]);
  await setUp(of, { ...NATS, quiet: true }, guard);
  expect([said.length, locked]).toEqual([1, []]);
});

test("leftovers are cleared under the lock, which is released", async () => {
  const { project: of, root, said, locked, guard } = await project();
  await provideNats(root);
  await setUp(of, { ...NATS, steps: [], force: true }, guard);
  expect(locked).toEqual(["taken", "cleared", "released"]);
  expect(said.at(-1)).toMatch(/^done in \d+ s/);
});

test("does without a nats-server that cannot be had, remembers it, and tries again when it is told to", async () => {
  const { project: of, root, said, locked, guard } = await project();
  await setUp(of, NATS, guard);
  const remembered = join(root, ".tools/nats-server.missing");
  expect(said.join("\n")).toMatch(/warning: .*nats-server.* is missing: there is no pip/);
  expect(await readFile(remembered, "utf8")).toContain("is missing");
  expect(locked).toEqual(["taken", "cleared", "released"]);
  said.length = 0;

  await setUp(of, NATS, guard);
  expect(said).toEqual([expect.stringMatching(/^everything is in place: no nats-server .*--force.*tries again/)]);
  expect(locked).toHaveLength(3);

  await setUp(of, { ...NATS, force: true }, guard);
  expect(said.filter((line) => line.startsWith("warning:"))).toHaveLength(1);
  expect(locked).toHaveLength(6);

  await provideNats(root);
  said.length = 0;
  await setUp(of, NATS, guard);
  expect(said).toEqual([expect.stringContaining("2.15.1")]);
});

test("does not go on without an Envoy, and releases the lock", async () => {
  const { project: of, root, locked, guard } = await project();
  await expect(setUp(of, ENVOY, guard)).rejects.toThrow(/Envoy is missing/);
  expect(locked).toEqual(["taken", "cleared", "released"]);
  await expect(access(join(root, ".tools/envoy.missing"))).rejects.toThrow("ENOENT");
});

test("whoever is stopped has not tried in vain", async () => {
  const { project: of, root, guard } = await project();
  await expect(setUp({ ...of, signal: AbortSignal.abort() }, NATS, guard)).rejects.toThrow();
  await expect(access(join(root, ".tools/nats-server.missing"))).rejects.toThrow("ENOENT");
});

test("does not do again what another set-up did while it waited for the lock", async () => {
  const { project: of, said, guard } = await project(provideNats);
  await setUp(of, NATS, guard);
  expect(said).toEqual([expect.stringMatching(/^done in \d+ s: .*2\.15\.1\.$/)]);
});
