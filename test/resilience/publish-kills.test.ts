import { setTimeout as delay } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { getStatus, giveRestriction, listApprovals, requestApproval } from "../../admin/index.ts";
import { type RestrictionStatement, signRestriction } from "../../distribution/index.ts";
import { seeded, waitFor } from "../support/index.ts";
import type { HeldPublish } from "./nats-tap.ts";
import {
  LEASE_SECONDS,
  type PublishFleet,
  startPublishFleet,
  type TappedControl,
  WAIT_MS,
} from "./publish-kills-fixture.ts";

/** The same run each time; another seed is another one. */
const SEED = Number(process.env.KILL_SEED ?? 20_260_101);
const ROUNDS = 4;
/** Milliseconds after which no further round is begun: on a machine that is busy with other things starting takes long. */
const ENOUGH_MS = 150_000;

const BLOB = /^chancery\.blob\./;
const HEAD = /^chancery\.head$/;
const LOG = /^chancery\.log$/;
const RESTRICTION = /^chancery\.restriction\./;

let fleet: PublishFleet | undefined;
afterEach(async () => {
  if (fleet !== undefined && fleet.faults.length > 0) console.info(fleet.faults.join("\n"));
  await fleet?.close();
  fleet = undefined;
}, 60_000);

async function start(controls: number): Promise<{ fleet: PublishFleet; first: TappedControl; random: () => number }> {
  console.info(`KILL_SEED=${SEED}`);
  fleet = await startPublishFleet(controls);
  await fleet.published("1 == 1");
  const [first] = fleet.controls;
  if (first === undefined) throw new Error("no control plane");
  return { fleet, first, random: seeded(SEED) };
}

/** What an undisturbed publish takes: messages with content, and milliseconds from the edit until the first of them. */
async function undisturbed({ edit, published }: PublishFleet, { tap }: TappedControl) {
  tap.forget();
  const first = tap.at(BLOB, 1, "passed on");
  const rule = await edit();
  const begun = performance.now();
  await first;
  const compileMs = performance.now() - begun;
  await published(rule);
  return { compileMs, blobs: tap.subjects().filter((subject) => BLOB.test(subject)).length };
}

type Phase = "compile" | "part upload" | "head append" | "local writes" | "log append" | "restriction append";

test("control is killed at random moments of a publish, and readers never see half of one", async () => {
  const { fleet, first: control, random } = await start(1);
  const { child, tap } = control;
  const normal = await undisturbed(fleet, control);
  const kept: string[] = [];
  const how = (): "held back" | "passed on" => (random() < 0.5 ? "held back" : "passed on");
  const killAt = async (held: Promise<HeldPublish>): Promise<void> => {
    await held;
    await child.kill();
  };
  const phases: Readonly<Record<Phase, () => Promise<void>>> = {
    compile: async () => {
      await fleet.edit();
      await delay(random() * normal.compileMs);
      await child.kill();
    },
    "part upload": async () => {
      const held = tap.at(BLOB, 1 + Math.floor(random() * normal.blobs), how());
      await fleet.edit();
      await killAt(held);
    },
    "head append": async () => {
      const held = tap.at(HEAD, 1, how());
      await fleet.edit();
      await killAt(held);
    },
    "local writes": async () => {
      const held = tap.at(HEAD, 1, "passed on");
      await fleet.edit();
      await held;
      await delay(random() * 20);
      await child.kill();
    },
    "log append": async () => {
      const held = tap.at(LOG, 1, how());
      const options = { control: child.address };
      const request = { version: "atlas-v1", application: "caller", reason: "wanted" };
      const id = requestApproval(options, request).catch(() => undefined);
      await killAt(held);
      kept.push(...[await id].filter((each) => each !== undefined));
    },
    "restriction append": async () => {
      const held = tap.at(RESTRICTION, 1, how());
      const statement = restriction();
      const signed = signRestriction(statement, [fleet.signer]);
      const given = giveRestriction({ control: child.address }, { signed }).then(
        () => [statement.id],
        () => [],
      );
      await killAt(held);
      kept.push(...(await given));
    },
  };
  let [kills, duringPublish] = [0, 0];
  const recoveries: number[] = [];
  const begun = performance.now();
  for (let round = 0; round < ROUNDS && performance.now() - begun < ENOUGH_MS; round += 1) {
    for (const phase of Object.values(phases)) {
      const { number = 0 } = (await fleet.bus.head()) ?? {};
      await phase();
      kills += 1;
      if (((await fleet.bus.head())?.number ?? 0) === number) duringPublish += 1;
      const restarted = performance.now();
      await child.start();
      await fleet.published(fleet.newestRule());
      recoveries.push(Math.round(performance.now() - restarted));
    }
  }
  const approvals = await listApprovals({ control: child.address });
  const restrictions = (await fleet.bus.restrictions()).map((entry) => new TextDecoder().decode(entry)).join("\n");
  for (const id of kept) {
    const isKept = approvals.approvals.some((approval) => approval.id === id) || restrictions.includes(id);
    expect(isKept, `${id} was acknowledged`).toBe(true);
  }
  expect(fleet.faults).toEqual([]);
  const heads = await fleet.headsInOrder();
  const sorted = recoveries.toSorted((one, other) => one - other);
  console.info(
    `${kills} kills, ${kills / Object.keys(phases).length} each in ${Object.keys(phases).join(", ")}; ${duringPublish} before a head was there, ${heads} heads in order; ` +
      `from start to the newest state in force p50 ${sorted[Math.floor(sorted.length / 2)]} ms, max ${sorted.at(-1)} ms`,
  );
  await demandAncestry(fleet, control);
}, 300_000);

