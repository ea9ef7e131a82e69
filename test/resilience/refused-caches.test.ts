import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { compile } from "../../compiler/index.ts";
import { parseResources } from "../../resources/index.ts";
import {
  blobFile,
  createManifest,
  type Digest,
  digestOf,
  encodeParts,
  encodeSignedManifest,
  initKeys,
  loadSigningKey,
  loadTrust,
  openRevisionStore,
  signManifest,
} from "../../revision/index.ts";
import { closeAtEnd, freePorts, type RunningNats, startChancery, startNats } from "../support/index.ts";
import { ALLOW_ALL, anonymous, gateway, plainRoute, policy, upstream, yaml } from "../support/resources.ts";

/** What is on the disk of a process is believed as little as what is on a bus. No bus has anything to take its place. */
const WAIT_MS = 40_000;

let root: string;
/** Of the relay; its hub is away. */
let region: RunningNats;
let trust: string;
/** Of each revision, oldest first: what it alone has on the disk, as paths in the store. */
const revisions: { readonly record: string; readonly manifest: string; readonly part: string }[] = [];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "chancery-refused-caches-"));
  region = await startNats();
  const now = Date.now();
  const keys = await initKeys(join(root, "keys"), { now });
  trust = keys.trust;
  const signer = await loadSigningKey(keys.signing[0]?.file ?? "");
  const store = await openRevisionStore(join(root, "store"), {
    ...{ trust: await loadTrust(trust), now: Date.now },
    onAlarm: (alarm) => {
      throw alarm;
    },
  });
  const known = new Set<Digest>();
  for (const number of [1, 2]) {
    const { parts, blobs } = encodeParts(compiled(number));
    const bytes = encodeSignedManifest(signManifest(createManifest(number, now, "test", parts), [signer]));
    await store.accept(bytes, async (digest) => blobs.get(digest));
    const [own] = [...blobs.keys()].filter((digest) => !known.has(digest));
    if (own === undefined) throw new Error("nothing is new in it");
    for (const digest of blobs.keys()) known.add(digest);
    const records = await readdir(join(root, "store", "revisions"));
    revisions.push({
      record: join("revisions", records.sort().at(-1) ?? ""),
      manifest: blobFile("blobs", digestOf(bytes)),
      part: blobFile("blobs", own),
    });
  }
  await store.close();
}, 30_000);

afterAll(async () => {
  await region?.close();
  await rm(root, { recursive: true, force: true });
});

function compiled(number: number) {
  const rule = `{ id: no, effect: deny, when: '1 == ${number}', reason: No }`;
  const text = yaml(
    ...[gateway(8_080), plainRoute("all", "/", { web: 1 }), upstream("web", 8_000)],
    ...[anonymous(), policy("rules", ALLOW_ALL, rule)],
  );
  const { inventory, positions } = parseResources(new Map([["tree.yaml", text]]));
  return compile(inventory, { jwks: new Map(), positions }).parts;
}

type Damage = (file: string) => Promise<void>;

const flip: Damage = async (file) => {
  const bytes = await readFile(file);
  const middle = bytes.length >> 1;
  bytes[middle] = (bytes[middle] ?? 0) ^ 1;
  await writeFile(file, bytes);
};
const cut: Damage = async (file) => {
  await truncate(file, (await readFile(file)).length >> 1);
};

const OF = {
  authz: { line: /"revision":1,.*"msg":"deciding by a revision"/, args: ["authz"] },
  xds: { line: /"revision":1,.*"msg":"serving a revision"/, args: ["xds", "--secrets", "."] },
  relay: { line: /"revision":1,"msg":"the region has a revision"/, args: ["relay", "--region", "eu"] },
} as const;

type Role = keyof typeof OF;

/** A process over a damaged copy of the store, without a bus. */
async function start(role: Role, damage: (store: string) => Promise<void>) {
  const state = join(await mkdtemp(join(root, `${role}-`)), "state");
  await cp(join(root, "store"), join(state, "revisions"), { recursive: true });
  await damage(join(state, "revisions"));
  const [port, nobody] = await freePorts(2);
  const nats = `nats://127.0.0.1:${nobody}`;
  const listen = role === "relay" ? ["--region-nats", region.url] : ["--listen", `127.0.0.1:${port}`];
  const args = [...OF[role].args, "--nats", nats, "--trust", trust, "--state", state, ...listen];
  return closeAtEnd(await startChancery([...args, "--log-format", "json"]));
}

const [FLIPPED, TRUNCATED] = [
  ["bit-flipped", flip],
  ["truncated", cut],
] as const;

test.each([
  ["authz", "manifest", ...FLIPPED],
  ["authz", "manifest", ...TRUNCATED],
  ["authz", "part", ...FLIPPED],
  ["authz", "part", ...TRUNCATED],
  ["authz", "record", ...FLIPPED],
  ["authz", "record", ...TRUNCATED],
  ["xds", "part", ...FLIPPED],
  ["xds", "manifest", ...TRUNCATED],
  ["relay", "manifest", ...FLIPPED],
] as const)(
  "%s passes over a revision whose %s is %s, says so, and takes the one before",
  async (role, what, _, damage) => {
    const child = await start(role, (store) => damage(join(store, revisions[1]?.[what] ?? "")));
    await child.waitForOutput(/"code":"[a-z-]+","msg":"revision 2 on disk is passed over: /, WAIT_MS);
    await child.waitForOutput(OF[role].line, WAIT_MS);
    expect(child.ending()).toBeUndefined();
  },
);

test("with nothing whole on its disk a decision service decides nothing, and waits for the bus", async () => {
  const child = await start("authz", async (store) => {
    for (const { manifest } of revisions) await flip(join(store, manifest));
  });
  await child.waitForOutput(/revision 2 on disk is passed over: /, WAIT_MS);
  await child.waitForOutput(/revision 1 on disk is passed over: /, WAIT_MS);
  await child.waitForOutput(/NATS at .* cannot be used/, WAIT_MS);
  expect(child.ending()).toBeUndefined();
  expect(child.stdout()).not.toMatch(/^ready /m);
});
