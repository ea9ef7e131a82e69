import { cp, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ChanceryError } from "../resources/index.ts";
import {
  initKeys,
  loadSigningKey,
  loadTrust,
  openRevisionStore,
  type Revision,
  type RevisionStore,
  type RevisionStoreOptions,
  type SigningKey,
} from "../revision/index.ts";
import type { Bus, NodeReport } from "./bus.ts";
import { delegate } from "./bus-fixture.ts";
import { openDirectoryBus } from "./directory-bus.ts";
import { type FollowerOptions, type RevisionFollower, startFollower } from "./follower.ts";
import { createInProcessBus } from "./in-process-bus.ts";
import { publish } from "./publish.ts";
import { partsOf } from "./tree-fixture.ts";

const DEADLINE = { timeout: 15_000, interval: 5 };

let root: string;
let bus: Bus;
let taken: Revision[];
let alarms: ChanceryError[];
const followers: RevisionFollower[] = [];
const stores: RevisionStore[] = [];
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "chancery-follower-"));
  bus = createInProcessBus();
  taken = [];
  alarms = [];
});
afterEach(async () => {
  for (const follower of followers.splice(0)) await follower.close();
  for (const store of stores.splice(0)) await store.close();
  await bus.close();
  await rm(root, { recursive: true, force: true });
});

async function storing(trust: RevisionStoreOptions["trust"] = "unsigned-local"): Promise<RevisionStore> {
  const store = await openRevisionStore(join(root, "store"), {
    trust,
    now: Date.now,
    onAlarm: (alarm) => alarms.push(alarm),
  });
  stores.push(store);
  return store;
}

async function following(options: Partial<FollowerOptions> = {}): Promise<RevisionFollower> {
  const follower = await startFollower({
    bus,
    store: options.store ?? (await storing()),
    reporter: "authz-1",
    role: "authz",
    onRevision: (revision) => {
      taken.push(revision);
    },
    state: () => ({
      active: taken.at(-1)?.number ?? 0,
      layouts: [],
      firstDecisions: {},
      activeSince: {},
      decisions: 0,
    }),
    onAlarm: (alarm) => alarms.push(alarm),
    now: Date.now,
    random: Math.random,
    retryMs: [1, 20],
    ...options,
  });
  followers.push(follower);
  return follower;
}

async function publishing(when: string, numberFloor = 0, signers: SigningKey[] = [], to = bus): Promise<void> {
  await publish(partsOf(when), "tree", { bus: to, signers, now: Date.now, numberFloor });
}

function reports(of = bus): Map<string, NodeReport> {
  const newest = new Map<string, NodeReport>();
  of.watchReports((report) => newest.set(report.reporter, report));
  return newest;
}

const numbers = () => taken.map((revision) => revision.number);

test("takes in what is there and what comes, marked as unsigned", async () => {
  await publishing("1 == 1");
  const follower = await following();
  await vi.waitFor(() => expect(numbers()).toEqual([1]), DEADLINE);
  await publishing("1 == 2");
  await vi.waitFor(() => expect(numbers()).toEqual([1, 2]), DEADLINE);
  expect(follower.revision()).toMatchObject({ number: 2, signedBy: [] });
  expect(follower.revision()?.program.rules[0]?.when).toBe("1 == 2");
});

test("ends at the newest of many, in order, whichever it skips", async () => {
  const follower = await following({
    onRevision: async (revision) => {
      taken.push(revision);
      await new Promise(setImmediate);
    },
  });
  for (let number = 1; number <= 20; number++) await publishing(`1 == ${number}`);
  await vi.waitFor(() => expect(follower.revision()?.number).toBe(20), DEADLINE);
  expect(numbers()).toEqual([...numbers()].sort((a, b) => a - b));
});

