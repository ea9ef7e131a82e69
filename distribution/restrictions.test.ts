import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Restriction } from "../policy/index.ts";
import {
  initKeys,
  loadSigningKey,
  loadTrust,
  parseTrust,
  rotateKeys,
  type SigningKey,
  type Trust,
} from "../revision/index.ts";
import type { Bus } from "./bus.ts";
import { delegate } from "./bus-fixture.ts";
import { MAX_RESTRICTION_BYTES, MAX_RESTRICTION_MS } from "./bus-limits.ts";
import { createInProcessBus } from "./in-process-bus.ts";
import {
  mergeSignatures,
  type RestrictionStatement,
  signRestriction,
  verifyRestriction,
} from "./restriction-statement.ts";
import {
  type RestrictionEvent,
  type Restrictions,
  type RestrictionsOptions,
  startRestrictions,
} from "./restrictions.ts";

const START = Date.parse("2026-05-01T00:00:00Z");
const HOUR = 3_600_000;
const DEADLINE = { timeout: 10_000, interval: 5 };

let directory: string;
let trust: Trust;
let signer: SigningKey;
let operator: SigningKey;
let now: number;
let bus: Bus;
const alarms: string[] = [];
const events: RestrictionEvent[] = [];
const open: Restrictions[] = [];
beforeEach(async () => {
  now = START;
  alarms.length = 0;
  events.length = 0;
  directory = await mkdtemp(join(tmpdir(), "chancery-restrictions-"));
  const keys = await initKeys(join(directory, "keys"), { now, restrictionKeys: 1 });
  trust = await loadTrust(keys.trust);
  signer = await loadSigningKey(keys.signing[0]?.file ?? "");
  operator = await loadSigningKey(keys.restriction[0]?.file ?? "");
  bus = createInProcessBus();
});
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
  await rm(directory, { recursive: true, force: true });
});

async function start(name: string, more: Partial<RestrictionsOptions> = {}): Promise<Restrictions> {
  const restrictions = await startRestrictions({
    buses: [bus],
    directory: join(directory, name),
    trust,
    spreads: true,
    onEvent: (event) => events.push(event),
    onAlarm: ({ message }) => alarms.push(message),
    now: () => now,
    random: () => 0.5,
    pollMs: 20,
    ...more,
  });
  open.push(restrictions);
  return restrictions;
}

const ID = "q-0000000000000001";
function entry(more: object = {}, keys: readonly SigningKey[] = [operator]): Uint8Array {
  const at = new Date(now).toISOString();
  const until = new Date(now + HOUR).toISOString();
  const statement = { format: 1, type: "restrict", id: ID, kind: "version", value: "v3", reason: "why", by: "eve" };
  return signRestriction({ ...statement, at, until, ...more } as RestrictionStatement, keys);
}
function lifting(id = ID): Uint8Array {
  const at = new Date(now).toISOString();
  return signRestriction({ format: 1, type: "lift", id, reason: "fixed", by: "eve", at }, [operator]);
}
const values = (restrictions: Restrictions): string[] => restrictions.active().map(({ value }) => value);

test("what is given to one process is in force there at once, and at every other", async () => {
  const seen: (readonly Restriction[])[] = [];
  const one = await start("one", { onChange: (active) => seen.push(active) });
  const other = await start("other", { spreads: false });
  const before = one.active();
  expect(one.active()).toBe(before);
  expect(await one.give(entry())).toEqual({ spread: true });
  expect(values(one)).toEqual(["v3"]);
  expect(one.active()).toBe(seen.at(-1));
  await vi.waitFor(() => expect(values(other)).toEqual(["v3"]), DEADLINE);
  await other.give(lifting());
  expect(values(other)).toEqual([]);
  await vi.waitFor(() => expect(values(one)).toEqual([]), DEADLINE);
  expect(one.states()).toMatchObject([{ id: ID, by: "eve", lifted: { reason: "fixed" } }]);
});

