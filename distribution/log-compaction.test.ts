import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { beforeEach, expect, onTestFinished, test, vi } from "vitest";
import type { ChanceryError } from "../resources/index.ts";
import { initKeys, loadSigningKey, loadTrust, type SigningKey, type Trust } from "../revision/index.ts";
import type { LogStream } from "./bus.ts";
import { createInProcessBus } from "./in-process-bus.ts";
import { chainOf, noLog } from "./log-chain.ts";
import { planCheckpoint } from "./log-checkpoint.ts";
import { approvalId, grant, request, revoke } from "./log-fixture.ts";
import { foldLog } from "./log-fold.ts";
import type { OperationalLogKeeper } from "./log-keeper.ts";
import { type LogStatement, type SignedLogEntry, signLogEntry, verifyLogEntry } from "./log-statement.ts";
import { startOperationalLog } from "./operational-log.ts";

const NOW = Date.parse("2026-05-01T00:00:00Z");
const HOUR = 3_600_000;
const DEADLINE = { timeout: 10_000, interval: 5 };

let root: string;
let key: SigningKey;
let trust: Trust;
let alarms: ChanceryError[];
let now: number;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "chancery-compaction-"));
  onTestFinished(() => rm(root, { recursive: true, force: true }));
  const keys = await initKeys(join(root, "keys"), { now: NOW });
  key = await loadSigningKey(keys.signing[0]?.file ?? "");
  trust = await loadTrust(keys.trust);
  alarms = [];
  now = NOW;
});

async function starting(bus: LogStream, directory = "one", capacity?: number) {
  const keeper = await startOperationalLog({
    bus,
    directory: join(root, directory),
    trust,
    signers: [key],
    onAlarm: (alarm) => alarms.push(alarm),
    ...(capacity === undefined ? {} : { capacity }),
    now: () => now,
    retryMs: 10,
  });
  onTestFinished(() => keeper.close());
  return keeper;
}

const names = (keeper: OperationalLogKeeper): readonly string[] =>
  keeper.entries().map(({ kind, action }) => `${kind}${action === undefined ? "" : ` ${Number(action.id.slice(2))}`}`);

/** 1: in force, 2: revoked, 3: requested, 4: ended. */
async function history(keeper: OperationalLogKeeper): Promise<void> {
  await keeper.append(request(1), "ann");
  await keeper.append(request(2), "ann");
  await keeper.append(grant(2), "bob");
  await keeper.append(grant(1), "bob");
  await keeper.append(request(4, { until: new Date(now + HOUR).toISOString() }), "ann");
  await keeper.append(revoke(2), "ann");
  await keeper.append(grant(4), "bob");
  await keeper.append(request(3), "ann");
}

const COMPACTED = ["checkpoint", "approval-request 1", "approval-grant 1", "approval-request 3"];

test("a checkpoint keeps what is not over, word for word, and what came before is in the archive", async () => {
  const bus = createInProcessBus().log;
  const keeper = await starting(bus);
  await history(keeper);
  const before = keeper.entries();
  now += 2 * HOUR;
  const inForce = keeper.replay();
  const kept = [keeper.approvals.get(approvalId(1)), keeper.approvals.get(approvalId(3))];
  expect(await keeper.compact("ann", now)).toEqual({ before: 8, kept: 3, sequence: 9 });
  expect(names(keeper)).toEqual(COMPACTED);
  expect(keeper.replay()).toEqual(inForce);
  expect([...keeper.approvals.values()]).toEqual(kept);
  const at = new Date(now).toISOString();
  expect(keeper.size()).toEqual({
    ...{ entries: 4, capacity: 16_384, sequence: 12 },
    checkpoint: { sequence: 9, at, by: "ann" },
  });
  expect(await bus.after(0)).toHaveLength(4);
  const archive = join(root, "one", "archive");
  const [file = "", ...more] = await readdir(archive);
  expect(more).toEqual([]);
  const lines = (await readFile(join(archive, file), "utf8")).trimEnd().split("\n");
  expect(lines).toEqual(before.map(({ bytes }) => Buffer.from(bytes).toString()));
  await expect(keeper.compact("ann", now)).rejects.toMatchObject({ code: "conflict" });
  // It goes on, for this process, after a restart, and for one that has nothing.
  await keeper.append(grant(3), "bob");
  await keeper.close();
  for (const [stream, directory] of [
    [createInProcessBus().log, "one"],
    [bus, "fresh"],
  ] as const) {
    const again = await starting(stream, directory);
    expect(names(again)).toEqual([...COMPACTED, "approval-grant 3"]);
    expect(again.replay()).toHaveLength(2);
    expect(again.refused()).toBe(0);
  }
  expect(alarms).toEqual([]);
});

