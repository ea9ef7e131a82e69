import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  type Bus,
  keepFilled,
  openNatsBus,
  type Publisher,
  type RevisionFollower,
  startFollower,
  startPublisher,
} from "../../distribution/index.ts";
import { compileLoaded, policy } from "../../distribution/tree-fixture.ts";
import type { ChanceryError } from "../../resources/index.ts";
import {
  digestOf,
  initKeys,
  loadSigningKey,
  loadTrust,
  openRevisionStore,
  type Revision,
  type SigningKey,
  type Trust,
} from "../../revision/index.ts";
import { Closables, type RunningNats, startNats, waitFor } from "../support/index.ts";
import { save } from "../support/save.ts";

const WAIT_MS = 30_000;

let root: string;
let nats: RunningNats;
let signers: SigningKey[];
let trust: Trust;
const alarms: string[] = [];
const things = new Closables();
const { keep } = things;
beforeEach(async () => {
  alarms.length = 0;
  root = await mkdtemp(join(tmpdir(), "chancery-nats-bus-"));
  const keys = await initKeys(join(root, "keys"), { now: Date.now() });
  signers = await Promise.all(keys.signing.map(({ file }) => loadSigningKey(file)));
  trust = await loadTrust(keys.trust);
  nats = await startNats();
});
afterEach(async () => {
  await things.close();
  await nats.close();
  await rm(root, { recursive: true, force: true });
});

const onAlarm = (alarm: ChanceryError): void => void alarms.push(alarm.message);

async function opening(name: string, manageStreams = false): Promise<Bus> {
  const options = { servers: [nats.url], name, manageStreams, pollMs: 500, maximumBytes: 128 * 1024 * 1024 };
  return keep(await openNatsBus({ ...options, onAlarm }));
}

interface Following {
  readonly follower: RevisionFollower;
  readonly taken: Revision[];
}

async function following(name: string): Promise<Following> {
  const taken: Revision[] = [];
  const store = keep(await openRevisionStore(join(root, name), { trust, now: Date.now, onAlarm }));
  const follower = await startFollower({
    bus: await opening(name),
    store,
    reporter: name,
    role: "authz",
    onRevision: (revision) => void taken.push(revision),
    state: () => ({
      active: taken.at(-1)?.number ?? 0,
      layouts: [],
      firstDecisions: {},
      activeSince: {},
      decisions: 0,
    }),
    onAlarm,
    now: Date.now,
    random: Math.random,
    retryMs: [50, 500],
  });
  return { follower: keep(follower), taken };
}

/** The control plane's part: a tree that is published, and put there again when the bus has lost it. */
async function publishing(): Promise<Publisher> {
  await write("1 == 1");
  const bus = await opening("control", true);
  const publisher = await startPublisher({
    directory: join(root, "tree"),
    stateDirectory: join(root, "publisher"),
    bus,
    signers,
    compile: compileLoaded,
    now: Date.now,
    onEvent: (event) => {
      if (event.type === "failed") alarms.push(event.error.message);
    },
    pollMs: 200,
  });
  keep(publisher);
  const refill = () => publisher.refresh();
  keep(
    keepFilled({ bus, published: () => publisher.status().number, refill, random: Math.random, onAlarm, everyMs: 500 }),
  );
  return publisher;
}

const write = (when: string) => save(join(root, "tree"), "limits.yaml", policy("limits", when));

/** Waits until a follower decides by this condition, and returns how many milliseconds that took. */
async function decidesBy({ follower }: Following, when: string): Promise<number> {
  const start = performance.now();
  const what = (): string =>
    `${when} in force, not ${follower.revision()?.program.rules[0]?.when}\n${alarms.join("\n")}`;
  await waitFor(() => follower.revision()?.program.rules[0]?.when === when, WAIT_MS, what);
  return Math.round(performance.now() - start);
}

function ascends(taken: readonly Revision[]): boolean {
  return taken.every(({ number }, index) => index === 0 || number > (taken[index - 1]?.number ?? 0));
}

test("a NATS that is killed and started again is caught up with", async () => {
  await publishing();
  const followers = [await following("authz-1"), await following("authz-2")];
  for (const each of followers) await decidesBy(each, "1 == 1");
  await nats.kill();
  await write("1 == 2");
  await waitFor(() => alarms.some((alarm) => alarm.includes("cannot be used")), WAIT_MS, "that NATS is gone");
  for (const { follower } of followers) expect(follower.revision()?.program.rules[0]?.when).toBe("1 == 1");
  await nats.start();
  const times: number[] = [];
  for (const each of followers) times.push(await decidesBy(each, "1 == 2"));
  console.info(`in force after NATS was started again: ${times.join(", ")} ms`);
  for (const { taken } of followers) expect(taken.map(({ number }) => number)).toEqual([1, 2]);
});

test("a NATS that lost its store is filled again, and nobody goes back", async () => {
  const publisher = await publishing();
  await write("1 == 2");
  const before = await following("authz-1");
  await decidesBy(before, "1 == 2");
  const { number } = publisher.status();
  await nats.kill();
  await nats.wipe();
  await nats.start();
  const after = await following("authz-2");
  console.info(`filled again, and in force at a new process: ${await decidesBy(after, "1 == 2")} ms`);
  expect(after.follower.revision()?.number).toBeGreaterThan(number);
  expect(after.follower.revision()?.signedBy).toEqual(signers.map(({ keyId }) => keyId));
  await write("1 == 3");
  await decidesBy(before, "1 == 3");
  await decidesBy(after, "1 == 3");
  expect(ascends(before.taken)).toBe(true);
  expect(alarms).toContainEqual(expect.stringContaining("everything is put there again"));
});