test("it is in force after a restart without any bus, also when its key has expired meanwhile", async () => {
  const one = await start("one");
  await one.give(entry({ until: new Date(now + MAX_RESTRICTION_MS).toISOString() }));
  await one.close();
  now += 3 * 24 * HOUR;
  const late = new Map([...trust.keys].map(([id, key]) => [id, { ...key, notAfter: START + HOUR }]));
  events.length = 0;
  expect(values(await start("one", { buses: [], trust: { ...trust, keys: late } }))).toEqual(["v3"]);
  expect(events).toMatchObject([{ type: "taken", restored: true }]);
});

test("it ends by itself, and leaves nothing on disk", async () => {
  const one = await start("one");
  await one.give(entry());
  now += HOUR;
  await vi.waitFor(async () => expect(await readdir(join(directory, "one"))).toEqual(["tmp"]), DEADLINE);
  expect(one.active()).toEqual([]);
  await one.close();
  expect((await start("one")).states()).toEqual([]);
});

test("a renewal moves the end, and what is lifted cannot be renewed", async () => {
  const one = await start("one");
  await one.give(entry());
  const later = new Date(now + 5 * HOUR).toISOString();
  await one.give(entry({ until: later }));
  expect(one.active()).toMatchObject([{ id: ID, until: later }]);
  await expect(one.give(entry({ value: "v4" }))).rejects.toMatchObject({ code: "conflict" });
  await one.give(lifting());
  await expect(one.give(entry({ until: new Date(now + 6 * HOUR).toISOString() }))).rejects.toMatchObject({
    code: "conflict",
  });
  await expect(one.give(lifting("q-00000000000000ff"))).rejects.toMatchObject({ code: "not-found" });
});

test("what the trust file does not cover, is malformed or too long is refused, counted and told once", async () => {
  const foreign = await initKeys(join(directory, "foreign"), { now });
  const stranger = await loadSigningKey(foreign.signing[0]?.file ?? "");
  const [narrow] = [...trust.keys].filter(([id]) => id === signer.keyId);
  if (narrow === undefined) throw new Error("the signing key is trusted");
  const revisionsOnly = new Map(trust.keys).set(signer.keyId, {
    ...narrow[1],
    purposes: new Set(["revision"] as const),
  });
  const one = await start("one", { trust: { ...trust, keys: revisionsOnly } });
  const tooLong = entry({ until: new Date(now + 2 * MAX_RESTRICTION_MS).toISOString() });
  const future = now + HOUR;
  const notYet = signRestriction(
    { format: 1, type: "lift", id: ID, reason: "fixed", by: "eve", at: new Date(future).toISOString() },
    [operator],
  );
  const cases: readonly [Uint8Array, string][] = [
    [entry({}, [stranger]), "untrusted"],
    [entry({}, [signer]), "untrusted"],
    [Buffer.from(Buffer.from(entry()).toString().replace('"v3"', '"v4"')), "untrusted"],
    [Buffer.from("nonsense"), "corrupt"],
    [Buffer.from("{}"), "corrupt"],
    [tooLong, "invalid-argument"],
    [notYet, "invalid-argument"],
  ];
  for (const [bytes, code] of cases) await expect(one.give(bytes)).rejects.toMatchObject({ code });
  for (const [bytes] of cases) await bus.putRestriction(bytes);
  for (const [bytes] of cases) await bus.putRestriction(bytes);
  await bus.putRestriction(entry());
  await vi.waitFor(() => expect(values(one)).toEqual(["v3"]), DEADLINE);
  expect(one.refused()).toBe(cases.length);
  expect(alarms).toHaveLength(cases.length);
  expect(events.filter(({ type }) => type === "refused")).toHaveLength(cases.length);
  const stored = async () => (await readdir(join(directory, "one"))).filter((name) => name.endsWith(".json"));
  await vi.waitFor(async () => expect(await stored()).toHaveLength(1), DEADLINE);
});

