import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterEach, beforeEach, expect, test } from "vitest";
import { getStatus } from "../../admin/index.ts";
import { type Bus, openNatsBus } from "../../distribution/index.ts";
import { policy } from "../../distribution/tree-fixture.ts";
import { decodeRevision, initKeys, type KeyFiles, parseSignedManifest } from "../../revision/index.ts";
import {
  Closables,
  freePort,
  type RunningNats,
  type SpawnedProcess,
  startChancery,
  startNats,
  waitFor,
} from "../support/index.ts";
import { save } from "../support/save.ts";

const WAIT_MS = 30_000;
const LEASE_SECONDS = 2;

interface Control {
  readonly name: string;
  readonly tree: string;
  readonly address: string;
  child: SpawnedProcess;
}

let root: string;
let nats: RunningNats;
let keys: KeyFiles;
let bus: Bus;
const things = new Closables();

/** Each has a checkout of its own, so that they can be told apart by what they publish. */
async function startControl(name: string, child?: Control): Promise<Control> {
  const tree = join(root, name, "tree");
  const address = child?.address ?? `127.0.0.1:${await freePort()}`;
  const started = await startChancery([
    ...["control", "--resources", tree, "--nats", nats.url, "--name", name, "--state", join(root, name, "state")],
    ...["--control", address, "--lease-seconds", String(LEASE_SECONDS), "--log-format", "json"],
    ...keys.signing.flatMap(({ file }) => ["--key", file]),
  ]);
  things.keep(started);
  await started.waitForOutput(/^ready /m, WAIT_MS);
  return { name, tree, address, child: started };
}

const edit = (control: Control, when: string) => save(control.tree, "limits.yaml", policy("limits", when));

/** The rule of the newest revision on the bus. */
async function inForce(): Promise<string | undefined> {
  const head = await bus.head();
  const manifest = head === undefined ? undefined : await bus.getBlob(head.manifest);
  if (manifest === undefined) return undefined;
  const { program } = await decodeRevision(parseSignedManifest(manifest), (digest) => bus.getBlob(digest), []);
  return program.rules[0]?.when;
}

async function isPublished(when: string): Promise<void> {
  await waitFor(async () => (await inForce()) === when, WAIT_MS, `${when} published`);
}

async function leads(control: Control): Promise<number> {
  const begun = performance.now();
  const leading = async (): Promise<boolean> => {
    const { leadership } = await getStatus({ control: control.address });
    return leadership?.leading === true && leadership.leader === control.name;
  };
  await waitFor(leading, WAIT_MS, () => `${control.name} leads\n${control.child.stdout()}\n${control.child.stderr()}`);
  return Math.round(performance.now() - begun);
}

/** Every head that was ever published: numbers and epochs only grow, and no number stands for two revisions. */
async function headsAreInOrder(): Promise<number> {
  const connection = await connect({ servers: nats.url });
  const { direct } = await jetstreamManager(connection);
  const heads: { manifest: string; number: number; epoch: number }[] = [];
  for (let seq = 1; ; seq++) {
    const message = await direct.getMessage("chancery_heads", { seq });
    if (message === null) break;
    heads.push(message.json());
  }
  await connection.close();
  for (const [index, head] of heads.entries()) {
    const before = heads[index - 1];
    if (before === undefined) continue;
    expect(head.epoch).toBeGreaterThanOrEqual(before.epoch);
    // The same revision again: that is how a new leader begins.
    if (head.manifest === before.manifest) expect(head.epoch).toBeGreaterThan(before.epoch);
    else expect(head.number).toBeGreaterThan(before.number);
  }
  return heads.length;
}

let a: Control;
let b: Control;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "chancery-nats-control-"));
  keys = await initKeys(join(root, "keys"), { now: Date.now() });
  nats = await startNats();
  bus = await openNatsBus({ servers: [nats.url], name: "test" });
  await save(join(root, "a", "tree"), "limits.yaml", policy("limits", "1 == 1"));
  await cp(join(root, "a", "tree"), join(root, "b", "tree"), { recursive: true });
  a = await startControl("a");
  await leads(a);
  b = await startControl("b");
});
afterEach(async () => {
  await things.close();
  await bus.close();
  await nats.close();
  await rm(root, { recursive: true, force: true });
});

test("one leads, the other stands by and knows; a leader that stops hands over at once", async () => {
  expect((await getStatus({ control: b.address })).leadership).toMatchObject({ leader: "a", leading: false });
  expect((await getStatus({ control: b.address })).revision?.number).toBe(1n);
  await edit(b, "1 == 99");
  await edit(a, "1 == 2");
  await isPublished("1 == 2");
  a.child.signal("SIGTERM");
  await a.child.ended;
  console.info(`leads after the one before stopped: ${await leads(b)} ms`);
  await isPublished("1 == 99");
  await headsAreInOrder();
});

test("a leader that is killed is followed within its lease and a moment, and comes back as the second", async () => {
  a.child.signal("SIGKILL");
  await a.child.ended;
  await edit(b, "1 == 2");
  const took = await leads(b);
  await isPublished("1 == 2");
  console.info(`leads after the one before was killed: ${took} ms (lease ${LEASE_SECONDS} s)`);
  a = await startControl("a", a);
  expect((await getStatus({ control: a.address })).leadership).toMatchObject({ leader: "b", leading: false });
  await edit(b, "1 == 3");
  await isPublished("1 == 3");
  expect((await bus.head())?.number).toBe(3);
  await headsAreInOrder();
});

test("a leader that slept through its lease publishes nothing when it wakes up", async () => {
  for (let round = 1; round <= 3; round++) {
    const [sleeper, other] = round % 2 === 1 ? [a, b] : [b, a];
    await edit(sleeper, `1 == ${10 * round}`);
    // In the middle of it, at another moment each time.
    if (round > 1) await isPublished(`1 == ${10 * round}`);
    sleeper.child.signal("SIGSTOP");
    await leads(other);
    await edit(other, `1 == ${10 * round + 1}`);
    await isPublished(`1 == ${10 * round + 1}`);
    await edit(sleeper, `1 == ${10 * round + 2}`);
    const number = (await bus.head())?.number;
    sleeper.child.signal("SIGCONT");
    await sleeper.child.waitForOutput(
      new RegExp(`(${sleeper.name} leads no more[^]*){${Math.ceil(round / 2)}}`),
      WAIT_MS,
    );
    const isStandby = async (): Promise<boolean> =>
      (await getStatus({ control: sleeper.address })).leadership?.leader === other.name;
    await waitFor(isStandby, WAIT_MS, "that it knows who leads");
    // It has looked at its tree by then, and compiled it.
    await waitFor(
      () => [...sleeper.child.stderr().matchAll(/another process leads/g)].length >= Math.ceil(round / 2),
      WAIT_MS,
      () => `that ${sleeper.name} stands by\n${sleeper.child.stderr().slice(-3_000)}`,
    );
    expect(await inForce()).toBe(`1 == ${10 * round + 1}`);
    expect((await bus.head())?.number).toBe(number);
  }
  console.info(`heads in order: ${await headsAreInOrder()}`);
});

test("a NATS that lost everything, the lease too, is filled again by whoever leads", async () => {
  await edit(a, "1 == 2");
  await edit(b, "1 == 2");
  await isPublished("1 == 2");
  const { number = 0 } = (await bus.head()) ?? {};
  await nats.kill();
  await nats.wipe();
  await nats.start();
  await waitFor(async () => ((await bus.head())?.number ?? 0) > number, WAIT_MS, "a newer revision than before");
  expect(await inForce()).toBe("1 == 2");
  await headsAreInOrder();
});