test("streams that are deleted while everybody stays connected are made and filled again", async () => {
  await publishing();
  const follower = await following("authz-1");
  await decidesBy(follower, "1 == 1");
  const connection = await connect({ servers: nats.url });
  const manager = await jetstreamManager(connection);
  for (const stream of ["chancery_heads", "chancery_blobs", "chancery_reports"]) await manager.streams.delete(stream);
  await connection.close();
  await write("1 == 2");
  await decidesBy(follower, "1 == 2");
  expect(ascends(follower.taken)).toBe(true);
});

test("a follower that is started without NATS serves from its disk, and follows when NATS comes", async () => {
  const publisher = await publishing();
  const first = await following("authz-1");
  await decidesBy(first, "1 == 1");
  await nats.kill();
  await first.follower.close();
  const again = await following("authz-1");
  expect(again.follower.revision()?.program.rules[0]?.when).toBe("1 == 1");
  await expect((await opening("other")).head()).rejects.toMatchObject({ code: "unavailable" });
  await nats.start();
  await write("1 == 2");
  await decidesBy(again, "1 == 2");
  expect(again.follower.revision()?.number).toBe(publisher.status().number);
});

test("publishing without NATS fails clearly, and succeeds when it is back", async () => {
  const publisher = await publishing();
  await nats.kill();
  await write("1 == 2");
  const status = await waitFor(() => publisher.status().error, WAIT_MS, "a publisher that says what is wrong");
  expect(status).toMatchObject({ code: "unavailable", message: expect.stringContaining(nats.url) });
  await nats.start();
  await waitFor(() => publisher.status().number === 2 && publisher.status().error === undefined, WAIT_MS, "revision 2");
});

test("a NATS that is frozen hangs nobody, and is used again when it goes on", async () => {
  await publishing();
  const follower = await following("authz-1");
  await decidesBy(follower, "1 == 1");
  const reader = await opening("reader");
  nats.freeze();
  const large = new Uint8Array(8 * 1024 * 1024);
  const writer = await opening("writer");
  const asked = await Promise.allSettled([reader.head(), writer.putBlob(digestOf(large), large)]);
  expect(asked).toMatchObject([
    { status: "rejected", reason: { code: "unavailable" } },
    { status: "rejected", reason: { code: "unavailable" } },
  ]);
  await waitFor(() => alarms.some((alarm) => alarm.includes("silent")), WAIT_MS, "that NATS is silent");
  await reader.close();
  expect(follower.follower.revision()?.number).toBe(1);
  await write("1 == 2");
  nats.thaw();
  console.info(`in force after NATS went on: ${await decidesBy(follower, "1 == 2")} ms`);
});

test("content of many messages comes through whole, and what is too large is refused before it is sent", async () => {
  const writer = await opening("control", true);
  const reader = await opening("reader");
  for (const size of [0, 1, 255 * 1024, 255 * 1024 + 1, 5_000_001]) {
    const bytes = new Uint8Array(size).map((_, index) => index % 251);
    await writer.putBlob(digestOf(bytes), bytes);
    for (const said of [undefined, size, 300_000]) {
      const read = await reader.getBlob(digestOf(bytes), said);
      expect(read === undefined ? undefined : digestOf(read)).toBe(digestOf(bytes));
    }
  }
  const huge = new Uint8Array(64 * 1024 * 1024 + 1);
  await expect(writer.putBlob(digestOf(huge), huge)).rejects.toMatchObject({ code: "invalid-argument" });
});

test("a watch whose doorbell does not ring costs seconds, not more", async () => {
  const writer = await opening("control", true);
  const bytes = Buffer.from("1");
  await writer.putBlob(digestOf(bytes), bytes);
  await writer.publishHead({ manifest: digestOf(bytes), number: 1 }, 0);
  const connection = await connect({ servers: nats.url });
  const manager = await jetstreamManager(connection);
  const { config } = await manager.streams.info("chancery_heads");
  const { republish, ...silent } = config;
  expect(republish).toBeDefined();
  await manager.streams.delete("chancery_heads");
  await manager.streams.add(silent);
  await connection.close();
  const seen: number[] = [];
  (await opening("reader")).watchHead((head) => seen.push(head.number));
  for (const number of [1, 2, 3]) {
    await writer.publishHead({ manifest: digestOf(bytes), number }, number - 1);
    await waitFor(() => seen.includes(number), 5_000, `head ${number}`);
  }
});

test("a subscription goes on over connections, and ends for good when it is closed", async () => {
  const writer = await opening("control", true);
  const reader = await opening("reader");
  const [kept, closed]: [number[], number[]] = [[], []];
  reader.watchHead((head) => kept.push(head.number));
  const subscription = reader.watchHead((head) => closed.push(head.number));
  const bytes = Buffer.from("1");
  for (const number of [1, 2, 3]) {
    await waitFor(() => writer.putBlob(digestOf(bytes), bytes).then(() => true), WAIT_MS, "a bus that is written to");
    await writer.publishHead({ manifest: digestOf(bytes), number }, number - 1);
    await waitFor(() => kept.includes(number), WAIT_MS, `head ${number}`);
    if (number === 2) {
      await waitFor(() => closed.includes(2), WAIT_MS, "head 2 at the other");
      subscription.close();
    }
    if (number === 1) {
      await nats.kill();
      await nats.start();
    }
  }
  expect(closed).toEqual([1, 2]);
});

test("says what the server does not guarantee", async () => {
  const bus = await openNatsBus({
    servers: [nats.url],
    name: "control",
    manageStreams: true,
    monitor: nats.monitor,
    onAlarm,
  });
  keep(bus);
  await waitFor(
    () => alarms.some((alarm) => alarm.includes("every 120 s")),
    WAIT_MS,
    "what a loss of power takes back",
  );
});
