import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nkeys } from "@nats-io/nats-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Bus, natsCredentials, openNatsBus } from "../../distribution/index.ts";
import { findNatsServer } from "../../envoy/index.ts";
import { digestOf } from "../../revision/index.ts";
import { Closables, createCertificateAuthority, freePorts, http, spawnProcess, waitFor } from "../support/index.ts";

const WAIT_MS = 20_000;
const DEPLOY = join(import.meta.dirname, "../../deploy/nats");
const USERS = ["CONTROL", "XDS", "AUTHZ", "EU", "RELAY", "OPERATOR"] as const;

let root: string;
let hub: string;
let region: string;
const alarms: string[] = [];
const things = new Closables();

/** Runs both servers by the configurations that are delivered, with paths and ports of this test. */
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "chancery-nats-deploy-"));
  const authority = createCertificateAuthority();
  const server = authority.issue(["localhost", "127.0.0.1"]);
  await writeFile(join(root, "server.pem"), server.certificate);
  await writeFile(join(root, "server.key"), server.privateKey);
  await writeFile(join(root, "ca.pem"), authority.certificate);
  const env: Record<string, string> = {};
  for (const user of USERS) {
    const pair = nkeys.createUser();
    env[`${user}_NKEY`] = pair.getPublicKey();
    env[`${user}_SEED`] = new TextDecoder().decode(pair.getSeed());
    await writeFile(join(root, `${user.toLowerCase()}.nk`), pair.getSeed());
  }
  const [hubPort, hubMonitor, leafPort, regionPort, regionMonitor] = await freePorts(5);
  const ports = { hub: [hubPort, hubMonitor], region: [regionPort, regionMonitor] };
  const { path } = await findNatsServer(process.env);
  for (const name of await readdir(DEPLOY)) {
    const [client, monitor] = name.startsWith("hub") ? ports.hub : ports.region;
    const text = (await readFile(join(DEPLOY, name), "utf8"))
      .replaceAll("/etc/chancery/nats", root)
      .replaceAll("/var/lib/nats", join(root, `store-${name}`))
      .replaceAll("hub.example.com", "127.0.0.1")
      .replaceAll(":4222", `:${client}`)
      .replaceAll(":8222", `:${monitor}`)
      .replaceAll(":7422", `:${leafPort}`);
    await writeFile(join(root, name), text);
  }
  for (const [name, [, monitor]] of Object.entries(ports)) {
    const child = await spawnProcess(path, ["-c", join(root, `${name}.conf`)], { env });
    things.keep(child);
    const healthy = async (): Promise<boolean> => (await http(`http://127.0.0.1:${monitor}/healthz`)).status === 200;
    await waitFor(healthy, WAIT_MS, () => `${name}: ${child.stderr()}`);
  }
  hub = `tls://127.0.0.1:${hubPort}`;
  region = `tls://127.0.0.1:${regionPort}`;
});

afterAll(async () => {
  await things.close();
  await rm(root, { recursive: true, force: true });
});

async function openAs(
  user: string,
  role: string,
  server: string,
  more: { readonly domain?: string; readonly prefix?: string; readonly manageStreams?: boolean } = {},
): Promise<Bus> {
  const tls = {
    caFile: join(root, "ca.pem"),
    certFile: join(root, "server.pem"),
    keyFile: join(root, "server.key"),
  };
  const bus = await openNatsBus({
    servers: [server],
    name: user,
    inboxPrefix: `_INBOX_${role}`,
    authenticator: natsCredentials(join(root, `${user}.nk`)),
    tls,
    onAlarm: (alarm) => alarms.push(alarm.message),
    ...more,
  });
  things.keep(bus);
  return bus;
}

test("over TLS and with nkeys, a region reads the hub, reports to it, and serves its processes", async () => {
  const control = await openAs("control", "control", hub, { manageStreams: true });
  const bytes = new Uint8Array(400_000).fill(1);
  await control.putBlob(digestOf(bytes), bytes);
  await control.publishHead({ manifest: digestOf(bytes), number: 1 }, 0);

  const hubSeen = await openAs("relay", "relay", region, { domain: "hub" });
  const seen: number[] = [];
  hubSeen.watchHead((head) => seen.push(head.number));
  await waitFor(
    () => seen.includes(1),
    WAIT_MS,
    () => `the hub's head\n${alarms.join("\n")}`,
  );
  const read = await hubSeen.getBlob(digestOf(bytes));
  expect(read === undefined ? undefined : digestOf(read)).toBe(digestOf(bytes));
  const at = "2026-05-01T00:00:00.000Z";
  const report = {
    role: "authz",
    at,
    prepared: 1,
    active: 1,
    layouts: [],
    firstDecisions: {},
    activeSince: {},
  } as const;
  const reporters: string[] = [];
  control.watchReports(({ reporter }) => reporters.push(reporter));
  // Through the leaf node, and directly.
  await hubSeen.report({ ...report, reporter: "eu/authz-1", decisions: 0 });
  await waitFor(() => reporters.includes("eu/authz-1"), WAIT_MS, "the region's report at the hub");
  const direct = await openAs("eu", "relay", hub);
  expect(await direct.head()).toMatchObject({ number: 1 });
  await direct.report({ ...report, reporter: "eu/authz-2", decisions: 0 });
  await waitFor(() => reporters.includes("eu/authz-2"), WAIT_MS, "the region's direct report at the hub");
  for (const bus of [hubSeen, direct]) {
    await expect(bus.report({ ...report, reporter: "us/authz-1", decisions: 0 })).rejects.toThrow();
  }
  expect(reporters).not.toContain("us/authz-1");

  const relay = await openAs("relay", "relay", region, { prefix: "eu", manageStreams: true });
  await relay.putBlob(digestOf(bytes), bytes);
  await relay.publishHead({ manifest: digestOf(bytes), number: 1 }, 0);
  const authz = await openAs("authz", "authz", region, { prefix: "eu" });
  expect(await authz.head()).toMatchObject({ number: 1 });
  await authz.report({ ...report, reporter: "authz-1", decisions: 0 });
});
