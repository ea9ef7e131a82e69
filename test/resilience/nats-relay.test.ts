import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { getStatus } from "../../admin/index.ts";
import { policy } from "../../distribution/tree-fixture.ts";
import { initKeys } from "../../revision/index.ts";
import {
  Closables,
  freePorts,
  http,
  type RunningNats,
  type SpawnedProcess,
  startChancery,
  startNats,
  waitFor,
} from "../support/index.ts";

const WAIT_MS = 20_000;

let root: string;
let hub: RunningNats;
let region: RunningNats;
let controlAddress: string;
let relay: SpawnedProcess;
let startRelay: () => Promise<SpawnedProcess>;
let published = 0;
const things = new Closables();

async function start(...args: readonly string[]): Promise<SpawnedProcess> {
  const child = await startChancery([...args, "--log-format", "json"]);
  things.keep(child);
  await child.waitForOutput(/^ready /m, WAIT_MS);
  return child;
}

/** Saves another policy; returns the number that its revision will have at least. */
async function edit(): Promise<number> {
  published += 1;
  await writeFile(join(root, "tree", "limits.yaml"), policy("limits", `1 == ${published}`));
  return published;
}

/** Waits until the region's decision service reports a revision to control, and returns how many milliseconds it took. */
async function atControl(number: number): Promise<number> {
  const begun = performance.now();
  let services: unknown;
  await waitFor(
    async () => {
      const { decisionServices } = await getStatus({ control: controlAddress });
      services = decisionServices.map(({ id, activeRevision }) => `${id} ${activeRevision}`);
      return decisionServices.some(({ id, activeRevision }) => id === "eu/authz-1" && Number(activeRevision) >= number);
    },
    WAIT_MS,
    () => `eu/authz-1 at revision ${number}, not ${services}\n${relay.stderr().slice(-2_000)}`,
  );
  return Math.round(performance.now() - begun);
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "chancery-nats-relay-"));
  await mkdir(join(root, "tree"));
  const keys = await initKeys(join(root, "keys"), { now: Date.now() });
  hub = await startNats({ domain: "hub", leafNodes: true });
  things.keep(hub);
  region = await startNats({
    domain: "eu",
    config: `leafnodes { remotes: [{ url: "${hub.leafUrl}" }], reconnect: "1s" }`,
  });
  things.keep(region);
  await edit();
  const [controlPort, authzPort] = await freePorts(2);
  controlAddress = `127.0.0.1:${controlPort}`;
  await start(
    ...["control", "--resources", join(root, "tree"), "--nats", hub.url, "--state", join(root, "control")],
    ...["--control", controlAddress, ...keys.signing.flatMap(({ file }) => ["--key", file])],
  );
  startRelay = () =>
    start(
      ...["relay", "--nats", region.url, "--nats-domain", "hub", "--trust", keys.trust, "--state", join(root, "relay")],
      ...["--region", "eu", "--region-nats", region.url],
    );
  relay = await startRelay();
  await start(
    ...["authz", "--nats", region.url, "--nats-prefix", "eu", "--trust", keys.trust, "--name", "authz-1"],
    ...["--state", join(root, "authz"), "--listen", `127.0.0.1:${authzPort}`],
  );
});

afterAll(async () => {
  await things.close();
  await rm(root, { recursive: true, force: true });
});

test("what control publishes is in force in the region, and control hears of it", async () => {
  await atControl(1);
  const times: number[] = [];
  for (let round = 0; round < 5; round++) times.push(await atControl(await edit()));
  console.info(`from save to the region's report at control: ${times.join(", ")} ms`);
});

test("a region whose hub is gone keeps what it has, also over the end of its relay and the loss of its NATS", async () => {
  const before = published;
  await hub.kill();
  relay.signal("SIGKILL");
  await relay.ended;
  await region.kill();
  await region.wipe();
  await region.start();
  // Ready when the region has a revision: from the relay's disk.
  relay = await startRelay();
  await hub.start();
  console.info(`caught up after the hub came back: ${await atControl(await edit())} ms`);
  expect(published).toBeGreaterThan(before);
});

test("the hub's own streams are not the region's", async () => {
  const streams = async (nats: RunningNats): Promise<string[]> => {
    const jsz = JSON.parse((await http(`${nats.monitor}/jsz?streams=true`)).text());
    return jsz.account_details.flatMap((account: { stream_detail: { name: string }[] }) =>
      account.stream_detail.map(({ name }) => name),
    );
  };
  expect((await streams(hub)).sort()).toEqual([
    "chancery_blobs",
    "chancery_heads",
    "chancery_lease",
    "chancery_reports",
    "chancery_restrictions",
  ]);
  expect((await streams(region)).sort()).toEqual(["eu_blobs", "eu_heads", "eu_reports", "eu_restrictions"]);
});