test("what was over a short while ago stays listed", async () => {
  const keeper = await starting(createInProcessBus().log);
  await history(keeper);
  now += HOUR;
  await keeper.append(revoke(1), "bob");
  now += HOUR;
  await keeper.compact("ann", now - HOUR);
  expect(keeper.approvals.get(approvalId(1))?.revoked).toMatchObject({ by: "bob" });
  expect(keeper.approvals.has(approvalId(2))).toBe(false);
});

test("a process that follows, and one that was away for the compaction, come to the same log", async () => {
  const bus = createInProcessBus().log;
  const [one, two] = [await starting(bus), await starting(bus, "two")];
  const away = await starting(bus, "away");
  await one.append(request(1), "ann");
  await vi.waitFor(() => expect(away.entries()).toHaveLength(1), DEADLINE);
  await away.close();
  await one.append(request(2), "ann");
  await one.append(grant(2), "bob");
  await one.append(revoke(2), "ann");
  now += HOUR;
  await one.compact("ann", now);
  await one.append(grant(1), "bob");
  const back = await starting(bus, "away");
  for (const other of [two, back]) {
    await vi.waitFor(() => expect(names(other)).toEqual(names(one)), DEADLINE);
    expect(other.approvals).toEqual(one.approvals);
    expect(other.refused()).toBe(0);
  }
  // Each has what it held: the one that followed all of it, the other what it had read.
  await vi.waitFor(async () => expect(await archived("two")).toHaveLength(4), DEADLINE);
  expect(await archived("away")).toHaveLength(1);
  expect(await bus.after(0)).toHaveLength(3);
  expect(alarms).toEqual([]);
});

async function archived(directory: string): Promise<readonly string[]> {
  const archive = join(root, directory, "archive");
  const texts = await Promise.all(
    (await readdir(archive).catch(() => [])).map((file) => readFile(join(archive, file), "utf8")),
  );
  return texts.flatMap((text) => text.trimEnd().split("\n"));
}

test("a bus that shows the log of before a checkpoint, or an older one, takes nobody back", async () => {
  const bus = createInProcessBus().log;
  const keeper = await starting(bus);
  await history(keeper);
  const old = await bus.after(0);
  now += 2 * HOUR;
  await keeper.compact("ann", now);
  const middle = await bus.after(0);
  await keeper.append(revoke(1), "ann");
  now += HOUR;
  await keeper.compact("ann", now);
  const newest = names(keeper);
  expect(newest).toEqual(["checkpoint", "approval-request 3"]);
  await keeper.close();
  for (const shown of [old, middle, [...old, ...middle]]) {
    const replayed = createInProcessBus().log;
    for (const [index, { entry }] of shown.entries()) await replayed.append(entry, index);
    const again = await starting(replayed);
    expect(names(again)).toEqual(newest);
    expect(again.replay()).toEqual([]);
    // Who reads that bus from nothing comes to the same as soon as this one has filled it.
    const fresh = await starting(replayed, `fresh ${shown.length}`);
    await vi.waitFor(() => expect(names(fresh)).toEqual(newest), DEADLINE);
    await again.close();
  }
  expect(alarms.filter(({ code }) => code !== "unavailable")).toEqual([]);
});

test("what another log gave before the checkpoint is not given again, and what it took back is", async () => {
  const [hub, cut] = [createInProcessBus().log, createInProcessBus().log];
  const one = await starting(hub);
  await one.append(request(1), "ann");
  await one.append(grant(1), "bob");
  await one.close();
  // Its copy goes on elsewhere.
  const other = await starting(cut, "one");
  await other.append(request(5), "ann");
  await other.append(grant(5), "bob");
  await other.append(revoke(1), "bob");
  await other.close();
  const third = await starting(hub, "three");
  for (const index of [6, 7]) {
    await third.append(request(index), "ann");
    await third.append(revoke(index), "ann");
  }
  now += HOUR;
  await third.compact("ann", now);
  expect(third.replay()).toHaveLength(1);
  const healed = await starting(hub, "one");
  await vi.waitFor(() => expect(third.approvals.get(approvalId(1))?.revoked).toMatchObject({ by: "bob" }), DEADLINE);
  expect(names(third)).toEqual(["checkpoint", "approval-request 1", "approval-grant 1", "approval-revoke 1"]);
  await vi.waitFor(() => expect(names(healed)).toEqual(names(third)), DEADLINE);
  expect((await archived("one")).length).toBeGreaterThanOrEqual(2);
});

