import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  compactLog,
  getStatus,
  grantApproval,
  listApprovals,
  requestApproval,
  revokeApproval,
} from "../../admin/index.ts";
import { auditLog, type Bus, openNatsBus } from "../../distribution/index.ts";
import { decodeRevision, initKeys, loadTrust, parseSignedManifest } from "../../revision/index.ts";
import {
  freePort,
  type RunningNats,
  type SpawnedProcess,
  startChancery,
  startNats,
  waitFor,
} from "../support/index.ts";
import { apiKey, application, gateway, model, modelRoute, upstream, version, yaml } from "../support/resources.ts";
import { save } from "../support/save.ts";

/** Approvals where two control planes share one NATS: whichever is asked, the leader publishes them. */
const WAIT_MS = 30_000;
const PEOPLE = ["ann", "bob"] as const;

let root: string;
let nats: RunningNats;
let bus: Bus;
const controls = new Map<string, { readonly address: string; readonly child: SpawnedProcess }>();

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "chancery-nats-approvals-"));
  nats = await startNats();
  bus = await openNatsBus({ servers: [nats.url], name: "test" });
  await initKeys(join(root, "keys"), { now: Date.now() });
  const principals = PEOPLE.map((name) => {
    const tokenSha256 = createHash("sha256").update(`token-of-${name}`).digest("hex");
    return { name, roles: ["requester", "approver"], tokenSha256 };
  });
  await writeFile(join(root, "principals.json"), JSON.stringify(principals));
  await writeFile(join(root, "token"), "token-of-operator\n", { mode: 0o600 });
  const tree = yaml(
    ...[gateway(10_000), modelRoute("atlas"), upstream("v1", 1), model("atlas"), version("atlas", "v1", "v1")],
    application("caller", apiKey("caller").sha256),
  );
  await save(join(root, "tree"), "tree.yaml", tree);
  for (const name of ["a", "b"]) controls.set(name, await startControl(name));
}, 90_000);

async function startControl(name: string): Promise<{ readonly address: string; readonly child: SpawnedProcess }> {
  const address = `127.0.0.1:${await freePort()}`;
  const keys = join(root, "keys");
  const child = await startChancery([
    ...["control", "--resources", join(root, "tree"), "--nats", nats.url, "--name", name, "--lease-seconds", "2"],
    ...["--state", join(root, name), "--control", address, "--principals", join(root, "principals.json")],
    ...[
      "--token-file",
      join(root, "token"),
      "--trust",
      join(keys, "trust.json"),
      "--key",
      join(keys, "signing-1.pem"),
      "--log-format",
      "json",
    ],
  ]);
  await child.waitForOutput(/^ready /m, WAIT_MS);
  return { address, child };
}

afterAll(async () => {
  for (const { child } of controls.values()) await child.close();
  await bus?.close();
  await nats?.close();
  await rm(root, { recursive: true, force: true });
});

function at(control: string, name: (typeof PEOPLE)[number] | "operator") {
  return { control: controls.get(control)?.address ?? "", token: `token-of-${name}` };
}

/** Ids of the approvals of the newest revision on the bus. */
async function inForce(): Promise<number> {
  const head = await bus.head();
  const manifest = head === undefined ? undefined : await bus.getBlob(head.manifest);
  if (manifest === undefined) return -1;
  const { program } = await decodeRevision(parseSignedManifest(manifest), (digest) => bus.getBlob(digest), []);
  return program.approvals.length;
}

async function published(count: number): Promise<number> {
  const begun = performance.now();
  await waitFor(async () => (await inForce()) === count, WAIT_MS, `${count} approvals published`);
  return Math.round(performance.now() - begun);
}

const REQUEST = { version: "atlas-v1", application: "caller", reason: "reviewed" };

test("what is given to a replica that stands by is published by the leader, and outlives the stream and the leader", async () => {
  const id = await requestApproval(at("b", "ann"), REQUEST);
  await expect(grantApproval(at("a", "ann"), id, "mine")).rejects.toMatchObject({ code: "self-approval" });
  await grantApproval(at("b", "bob"), id, "tested");
  const granted = await published(1);

  const connection = await connect({ servers: nats.url });
  await (await jetstreamManager(connection)).streams.delete("chancery_log");
  await connection.close();
  await waitFor(async () => (await bus.log.after(0).catch(() => [])).length === 2, WAIT_MS, "the log on NATS again");

  await controls.get("a")?.child.close();
  const states = async () => (await listApprovals(at("b", "ann"))).approvals.map(({ state }) => state);
  expect(await states()).toEqual(["granted"]);
  await revokeApproval(at("b", "ann"), id, "a flaw");
  const revoked = await published(0);
  expect(await states()).toEqual(["revoked"]);
  console.info(
    `published ${granted} ms after a grant at the replica, ${revoked} ms after a revocation once the leader ended`,
  );
}, 120_000);

test("a compacted log is the same for both replicas, short on NATS, and whole with its archive", async () => {
  const kept = await requestApproval(at("b", "ann"), REQUEST);
  await grantApproval(at("b", "bob"), kept, "tested");
  await published(1);
  await expect(compactLog(at("b", "ann"), Date.now())).rejects.toMatchObject({ code: "forbidden" });
  // A clock of its own tells when it was revoked.
  await waitFor(async () => Date.now() > (await newestTime()), WAIT_MS, "the next millisecond");
  expect(await compactLog(at("b", "operator"), Date.now())).toEqual({ before: 5, kept: 2, sequence: 6 });
  expect(await bus.log.after(0)).toHaveLength(3);
  expect((await getStatus(at("b", "bob"))).operationalLog).toMatchObject({ entries: 3, sequence: 8n });
  const again = await startControl("a");
  controls.set("a", again);
  const ids = async (name: string) => (await listApprovals(at(name, "ann"))).approvals.map(({ id }) => id);
  expect(await ids("a")).toEqual([kept]);
  expect(await ids("b")).toEqual([kept]);
  expect(await inForce()).toBe(1);
  await revokeApproval(at("a", "ann"), kept, "a flaw");
  await published(0);
  const trust = await loadTrust(join(root, "keys", "trust.json"));
  const audit = await auditLog(join(root, "b", "log"), [trust], Date.now());
  expect(audit).toMatchObject({ archived: 5, aside: [], problems: [] });
  expect(audit.entries.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
}, 120_000);

async function newestTime(): Promise<number> {
  const { approvals } = await listApprovals(at("b", "ann"));
  const times = approvals.flatMap(({ revoked }) => (revoked?.at === undefined ? [] : [timestampMs(revoked.at)]));
  return Math.max(0, ...times);
}