test("starts from disk while the bus does not answer, and follows once it does", async () => {
  await publishing("1 == 1");
  const before = await following();
  await vi.waitFor(() => expect(before.revision()?.number).toBe(1), DEADLINE);
  await before.close();
  await stores.pop()?.close();
  taken = [];
  let silent = true;
  const faulty: Bus = {
    ...delegate(bus),
    watchHead: (listener) => {
      if (silent) throw new ChanceryError("unavailable", "no connection");
      return bus.watchHead(listener);
    },
    report: async (report) => {
      if (silent) throw new ChanceryError("unavailable", "no connection");
      await bus.report(report);
    },
  };
  const follower = await following({ bus: faulty });
  expect(numbers()).toEqual([1]);
  expect(follower.revision()?.number).toBe(1);
  await publishing("1 == 2");
  silent = false;
  await vi.waitFor(() => expect(numbers()).toEqual([1, 2]), DEADLINE);
  expect(new Set(alarms.map((alarm) => alarm.code))).toEqual(new Set(["unavailable"]));
});

test("a restart takes the revision in once, though the bus announces it again", async () => {
  await publishing("1 == 1");
  const before = await following();
  await vi.waitFor(() => expect(before.revision()?.number).toBe(1), DEADLINE);
  await before.close();
  await stores.pop()?.close();
  taken = [];
  await following();
  await publishing("1 == 2");
  await vi.waitFor(() => expect(numbers()).toEqual([1, 2]), DEADLINE);
});

test("an older revision is refused, reported, and not tried again; a newer one is taken", async () => {
  await publishing("1 == 1", 6);
  await following({ reportMs: 20 });
  await vi.waitFor(() => expect(numbers()).toEqual([7]), DEADLINE);
  const wiped = createInProcessBus();
  const follower = await following({ bus: wiped, store: stores[0] ?? (await storing()), reportMs: 20 });
  const seen = reports(wiped);
  await publishing("1 == 2", 0, [], wiped);
  await vi.waitFor(() => expect(seen.get("authz-1")?.error).toContain("is older than 7"), DEADLINE);
  expect(follower.revision()?.number).toBe(7);
  expect(seen.get("authz-1")).toMatchObject({ prepared: 7 });
  await publishing("1 == 3", 7, [], wiped);
  await vi.waitFor(() => expect(seen.get("authz-1")).toMatchObject({ prepared: 8 }), DEADLINE);
  expect(seen.get("authz-1")?.error).toBeUndefined();
  expect(alarms.filter((alarm) => alarm.code === "stale")).toHaveLength(1);
});

test("a blob that is missing is waited for, while the last good revision stays", async () => {
  await publishing("1 == 1");
  let missing = false;
  const faulty: Bus = {
    ...delegate(bus),
    getBlob: async (digest) => (missing ? undefined : await bus.getBlob(digest)),
  };
  const follower = await following({ bus: faulty });
  await vi.waitFor(() => expect(numbers()).toEqual([1]), DEADLINE);
  missing = true;
  await publishing("1 == 2");
  await vi.waitFor(() => expect(alarms.map((alarm) => alarm.code)).toEqual(["not-found"]), DEADLINE);
  expect(follower.revision()?.number).toBe(1);
  missing = false;
  await vi.waitFor(() => expect(follower.revision()?.number).toBe(2), DEADLINE);
});

test("a bus that never answers does not hold the follower up", async () => {
  await publishing("1 == 1");
  let silent = true;
  const faulty: Bus = {
    ...delegate(bus),
    getBlob: (digest) => (silent ? new Promise<undefined>(() => undefined) : bus.getBlob(digest)),
  };
  const follower = await following({ bus: faulty, answerMs: 20 });
  await vi.waitFor(() => expect(alarms.map((alarm) => alarm.code)).toContain("unavailable"), DEADLINE);
  silent = false;
  await vi.waitFor(() => expect(follower.revision()?.number).toBe(1), DEADLINE);
  silent = true;
  const patient = await following({ bus: faulty, answerMs: 3_600_000, store: stores[0] ?? (await storing()) });
  await publishing("1 == 2");
  await patient.close();
});