test("a checkpoint of another log is refused by whoever holds one, and told", async () => {
  const [bus, strange] = [createInProcessBus().log, createInProcessBus().log];
  const keeper = await starting(bus);
  await history(keeper);
  const stranger = await starting(strange, "strange");
  for (const index of [11, 12, 13, 14, 15]) {
    await stranger.append(request(index), "ann");
    await stranger.append(revoke(index), "ann");
  }
  now += HOUR;
  await stranger.compact("ann", now);
  const shown = await strange.after(0);
  const last = (await bus.after(0)).length;
  for (const [index, { entry }] of shown.entries()) await bus.append(entry, last + index);
  await vi.waitFor(
    () => expect(alarms.map(({ message }) => message).join()).toContain("does not come after"),
    DEADLINE,
  );
  expect(names(keeper)).toHaveLength(8);
  expect(keeper.replay()).toHaveLength(1);
});

test("a checkpoint that says other than the entries before it is refused where they are held", async () => {
  const bus = createInProcessBus().log;
  const keeper = await starting(bus);
  await history(keeper);
  const chain = keeper.entries();
  now += HOUR;
  // Signed well, and silent about an approval that is in force.
  const plan = planCheckpoint(chain.slice(0, 2), now);
  const forged = signed([{ action: { ...plan.checkpoint, entries: 0, content: emptyContent() } }], chain.at(-1));
  await bus.append(forged[0]?.bytes ?? new Uint8Array(), chain.length);
  await vi.waitFor(() => expect(alarms.map(({ message }) => message).join()).toContain("says other than"), DEADLINE);
  expect(keeper.replay()).toHaveLength(1);
  // The log goes on after it.
  await keeper.append(grant(3), "bob");
  expect(keeper.replay()).toHaveLength(2);
});

test("a full log takes revocations alone, and after a compaction everything again", async () => {
  const keeper = await starting(createInProcessBus().log, "one", 8);
  await history(keeper);
  expect(keeper.size()).toMatchObject({ entries: 8, capacity: 8 });
  for (const action of [request(5), grant(3)]) {
    await expect(keeper.append(action, "bob")).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining('"chancery log compact" makes room'),
    });
  }
  await keeper.append(revoke(1), "ann");
  expect(keeper.replay()).toHaveLength(1);
  now += 2 * HOUR;
  await keeper.compact("ann", now);
  await keeper.append(request(5), "ann");
  expect(keeper.size()).toMatchObject({ entries: 3 });
});

test("others may append while a checkpoint is written, and it is written again", async () => {
  const bus = createInProcessBus().log;
  const other = await starting(bus, "two");
  let between: Promise<unknown> | undefined;
  const interrupted: LogStream = {
    after: (sequence) => bus.after(sequence),
    dropBefore: (sequence) => bus.dropBefore(sequence),
    watch: (listener) => bus.watch(listener),
    append: async (entry, expected) => {
      const sequence = await bus.append(entry, expected);
      if (expected !== 8 || between !== undefined) return sequence;
      between = other.append(grant(3), "bob");
      await between;
      return sequence;
    },
  };
  const keeper = await starting(interrupted);
  await history(keeper);
  now += 2 * HOUR;
  await keeper.compact("ann", now);
  expect(names(keeper)).toEqual([...COMPACTED, "approval-grant 3"]);
  await vi.waitFor(() => expect(names(other)).toEqual(names(keeper)), DEADLINE);
  expect([keeper.refused(), other.refused()]).toEqual([0, 0]);
  expect(alarms).toEqual([]);
});

