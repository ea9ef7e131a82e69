import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { ChanceryError } from "../resources/index.ts";
import {
  type Digest,
  digestOf,
  initKeys,
  type KeyFiles,
  loadSigningKey,
  loadTrust,
  openRevisionStore,
  parseSignedManifest,
  type RevisionStore,
  readBlob,
  type SigningKey,
  type Trust,
} from "../revision/index.ts";
import { save } from "../test/support/save.ts";
import type { Bus } from "./bus.ts";
import { startFollower } from "./follower.ts";
import { isCovered } from "./head-check.ts";
import { createInProcessBus } from "./in-process-bus.ts";
import { keepFilled } from "./nats-refill.ts";
import { startRelay } from "./nats-relay.ts";
import { publish } from "./publish.ts";
import { startPublisher } from "./publisher.ts";
import { compileLoaded, partsOf, policy } from "./tree-fixture.ts";

const DEADLINE = { timeout: 15_000, interval: 5 };
const GREATEST = Number.MAX_SAFE_INTEGER;
const JUNK = Buffer.from("no manifest");

let root: string;
let keys: KeyFiles;
let signer: SigningKey;
let trust: Trust;
let bus: Bus;
let alarms: ChanceryError[];
const things: { close(): unknown }[] = [];
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "chancery-forged-"));
  keys = await initKeys(join(root, "keys"), { now: Date.now() });
  signer = await loadSigningKey(keys.signing[0]?.file ?? "");
  trust = await loadTrust(keys.trust);
  bus = createInProcessBus();
  alarms = [];
  things.push(bus);
});
afterEach(async () => {
  for (const thing of things.splice(0).reverse()) await thing.close();
  await rm(root, { recursive: true, force: true });
});

const onAlarm = (alarm: ChanceryError) => alarms.push(alarm);
const common = { now: Date.now, random: Math.random, onAlarm };

async function publishing(when: string, { epoch, to = bus }: { epoch?: number; to?: Bus } = {}): Promise<number> {
  const lead = epoch === undefined ? {} : { epoch: () => epoch };
  const options = { bus: to, signers: [signer], trust: trust.text, now: Date.now, numberFloor: 0, ...lead };
  return (await publish(partsOf(when), "tree", options)).number;
}

/** Announces, over what is the newest, what the claims say. Left out: the manifest that is the newest already. */
async function forge(claims: { number: number; epoch?: number }, bytes?: Uint8Array, on = bus): Promise<void> {
  const head = await on.head();
  const manifest: Digest = bytes === undefined ? (head?.manifest ?? "") : digestOf(bytes);
  if (bytes !== undefined) await on.putBlob(manifest, bytes);
  await on.publishHead({ manifest, ...claims }, head?.sequence ?? 0);
}

async function storing(name: string): Promise<RevisionStore> {
  const store = await openRevisionStore(join(root, name), { trust, now: Date.now, onAlarm });
  things.push(store);
  return store;
}

async function following(lateMs?: number): Promise<() => number | undefined> {
  const follower = await startFollower({
    ...{ bus, store: await storing("store"), reporter: "authz-1", role: "authz", retryMs: [1, 20], ...common },
    onRevision: () => undefined,
    state: () => ({ active: 0, layouts: [], firstDecisions: {}, activeSince: {}, decisions: 0 }),
    ...(lateMs === undefined ? {} : { lateMs }),
  });
  things.push(follower);
  return () => follower.revision()?.number;
}

test.each([
  ["a manifest that is none", JUNK],
  ["the manifest in force", undefined],
])("the greatest number and epoch on %s are gone with the next revision", async (_, bytes) => {
  const inForce = await following();
  await publishing("1 == 1", { epoch: 5 });
  await vi.waitFor(() => expect(inForce()).toBe(1), DEADLINE);
  await forge({ number: GREATEST, epoch: GREATEST }, bytes);
  const next = await publishing("1 == 2", { epoch: 5 });
  expect(next).toBe(bytes === undefined ? 2 : 1_000_001);
  await vi.waitFor(() => expect(inForce()).toBe(next), DEADLINE);
});

test("an epoch on what was never taken in counts for nothing", async () => {
  const inForce = await following();
  await publishing("1 == 1", { epoch: 5 });
  await vi.waitFor(() => expect(inForce()).toBe(1), DEADLINE);
  await forge({ number: 2, epoch: 1_000_000 }, JUNK);
  await vi.waitFor(() => expect(alarms.map(({ code }) => code)).toContain("corrupt"), DEADLINE);
  // Gone before the leader has looked, which then has no reason to lead under a newer one.
  await forge({ number: 2 }, JUNK);
  await publishing("1 == 2", { epoch: 5 });
  await vi.waitFor(() => expect(inForce()).toBeGreaterThan(1), DEADLINE);
});