test("a revision that the process cannot load leaves the one before, and is tried again", async () => {
  await publishing("1 == 1");
  let refusing = true;
  const follower = await following({
    reportMs: 20,
    onRevision: (revision) => {
      if (revision.number === 2 && refusing) throw new Error("cannot be loaded");
      taken.push(revision);
    },
  });
  const seen = reports();
  await vi.waitFor(() => expect(numbers()).toEqual([1]), DEADLINE);
  await publishing("1 == 2");
  await vi.waitFor(
    () =>
      expect(seen.get("authz-1")).toMatchObject({ prepared: 1, error: expect.stringContaining("cannot be loaded") }),
    DEADLINE,
  );
  expect(follower.revision()?.number).toBe(1);
  refusing = false;
  await vi.waitFor(() => expect(follower.revision()?.number).toBe(2), DEADLINE);
});

test("a restart on a revision that cannot be loaded takes the one before it from disk", async () => {
  await publishing("1 == 1");
  const first = await following();
  await vi.waitFor(() => expect(numbers()).toEqual([1]), DEADLINE);
  await publishing("1 == 2");
  await vi.waitFor(() => expect(numbers()).toEqual([1, 2]), DEADLINE);
  await first.close();
  await stores.pop()?.close();
  taken = [];
  const quiet = createInProcessBus();
  const follower = await following({
    bus: quiet,
    onRevision: (revision) => {
      if (revision.number === 2) throw new Error("cannot be loaded");
      taken.push(revision);
    },
  });
  expect(numbers()).toEqual([1]);
  expect(follower.revision()?.number).toBe(1);
  expect(alarms.map((alarm) => alarm.message)).toEqual([
    expect.stringContaining("revision 2 from disk is passed over: cannot be loaded"),
  ]);
});

test("with a trust file only signed revisions are taken in", async () => {
  const keys = await initKeys(join(root, "keys"), { now: Date.now() });
  const signer = await loadSigningKey(keys.signing[0]?.file ?? "");
  await publishing("1 == 1");
  const follower = await following({ store: await storing(await loadTrust(keys.trust)) });
  await vi.waitFor(() => expect(alarms.map((alarm) => alarm.code)).toEqual(["untrusted"]), DEADLINE);
  expect(follower.revision()).toBeUndefined();
  await publishing("1 == 1", 0, [signer]);
  await vi.waitFor(() => expect(follower.revision()).toMatchObject({ number: 2, signedBy: [signer.keyId] }), DEADLINE);
});

test("reports at changes and every so often, and says what the process says", async () => {
  const times: string[] = [];
  bus.watchReports((report) => times.push(report.at));
  const follower = await following({ reportMs: 3_600_000 });
  await vi.waitFor(() => expect(times).toHaveLength(1), DEADLINE);
  await publishing("1 == 1");
  const seen = reports();
  await vi.waitFor(
    () => expect(seen.get("authz-1")).toMatchObject({ prepared: 1, active: 1, role: "authz" }),
    DEADLINE,
  );
  const before = times.length;
  follower.reportSoon();
  await vi.waitFor(() => expect(times.length).toBeGreaterThan(before), DEADLINE);
  await follower.close();
  await follower.close();
  const often: string[] = [];
  bus.watchReports((report) => report.reporter === "authz-2" && often.push(report.at));
  await following({ reporter: "authz-2", reportMs: 5, store: stores[0] ?? (await storing()) });
  await vi.waitFor(() => expect(often.length).toBeGreaterThan(5), DEADLINE);
});

test("a directory bus whose files go away for a time is followed again", async () => {
  const directory = join(root, "bus");
  const disk = await openDirectoryBus(directory, { pollMs: 20 });
  try {
    await publishing("1 == 1", 0, [], disk);
    const follower = await following({ bus: disk });
    await vi.waitFor(() => expect(follower.revision()?.number).toBe(1), DEADLINE);
    await rename(directory, join(root, "away"));
    await cp(join(root, "away"), directory, { recursive: true });
    // Another inode, of which the file system says nothing to those who watched the old one.
    await publishing("1 == 2", 0, [], disk);
    await vi.waitFor(() => expect(follower.revision()?.number).toBe(2), DEADLINE);
    await follower.close();
  } finally {
    await disk.close();
  }
});
