import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, truncate, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { ChanceryError } from "../resources/index.ts";
import { blobFile, digestOf } from "../revision/index.ts";
import type { Bus, SequencedHead } from "./bus.ts";
import { busContract } from "./bus-contract.ts";
import { openDirectoryBus } from "./directory-bus.ts";

const DEADLINE = { timeout: 15_000, interval: 5 };

busContract("directory", async () => {
  const directory = await mkdtemp(join(tmpdir(), "chancery-bus-"));
  const buses: Bus[] = [];
  return {
    open: async () => {
      const bus = await openDirectoryBus(directory);
      buses.push(bus);
      return bus;
    },
    damage: (digest) => writeFile(blobFile(join(directory, "blobs"), digest), "damaged"),
    maxReporters: 256,
    dispose: async () => {
      for (const bus of buses) await bus.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
});

let directory: string;
let alarms: ChanceryError[];
const buses: Bus[] = [];
const children: ChildProcess[] = [];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "chancery-bus-"));
  alarms = [];
});
afterEach(async () => {
  for (const child of children.splice(0)) await kill(child);
  for (const bus of buses.splice(0)) await bus.close();
  await rm(directory, { recursive: true, force: true });
});

async function opening(pollMs?: number): Promise<Bus> {
  const bus = await openDirectoryBus(directory, {
    onAlarm: (alarm) => alarms.push(alarm),
    ...(pollMs === undefined ? {} : { pollMs }),
  });
  buses.push(bus);
  return bus;
}

async function writer(own: string): Promise<ChildProcess> {
  const script = join(import.meta.dirname, "directory-bus-writer.ts");
  const child = spawn(process.execPath, [script, directory, own], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  await once(child.stdout ?? child, "data");
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
}

async function publish(bus: Bus, number: number, expected: number): Promise<void> {
  const bytes = Buffer.from(String(number));
  await bus.putBlob(digestOf(bytes), bytes);
  await bus.publishHead({ manifest: digestOf(bytes), number }, expected);
}

test("a writer that is killed in the middle of publishing leaves a bus that is read and written on", async () => {
  const reader = await opening();
  const heads: SequencedHead[] = [];
  reader.watchHead((head) => heads.push(head));
  for (let round = 0; round < 4; round++) {
    const before = heads.at(-1)?.sequence ?? 0;
    const child = await writer(`round ${round}`);
    // At some moment between two heads, another one in each round.
    await vi.waitFor(() => expect(heads.at(-1)?.sequence ?? 0).toBeGreaterThan(before + 3), DEADLINE);
    await kill(child);
    const late = await opening();
    const head = await late.head();
    expect(head?.sequence).toBeGreaterThan(before + 3);
    expect(await late.getBlob(head?.manifest ?? "")).toBeDefined();
    await publish(late, (head?.number ?? 0) + 1, head?.sequence ?? 0);
    await vi.waitFor(() => expect(heads.at(-1)?.sequence).toBe((head?.sequence ?? 0) + 1), DEADLINE);
  }
  expect(alarms).toEqual([]);
});

test("processes that compete make one gapless sequence", async () => {
  const reader = await opening();
  const heads: SequencedHead[] = [];
  reader.watchHead((head) => heads.push(head));
  const competing = [await writer("a"), await writer("b")];
  await vi.waitFor(() => expect(heads.at(-1)?.sequence ?? 0).toBeGreaterThan(40), DEADLINE);
  for (const child of competing) await kill(child);
  const names = (await readdir(join(directory, "heads"))).sort();
  const numbers: unknown[] = [];
  for (const name of names) numbers.push(JSON.parse(await readFile(join(directory, "heads", name), "utf8")).number);
  expect(numbers).toEqual(names.map((_, index) => index + 1));
  expect(await reader.getBlob((await reader.head())?.manifest ?? "")).toBeDefined();
});

test("what the writer of another process publishes is seen without polling", async () => {
  // Polling so seldom that only the file system's own notice can be in time.
  const reader = await opening(3_600_000);
  const heads: SequencedHead[] = [];
  reader.watchHead((head) => heads.push(head));
  await writer("a");
  await vi.waitFor(() => expect(heads.length).toBeGreaterThan(0), DEADLINE);
});

test("blobs that nobody put for many heads are dropped", async () => {
  const bus = await opening();
  await publish(bus, 1, 0);
  const old = new Date(Date.now() - 3_600_000);
  await utimes(blobFile(join(directory, "blobs"), digestOf("1")), old, old);
  for (let number = 2; number <= 17; number++) await publish(bus, number, number - 1);
  expect(await bus.getBlob(digestOf("1"))).toBeUndefined();
  expect(await bus.getBlob(digestOf("2"))).toBeDefined();
});

test("a head that is damaged is passed over loudly, and the next writer goes past it", async () => {
  const bus = await opening();
  await publish(bus, 1, 0);
  await publish(bus, 2, 1);
  await truncate(join(directory, "heads", "00000002.json"), 5);
  expect(await bus.head()).toEqual({ manifest: digestOf("1"), number: 1, sequence: 2 });
  expect(await bus.head()).toMatchObject({ sequence: 2 });
  expect(alarms.map((alarm) => alarm.code)).toEqual(["corrupt"]);
  await publish(bus, 3, 2);
  expect(await bus.head()).toEqual({ manifest: digestOf("3"), number: 3, sequence: 3 });
});

test("a bus whose only head is damaged is written on", async () => {
  const bus = await opening();
  await publish(bus, 1, 0);
  await truncate(join(directory, "heads", "00000001.json"), 0);
  expect(await bus.head()).toBeUndefined();
  await publish(bus, 2, 0);
  expect(await bus.head()).toEqual({ manifest: digestOf("2"), number: 2, sequence: 2 });
  await expect(publish(bus, 3, 0)).rejects.toMatchObject({ code: "conflict" });
});

test("a damaged report is told once and hides no other", async () => {
  await opening();
  await writeFile(join(directory, "reports", "broken.json"), "{");
  const bus = await opening(10);
  const seen: string[] = [];
  bus.watchReports((report) => seen.push(report.reporter));
  await bus.report({
    reporter: "whole",
    role: "xds",
    at: "2026-05-01T00:00:00.000Z",
    prepared: 0,
    active: 0,
    layouts: [],
    firstDecisions: {},
    activeSince: {},
    decisions: 0,
  });
  await vi.waitFor(() => expect(seen).toEqual(["whole"]), DEADLINE);
  expect(alarms.map((alarm) => alarm.code)).toEqual(["corrupt"]);
});