test("a checkpoint that was begun and never ended changes nothing", async () => {
  let isDead = true;
  const bus = createInProcessBus().log;
  const dying: LogStream = {
    after: (sequence) => bus.after(sequence),
    dropBefore: (sequence) => bus.dropBefore(sequence),
    watch: (listener) => bus.watch(listener),
    append: async (entry, expected) => {
      if (expected === 10 && isDead) throw new Error("gone");
      return await bus.append(entry, expected);
    },
  };
  const keeper = await starting(dying);
  await history(keeper);
  now += 2 * HOUR;
  await expect(keeper.compact("ann", now)).rejects.toThrow("gone");
  isDead = false;
  await keeper.append(request(5), "ann");
  expect(keeper.entries().map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  await keeper.close();
  expect([keeper.refused(), ...alarms]).toEqual([0]);
  const next = await starting(bus, "two");
  expect(next.replay()).toHaveLength(1);
  await next.append(grant(3), "bob");
  expect(next.replay()).toHaveLength(2);
  expect(next.refused()).toBe(0);
  await next.compact("ann", now);
  expect(names(next)).toEqual([...COMPACTED, "approval-request 5", "approval-grant 3"]);
});

test("a bus that keeps its older entries is asked again, and told of once", async () => {
  const bus = createInProcessBus().log;
  let stubborn = true;
  const keeping: LogStream = {
    after: (sequence) => bus.after(sequence),
    append: (entry, expected) => bus.append(entry, expected),
    watch: (listener) => bus.watch(listener),
    dropBefore: async (sequence) => {
      if (stubborn) throw new Error("no right to");
      await bus.dropBefore(sequence);
    },
  };
  const keeper = await starting(keeping);
  await history(keeper);
  now += 2 * HOUR;
  await keeper.compact("ann", now);
  expect(await bus.after(0)).toHaveLength(12);
  await bus.append(new TextEncoder().encode("nonsense"), 12);
  await vi.waitFor(() => expect(keeper.refused()).toBe(1), DEADLINE);
  expect(alarms.map(({ message }) => message).filter((text) => text.includes("no right to"))).toHaveLength(1);
  stubborn = false;
  await bus.append(new TextEncoder().encode("more nonsense"), 13);
  await vi.waitFor(async () => expect(await bus.after(0)).toHaveLength(6), DEADLINE);
});

test("of any history, compacted at any moments, what is not over is the same for every reader", () => {
  const step = fc.record({
    type: fc.constantFrom("request", "grant", "revoke", "compact"),
    index: fc.integer({ min: 1, max: 4 }),
    minutes: fc.integer({ min: 0, max: 90 }),
    lasts: fc.option(fc.integer({ min: 1, max: 120 })),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), fc.integer({ min: 0, max: 40 }), (steps, seen) => {
      let at = NOW;
      let plain: readonly SignedLogEntry[] = [];
      let log = noLog;
      let every: readonly SignedLogEntry[] = [];
      let lagging = noLog;
      for (const { type, index, minutes, lasts } of steps) {
        at += minutes * 60_000;
        const time = new Date(at).toISOString();
        const put = (said: readonly Said[]): void => {
          const entries = signed(
            said.map((each) => ({ at: time, ...each })),
            log.chain.at(-1),
          );
          every = [...every, ...entries];
          log = chainOf(entries, log);
        };
        if (type === "compact") {
          if (log.chain.length === 0) continue;
          const { checkpoint, kept } = planCheckpoint(log.chain, at);
          put([{ action: checkpoint }, ...kept]);
          expect(log.chain).toHaveLength(kept.length + 1);
        } else {
          const until = lasts === null ? {} : { until: new Date(at + lasts * 60_000).toISOString() };
          const action = type === "request" ? request(index, until) : type === "grant" ? grant(index) : revoke(index);
          const by = type === "request" ? "ann" : "bob";
          put([{ action, by }]);
          plain = [...plain, ...signed([{ action, by, at: time }], plain.at(-1))];
        }
        if (every.length <= seen) lagging = log;
      }
      const open = (entries: readonly SignedLogEntry[]) =>
        [...foldLog(entries).approvals.values()]
          .filter(({ revoked, until }) => revoked === undefined && (until === undefined || Date.parse(until) > at))
          .map((state) => JSON.stringify(state))
          .sort();
      // An id that was over may be asked for again after a compaction alone: ids are random, these are not.
      const fresh = chainOf(every, noLog);
      expect(open(fresh.chain)).toEqual(open(log.chain));
      expect(chainOf(every, lagging).chain.map(({ digest }) => digest)).toEqual(log.chain.map(({ digest }) => digest));
      for (const state of open(plain)) expect(open(log.chain)).toContain(state);
      expect(fresh.refused).toEqual([]);
    }),
    { numRuns: 100 },
  );
});

interface Said extends Pick<LogStatement, "action"> {
  readonly by?: string;
  readonly at?: string;
}

function signed(said: readonly Said[], after: SignedLogEntry | undefined): readonly SignedLogEntry[] {
  const entries: SignedLogEntry[] = [];
  for (const { action, by = "ann", at = new Date(now).toISOString() } of said) {
    const last = entries.at(-1) ?? after;
    const place = { sequence: (last?.sequence ?? 0) + 1, previous: last?.digest ?? "" };
    const bytes = signLogEntry({ format: 1, ...place, at, by, action }, [key]);
    entries.push(verifyLogEntry(bytes, trust, Number.MAX_SAFE_INTEGER));
  }
  return entries;
}

function emptyContent(): string {
  const over = signed([{ action: request(1) }, { action: revoke(1) }], undefined);
  return planCheckpoint(over, now + 1).checkpoint.content;
}
