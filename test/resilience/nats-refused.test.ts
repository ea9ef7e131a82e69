import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstream } from "@nats-io/jetstream";
import { headers, nkeyAuthenticator } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { getStatus } from "../../admin/index.ts";
import { compile, type RevisionParts } from "../../compiler/index.ts";
import { type Bus, natsCredentials, openNatsBus } from "../../distribution/index.ts";
import { parseResources } from "../../resources/index.ts";
import {
  createManifest,
  digestOf,
  encodeParts,
  encodeSignedManifest,
  initKeys,
  type KeyFiles,
  loadSigningKey,
  parseSignedManifest,
  type SigningKey,
  signManifest,
} from "../../revision/index.ts";
import { readMetric } from "../support/fleet.ts";
import { Closables, freePorts, runChancery, waitFor } from "../support/index.ts";
import { ALLOW_ALL, anonymous, gateway, plainRoute, policy, upstream, yaml } from "../support/resources.ts";
import { save } from "../support/save.ts";
import { type Place, startPlace } from "./nats-users.ts";
import { Child } from "./region-processes.ts";

const WAIT_MS = 25_000;

let root: string;
let keys: KeyFiles;
let signer: SigningKey;
let stranger: SigningKey;
let hub: Place;
let region: Place;
/** Of somebody who has stolen what publishes to the hub (to the region), and no signing key. */
let atHub: Bus;
let atRegion: Bus;
let control: Child;
const children: Child[] = [];
const things = new Closables();

async function openAs(place: Place, user: string, role: string): Promise<Bus> {
  const authenticator = natsCredentials(await place.credentials(user, root));
  const names = { name: user, prefix: place.prefix, inboxPrefix: `_INBOX_${role}` };
  const bus = await openNatsBus({ servers: [place.nats.url], ...names, authenticator });
  things.keep(bus);
  return bus;
}

let edits = 0;

function tree(reason: string): string {
  const rule = `{ id: no, effect: deny, when: 'request.url_path == "/closed"', reason: "${reason}" }`;
  return yaml(
    gateway(10_000),
    plainRoute("all", "/", { web: 1 }),
    upstream("web", 8_000),
    anonymous(),
    policy("rules", ALLOW_ALL, rule),
  );
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "chancery-nats-refused-"));
  keys = await initKeys(join(root, "keys"), { now: Date.now() });
  signer = await loadSigningKey(keys.signing[0]?.file ?? "");
  const others = await initKeys(join(root, "others"), { now: Date.now() });
  stranger = await loadSigningKey(others.signing[0]?.file ?? "");
  hub = await startPlace("hub");
  things.keep(hub.nats);
  region = await startPlace("region");
  things.keep(region.nats);
  atHub = await openAs(hub, "CONTROL", "control");
  atRegion = await openAs(region, "RELAY", "relay");
  await save(join(root, "tree"), "tree.yaml", tree("first"));

  const [controlPort, ...ports] = await freePorts(5);
  control = new Child("control", `127.0.0.1:${controlPort}`, [
    ...["control", "--resources", join(root, "tree"), "--nats", hub.nats.url, "--control", `127.0.0.1:${controlPort}`],
    ...["--nats-creds", await hub.credentials("CONTROL", root), "--state", join(root, "control"), "--services", "2"],
    ...keys.signing.flatMap(({ file }) => ["--key", file]),
  ]);
  children.push(things.keep(control));
  const process = async (name: string, place: Place, args: readonly string[], user = args[0]?.toUpperCase() ?? "") => {
    const own = [...args, "--trust", keys.trust, "--state", join(root, name)];

    const bus = ["--nats", place.nats.url, "--nats-creds", await place.credentials(user, root)];
    const prefix = place === region ? ["--nats-prefix", place.prefix] : [];
    children.push(things.keep(new Child(name, "", [...own, ...bus, ...prefix])));
  };
  const listen = (index: number): string[] => ["--listen", `127.0.0.1:${ports[index]}`];
  const relayed = ["--region", "eu", "--region-creds", await region.credentials("RELAY", root)];
  await process("relay", hub, ["relay", ...relayed, "--region-nats", region.nats.url], "EU");
  await process("hub-authz", hub, ["authz", "--name", "hub-authz", ...listen(0)]);
  await process("hub-xds", hub, ["xds", "--name", "hub-xds", "--secrets", join(root, "tree"), ...listen(1)]);
  await process("authz", region, ["authz", "--name", "authz", ...listen(2)]);
  await process("xds", region, ["xds", "--name", "xds", "--secrets", join(root, "tree"), ...listen(3)]);
  for (const child of children) await child.start();
  await inForce(1);
}, 120_000);

afterAll(async () => {
  await things.close();
  await rm(root, { recursive: true, force: true });
}, 60_000);

interface Told {
  readonly id: string;
  readonly revision: number;
  readonly error: string;
}

/** What `chancery status` knows of each process that takes revisions. */
async function told(): Promise<readonly Told[]> {
  const { regions, xdsServers, decisionServices } = await getStatus({ control: control.address });
  const revision = Number;
  return [
    ...regions.map((each) => ({ id: each.name, revision: revision(each.relayedRevision), error: each.lastError })),
    ...[...xdsServers, ...decisionServices].map((each) => ({
      id: each.id,
      revision: revision(each.activeRevision),
      error: each.lastError,
    })),
  ];
}