test("one that is larger than any may be is refused, whatever it says", async () => {
  const one = await start("one");
  const padded = Buffer.concat([entry(), Buffer.alloc(MAX_RESTRICTION_BYTES, " ")]);
  await expect(one.give(padded)).rejects.toMatchObject({
    code: "corrupt",
    message: expect.stringContaining("at most"),
  });
  expect(one.active()).toEqual([]);
});

test("a statement that no reader would take is not signed", () => {
  expect(() => entry({ value: "" })).toThrow(expect.objectContaining({ code: "invalid-argument" }));
  expect(() => entry({ reason: "one\ntwo" })).toThrow(expect.objectContaining({ code: "invalid-argument" }));
  expect(() => entry({ id: "mine" })).toThrow(expect.objectContaining({ code: "invalid-argument" }));
});

test("a relay carries entries between its region and the hub, also those given while the hub was gone", async () => {
  const hub = createInProcessBus();
  let cut = true;
  const link: typeof hub = {
    ...delegate(hub),
    putRestriction: async (bytes) => {
      if (cut) throw new Error("the hub is gone");
      await hub.putRestriction(bytes);
    },
  };
  const relay = await start("relay", { buses: [bus, link] });
  const inRegion = await start("authz", { spreads: false });
  const atHub = await start("control", { buses: [hub] });
  expect(await relay.give(entry())).toEqual({ spread: false });
  await vi.waitFor(() => expect(values(inRegion)).toEqual(["v3"]), DEADLINE);
  expect(values(atHub)).toEqual([]);
  cut = false;
  await vi.waitFor(() => expect(values(atHub)).toEqual(["v3"]), DEADLINE);
  await atHub.give(entry({ id: "q-0000000000000002", value: "v4" }));
  await vi.waitFor(() => expect(values(inRegion)).toEqual(["v3", "v4"]), DEADLINE);
  expect(alarms).toEqual(["the hub is gone"]);
});

test("a bus that was wiped is filled again", async () => {
  const one = await start("one");
  await one.give(entry());
  await one.close();
  const wiped = createInProcessBus();
  await start("one", { buses: [wiped] });
  await vi.waitFor(async () => expect(await wiped.restrictions()).toHaveLength(1), DEADLINE);
});

test("a damaged file is told, and what a bus has mends it", async () => {
  const one = await start("one");
  await one.give(entry());
  await one.close();
  const [file = ""] = (await readdir(join(directory, "one"))).filter((name) => name.endsWith(".json"));
  await writeFile(join(directory, "one", file), "{");
  const again = await start("one");
  expect(alarms[0]).toContain("refused");
  await vi.waitFor(() => expect(values(again)).toEqual(["v3"]), DEADLINE);
  await again.close();
  alarms.length = 0;
  expect(values(await start("one", { buses: [] }))).toEqual(["v3"]);
  expect(alarms).toEqual([]);
});

/** As the trust file is after a key was retired. */
function without(...retired: readonly SigningKey[]): Trust {
  const gone = new Set(retired.map(({ keyId }) => keyId));
  return { ...trust, keys: new Map([...trust.keys].filter(([id]) => !gone.has(id))) };
}

const signersOf = (restrictions: Restrictions): readonly string[] => restrictions.states()[0]?.signedBy ?? [];

test("what somebody closed stays closed when their key is retired, and what they alone opened does not stay open", async () => {
  await start("control", { countersigner: signer });
  const other = await start("other", { spreads: false });
  await other.give(entry());
  const both = [operator.keyId, signer.keyId].sort();
  await vi.waitFor(() => expect(signersOf(other)).toEqual(both), DEADLINE);
  await vi.waitFor(async () => expect(await onDisk("other")).toContain(signer.keyId), DEADLINE);
  expect(events.filter(({ type }) => type === "countersigned")).toHaveLength(1);
  await other.close();
  const retired = without(operator);
  const again = await start("other", { buses: [], trust: retired });
  expect(values(again)).toEqual(["v3"]);
  await again.close();

  const before = await start("other");
  await before.give(lifting());
  await vi.waitFor(() => expect(open[0]?.active()).toEqual([]), DEADLINE);
  await before.close();
  expect(values(await start("other", { buses: [], trust: retired }))).toEqual(["v3"]);
});