test("a head under an older epoch is refused, and taken when no leader replaces it", async () => {
  const inForce = await following(300);
  await publishing("1 == 1", { epoch: 5 });
  await vi.waitFor(() => expect(inForce()).toBe(1), DEADLINE);
  await forge({ number: 1, epoch: 1_000_000 });
  await vi.waitFor(async () => {
    // Taken in with the epoch: the next one is refused.
    await forge({ number: 1, epoch: 4 });
    expect(alarms.map(({ message }) => message)).toEqual([expect.stringContaining("under epoch 4, and 1000000 is")]);
  }, DEADLINE);
  await publishing("1 == 2", { epoch: 5 });
  await vi.waitFor(() => expect(inForce()).toBe(2), DEADLINE);
  expect(alarms.map(({ code }) => code)).toContain("stale");
});

test("whoever leads announces what is in force again under its own epoch", async () => {
  await publishing("1 == 1", { epoch: 5 });
  expect(await publishing("1 == 1", { epoch: 6 })).toBe(1);
  expect(await bus.head()).toMatchObject({ number: 1, epoch: 6, sequence: 2 });
});

test("a key that is only named is no signature: the same content is published again", async () => {
  await publishing("1 == 1");
  const head = await bus.head();
  const { manifest, signatures } = parseSignedManifest((await bus.getBlob(head?.manifest ?? "")) ?? JUNK);
  const wrong = signatures.map(({ keyId }) => ({ keyId, signature: "AAAA" }));
  await forge({ number: 1 }, Buffer.from(JSON.stringify({ manifest, signatures: wrong, trust: trust.text })));
  expect(await publishing("1 == 1")).toBe(2);
});

test("neither a leader nor one that stands by goes on after a number that no revision carries", async () => {
  await mkdir(join(root, "tree"));
  await save(join(root, "tree"), "limits.yaml", policy("limits", "1 == 1"));
  const numbers: number[] = [];
  const starting = async (name: string, epoch: () => number | undefined) => {
    const publisher = await startPublisher({
      ...{ directory: join(root, "tree"), stateDirectory: join(root, name), bus, signers: [signer], epoch },
      ...{ trust: trust.text, compile: compileLoaded, now: Date.now },
      onEvent: (event) => event.type === "published" && numbers.push(event.number),
    });
    things.push(publisher);
    return publisher;
  };
  const leader = await starting("leader", () => 1);
  await starting("standby", () => undefined);
  await forge({ number: GREATEST, epoch: GREATEST });
  await leader.refresh();
  expect(numbers).toEqual([1, 2]);
  // Its state has one user at a time: what it writes is looked at from outside.
  const kept = () => readFile(join(root, "standby", "published.json"), "utf8");
  await vi.waitFor(async () => expect(JSON.parse(await kept())).toMatchObject({ number: 2 }), DEADLINE);
});

test("a relay publishes over a head that no revision vouches for, and leaves one that another relay has published", async () => {
  const region = createInProcessBus();
  things.push(region);
  const store = await storing("relay");
  const relay = await startRelay({
    ...{ hub: bus, region, store, trust, regionName: "eu", name: "relay", ...common },
    readBlob: (digest) => readBlob(join(root, "relay", "blobs"), digest),
    restrictions: () => [],
    onRelayed: () => undefined,
  });
  things.push(relay);
  const relayed = async (number: number) =>
    await vi.waitFor(async () => expect((await region.head())?.number).toBe(number), DEADLINE);
  await publishing("1 == 1");
  await relayed(1);
  for (const [number, bytes] of [
    [2, JUNK],
    [3, undefined],
  ] as const) {
    await forge({ number: GREATEST, epoch: GREATEST }, bytes, region);
    expect(await publishing(`1 == ${number}`)).toBe(number);
    await relayed(number);
  }
  const other = await publish(partsOf("1 == 9"), "tree", {
    ...{ bus: region, signers: [signer], trust: trust.text, now: Date.now, numberFloor: 8 },
  });
  await publishing("1 == 4");
  await vi.waitFor(() => expect(relay.status()).toEqual({ stored: 4, relayed: other.number }), DEADLINE);
  expect(await region.head()).toMatchObject({ number: 9 });
});

test.each<[string, (own: number) => { number: number; epoch?: number }, Uint8Array | undefined]>([
  ["says another number than its revision", () => ({ number: GREATEST }), undefined],
  ["names nothing that can be read", () => ({ number: 1 }), JUNK],
  ["has the epoch of a leader before", (own) => ({ number: 1, epoch: own - 1 }), undefined],
])("a head that %s is replaced after a while, without anybody's edit", async (_, claims, bytes) => {
  await publishing("1 == 1", { epoch: 5 });
  await forge(claims(5), bytes);
  const filling = keepFilled({
    ...{ bus, published: () => 1, epoch: () => 5, ...common, everyMs: 5, unprovenMs: 20 },
    covers: (signed) => isCovered(signed, trust, Date.now()),
    refill: () => publishing("1 == 1", { epoch: 5 }),
  });
  things.push(filling);
  await vi.waitFor(async () => {
    const head = await bus.head();
    expect(head).toMatchObject({ epoch: 5 });
    const { manifest } = parseSignedManifest((await bus.getBlob(head?.manifest ?? "")) ?? JUNK);
    expect(manifest.number).toBe(head?.number);
  }, DEADLINE);
  expect(alarms).toHaveLength(1);
});