/** Waits until everybody runs it and refuses nothing. */
async function inForce(number: number): Promise<void> {
  await waitFor(
    async () => {
      const all = await told();
      return all.length === 5 && all.every(({ revision, error }) => revision === number && error === "");
    },
    WAIT_MS,
    () => `revision ${number} everywhere\n${children.map((child) => child.process.stderr().slice(-800)).join("\n")}`,
  );
}

/** Publishes another good revision, as control does. @returns its number */
async function publishGood(): Promise<number> {
  const { number = 0 } = (await atHub.head()) ?? {};
  edits += 1;
  await save(join(root, "tree"), "tree.yaml", tree(`good ${edits}`));
  const next = await waitFor(
    async () => {
      const head = await atHub.head();
      return head !== undefined && head.number > number ? head.number : undefined;
    },
    WAIT_MS,
    () => `a revision after ${number}\n${control.process.stderr().slice(-1_500)}`,
  );
  await inForce(next);
  return next;
}

function parts(reason: string): RevisionParts {
  const { inventory, positions } = parseResources(new Map([["tree.yaml", tree(reason)]]));
  return compile(inventory, { jwks: new Map(), positions }).parts;
}

interface Opened {
  readonly bus: Bus;
  readonly place: Place;
  readonly user: string;
  readonly role: string;
}

/** Announces a manifest under its true digest, as the newest, and under the epoch of whoever leads, unless told otherwise. */
async function announce({ bus }: Opened, bytes: Uint8Array, epoch?: number): Promise<void> {
  const head = await bus.head();
  await bus.putBlob(digestOf(bytes), bytes);
  const own = epoch ?? head?.epoch;
  const announced = { manifest: digestOf(bytes), number: (head?.number ?? 0) + 1 };
  await bus.publishHead(own === undefined ? announced : { ...announced, epoch: own }, head?.sequence ?? 0);
}

/** A new revision with its content on the bus. */
async function signed(at: Opened, signers: readonly SigningKey[], number?: number): Promise<Uint8Array> {
  const { parts: descriptors, blobs } = encodeParts(parts(`bad ${Math.random()}`));
  for (const [digest, bytes] of blobs) await at.bus.putBlob(digest, bytes);
  const next = number ?? ((await at.bus.head())?.number ?? 0) + 1;
  return encodeSignedManifest(signManifest(createManifest(next, Date.now(), "test", descriptors), signers));
}

async function newestManifest({ bus }: Opened): Promise<Uint8Array> {
  const head = await bus.head();
  const manifest = head === undefined ? undefined : await bus.getBlob(head.manifest);
  if (manifest === undefined) throw new Error("nothing was published");
  return manifest;
}

function replaced(bytes: Uint8Array, text: RegExp, by: string): Uint8Array {
  const before = new TextDecoder().decode(bytes);
  const after = before.replace(text, by);
  if (after === before) throw new Error(`${text} is not in the manifest`);
  return Buffer.from(after);
}

function flipped(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array(bytes);
  const middle = copy.length >> 1;
  copy[middle] = (copy[middle] ?? 0) ^ 1;
  return copy;
}

/** Overwrites content on the stream, behind the bus's back. */
async function overwrite({ place, user, role }: Opened, digest: string, bytes: Uint8Array): Promise<void> {
  const authenticator = nkeyAuthenticator(new TextEncoder().encode(place.seeds.get(user)));
  const connection = await connect({ servers: place.nats.url, authenticator, inboxPrefix: `_INBOX_${role}` });
  const whole = headers();
  whole.set("Chancery-Parts", "1");
  const subject = `${place.prefix}.blob.${digest.replace("sha256:", "")}.0`;
  await jetstream(connection).publish(subject, bytes, { headers: whole });
  await connection.close();
}