async function onDisk(name: string): Promise<string> {
  const files = (await readdir(join(directory, name))).filter((file) => file.endsWith(".json"));
  return (await Promise.all(files.map((file) => readFile(join(directory, name, file), "utf8")))).join();
}

test("control with another key signs again what it holds, and whoever learns of that key later has it, too", async () => {
  const file = join(directory, "keys", "trust.json");
  const one = await start("control", { countersigner: signer });
  const far = await start("far", { spreads: false, trust: await loadTrust(file) });
  await one.give(entry({}, [signer]));
  const second = { format: 1, type: "lift", id: "q-0000000000000002", reason: "over", by: "eve" } as const;
  await one.give(entry({ id: second.id, value: "v4" }, [signer]));
  await one.give(signRestriction({ ...second, at: new Date(now).toISOString() }, [signer]));
  await vi.waitFor(() => expect(far.states()).toHaveLength(2), DEADLINE);
  await one.close();
  await far.close();

  const { added } = await rotateKeys(join(directory, "keys"), { now });
  const fresh = await loadSigningKey(added?.file ?? "");
  const older = trust;
  trust = await loadTrust(file);
  await start("control", { countersigner: fresh });
  const behind = parseTrust(older.text, "older");
  const back = await start("far", { spreads: false, trust: behind });
  await vi.waitFor(async () => expect(await bus.restrictions()).toHaveLength(6), DEADLINE);
  expect(signersOf(back)).toEqual([signer.keyId]);
  behind.update(trust.text, "newer");
  const both = [signer.keyId, fresh.keyId].sort();
  await vi.waitFor(() => expect(signersOf(back)).toEqual(both), DEADLINE);
  await vi.waitFor(() => expect(back.states()[1]?.lifted?.signedBy).toEqual(both), DEADLINE);
  await vi.waitFor(async () => expect((await onDisk("far")).split(fresh.keyId)).toHaveLength(4), DEADLINE);
  await back.close();
  const retired = await start("far", { buses: [], trust: without(signer) });
  expect(values(retired)).toEqual(["v3"]);
  expect(retired.states()[1]?.lifted).toMatchObject({ reason: "over" });
  // The key that is not known yet is no news to be alarmed by.
  expect(alarms).toEqual([]);
});

test("a statement is kept under every signature that there is room for, the newest first", async () => {
  const check = { trust, now, age: "new" } as const;
  const known = verifyRestriction(entry(), check);
  expect(mergeSignatures(known, known)).toBeUndefined();
  // The longest that there are have room for two.
  const wide = entry({
    id: `q-${"0".repeat(32)}`,
    reason: "€".repeat(1_024),
    value: "€".repeat(1_280),
    by: "€".repeat(256),
  });
  const { added } = await rotateKeys(join(directory, "keys"), { now });
  const third = await loadSigningKey(added?.file ?? "");
  const wider = { ...check, trust: await loadTrust(join(directory, "keys", "trust.json")) };
  let tight = verifyRestriction(wide, wider);
  const held: (readonly string[] | undefined)[] = [];
  for (const key of [signer, third]) {
    const own = verifyRestriction(signRestriction(tight.statement, [key]), wider);
    tight = mergeSignatures(tight, own) ?? tight;
    held.push(tight.signedBy);
    expect(tight.bytes.length).toBeLessThanOrEqual(MAX_RESTRICTION_BYTES);
  }
  expect(held[0]).toEqual([operator.keyId, signer.keyId].sort());
  expect(held[1]).toHaveLength(2);
  expect(held[1]).toContain(third.keyId);
});