/** An older checkout than what is in force is not published, and the newer one is. */
async function demandAncestry(fleet: PublishFleet, { child }: TappedControl): Promise<void> {
  const { number } = (await fleet.bus.head()) ?? {};
  const newest = await fleet.git("rev-parse", "HEAD");
  await fleet.git("checkout", "-q", "HEAD~3");
  await child.kill();
  await child.startOnly();
  await child.process.waitForOutput(/does not come after it/, WAIT_MS);
  expect((await fleet.bus.head())?.number).toBe(number);
  await fleet.git("checkout", "-q", newest);
  await fleet.published(fleet.newestRule());
  await fleet.published(await fleet.edit());
  expect(fleet.faults).toEqual([]);
}

let given = 0;

function restriction(): RestrictionStatement {
  given += 1;
  const [at = "", until = ""] = [Date.now(), Date.now() + 3_600_000].map((each) => new Date(each).toISOString());
  return {
    ...{ format: 1, type: "restrict", id: `q-${String(given).padStart(16, "0")}`, kind: "upstream", value: "v1" },
    ...{ reason: "test", by: "test", at, until },
  };
}

async function leads({ child }: TappedControl): Promise<void> {
  const leading = async (): Promise<boolean> =>
    (await getStatus({ control: child.address })).leadership?.leading === true;
  await waitFor(leading, WAIT_MS, () => `${child.name} leads\n${child.process.stderr().slice(-2_000)}`);
}

test("a leader is killed in the middle of a publish: the other one publishes the newest state", async () => {
  const { fleet, first, random } = await start(2);
  const [, second] = fleet.controls;
  if (second === undefined) throw new Error("two control planes are needed");
  const normal = await undisturbed(fleet, first);
  const took: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const [leader, other] = round % 2 === 0 ? [first, second] : [second, first];
    const subject = round < 2 ? BLOB : HEAD;
    const nth = subject === BLOB ? 1 + Math.floor(random() * normal.blobs) : 1;
    const held = leader.tap.at(subject, nth, round % 2 === 0 ? "held back" : "passed on");
    const rule = await fleet.edit();
    await held;
    const killed = performance.now();
    await leader.child.kill();
    await fleet.published(rule);
    took.push(Math.round(performance.now() - killed));
    await leads(other);
    await leader.child.start();
  }
  expect(fleet.faults).toEqual([]);
  const heads = await fleet.headsInOrder();
  console.info(
    `${heads} heads in order; in force by the other one after ${took.join(", ")} ms (lease ${LEASE_SECONDS} s)`,
  );
}, 240_000);

test("a head that an old leader sent, and that comes after the lead has gone over, is not appended", async () => {
  const { fleet, first: old } = await start(2);
  const [, other] = fleet.controls;
  if (other === undefined) throw new Error("two control planes are needed");
  const holding = old.tap.at(HEAD, 1, "held back");
  await fleet.edit();
  const held = await holding;
  old.child.process.signal("SIGSTOP");
  await leads(other);
  await fleet.published(await fleet.edit());
  const before = await fleet.bus.head();
  const heads = await fleet.headsInOrder();
  held.release();
  old.child.process.signal("SIGCONT");
  await old.child.process.waitForOutput(/leads no more/, WAIT_MS);
  await old.child.process.waitForOutput(/another process leads/, WAIT_MS);
  expect(await fleet.bus.head()).toEqual(before);
  expect(await fleet.headsInOrder()).toBe(heads);
  await fleet.published(await fleet.edit());
  expect(fleet.faults).toEqual([]);
}, 120_000);