const BAD: readonly [string, RegExp, (at: Opened) => Promise<void>][] = [
  ["unsigned", /sign/, async (at) => announce(at, await signed(at, []))],
  ["signed by a key that nobody trusts", /sign/, async (at) => announce(at, await signed(at, [stranger]))],
  ["older than what is in force", /older than|revision 1\b/, async (at) => announce(at, await signed(at, [signer], 1))],
  [
    "replayed under the number in force",
    /conflict|another revision/,
    async (at) => {
      const { manifest } = parseSignedManifest(await newestManifest(at));
      await announce(at, await signed(at, [signer], manifest.number));
    },
  ],
  [
    "truncated",
    /manifest|JSON/,
    async (at) => {
      const manifest = await newestManifest(at);
      await announce(at, manifest.subarray(0, manifest.length >> 1));
    },
  ],
  [
    "changed in what was signed",
    /sign/,
    async (at) => {
      await announce(at, replaced(await newestManifest(at), /"source":"[^"]*"/, '"source":"another"'));
    },
  ],
  [
    "of a format that is not known",
    /format/,
    async (at) => {
      await announce(at, replaced(await newestManifest(at), /"format":1/, '"format":99'));
    },
  ],
  [
    "bit-flipped in its content",
    /are not sha256|not on the bus|corrupt/,
    async (at) => {
      const bytes = await signed(at, [signer]);
      const known = new Set(parseSignedManifest(await newestManifest(at)).manifest.parts.map(({ digest }) => digest));
      const part = parseSignedManifest(bytes).manifest.parts.find(({ digest }) => !known.has(digest));
      const content = part === undefined ? undefined : await at.bus.getBlob(part.digest);
      if (part === undefined || content === undefined) throw new Error("nothing is new in it");
      await overwrite(at, part.digest, flipped(content));
      await announce(at, bytes);
    },
  ],
];

describe.each([
  {
    where: "the hub",
    at: (): Opened => ({ bus: atHub, place: hub, user: "CONTROL", role: "control" }),
    who: ["eu", "hub-xds", "hub-authz"],
  },
  {
    where: "a region",
    at: (): Opened => ({ bus: atRegion, place: region, user: "RELAY", role: "relay" }),
    who: ["eu/xds", "eu/authz"],
  },
])("on the stream of $where", ({ at, who }) => {
  test.each(BAD)(
    "a revision that is %s is refused, told of, and the last good one stays",
    async (kind, words, offer) => {
      const good = await publishGood();
      await offer(at());
      const refusing = await waitFor(
        async () => {
          const all = (await told()).filter(({ id }) => who.includes(id));
          return all.length === who.length && all.every(({ error }) => words.test(error)) ? all : undefined;
        },
        WAIT_MS,
        () => `a refusal by ${who}\n${children.map(({ process }) => process.stderr().slice(-800)).join("\n")}`,
      );
      expect(refusing.map(({ revision }) => revision)).toEqual(who.map(() => good));
      for (const { process } of children) expect(process.ending()).toBeUndefined();
      for (const id of who) {
        expect(await readMetric(control.address, "chancery_revision_refused", `process="${id}"`)).toBe(1);
      }
      if (kind !== "unsigned") return;
      const { stdout } = await runChancery("status", "--control", control.address);
      expect(stdout.match(/refused: /g)?.length).toBeGreaterThanOrEqual(who.length);
    },
  );

  test("the next good revision is taken, and nothing is refused any more", async () => {
    await publishGood();
    expect(await readMetric(control.address, "chancery_revision_refused")).toBe(0);
  });
});

test("a good revision under the epoch of a leader before is refused", async () => {
  const good = await publishGood();
  const at: Opened = { bus: atHub, place: hub, user: "CONTROL", role: "control" };
  const { epoch = 0 } = (await atHub.head()) ?? {};
  await announce(at, await signed(at, [signer]), epoch - 1);
  const who = ["eu", "hub-xds", "hub-authz"];
  await waitFor(
    async () => (await told()).filter(({ id, error }) => who.includes(id) && /epoch/.test(error)).length === who.length,
    WAIT_MS,
    () => `a refusal\n${children.map(({ process }) => process.stderr().slice(-800)).join("\n")}`,
  );
  expect((await told()).map(({ revision }) => revision)).toEqual([good, good, good, good, good]);
  await publishGood();
});

test("the greatest number and epoch on the hub and in a region are gone with the next revision", async () => {
  const good = await publishGood();
  for (const bus of [atHub, atRegion]) {
    const manifest = (await bus.head())?.manifest ?? "";
    const forged = { manifest, number: Number.MAX_SAFE_INTEGER, epoch: Number.MAX_SAFE_INTEGER };
    await bus.publishHead(forged, (await bus.head())?.sequence ?? 0);
  }
  edits += 1;
  await save(join(root, "tree"), "tree.yaml", tree(`good ${edits}`));
  const next = await waitFor(
    async () => {
      const { number = 0 } = (await atHub.head()) ?? {};
      return number < Number.MAX_SAFE_INTEGER ? number : undefined;
    },
    WAIT_MS,
    () => `a revision after ${good}\n${control.process.stderr().slice(-1_500)}`,
  );
  expect(next - good).toBeLessThan(1_000_002);
  await inForce(next);
});

test.each([
  ["EU", "relay"],
  ["AUTHZ", "authz"],
  ["XDS", "xds"],
  ["OPERATOR", "operator"],
])("the NATS user %s cannot announce a revision, be it good, and nobody hears of it", async (user, role) => {
  const good = await publishGood();
  const manifest = await newestManifest({ bus: atHub, place: hub, user: "CONTROL", role: "control" });
  const head = await atHub.head();
  const bus = await openAs(hub, user, role);
  const announced = { manifest: digestOf(manifest), number: good + 1 };
  const denied = { message: expect.stringContaining("does not allow") };
  await expect(bus.putBlob(digestOf("x"), Buffer.from("x"))).rejects.toMatchObject(denied);
  await expect(bus.publishHead(announced, head?.sequence ?? 0)).rejects.toMatchObject(denied);
  expect(await atHub.head()).toEqual(head);
  expect((await told()).filter(({ error }) => error !== "")).toEqual([]);
});
