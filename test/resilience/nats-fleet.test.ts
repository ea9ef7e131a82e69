import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bootstrapJson, findEnvoy } from "../../envoy/index.ts";
import { startWebServer } from "../../examples/quickstart/web-server.ts";
import { initKeys } from "../../revision/index.ts";
import {
  Closables,
  freePort,
  freePorts,
  http,
  type RunningNats,
  type SpawnedProcess,
  startChancery,
  startEnvoy,
  startNats,
  waitFor,
} from "../support/index.ts";
import { ALLOW_ALL, anonymous, gateway, plainRoute, policy, upstream, yaml } from "../support/resources.ts";

const WAIT_MS = 20_000;

let root: string;
let nats: RunningNats;
let url: string;
let control: SpawnedProcess;
let startControl: () => Promise<SpawnedProcess>;
let startAuthz: (index: number) => Promise<SpawnedProcess>;
const authz: SpawnedProcess[] = [];
const things = new Closables();

/** Denies these paths. */
function denying(...paths: readonly string[]): string {
  const rules = paths.map(
    (path) => `{ id: no-${path}, effect: deny, when: 'request.url_path == "/${path}"', reason: Closed }`,
  );
  return policy("rules", ALLOW_ALL, ...rules);
}

async function write(path: string, text: string): Promise<void> {
  const file = join(root, "tree", path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, text);
}

async function start(ready: boolean, ...args: readonly string[]): Promise<SpawnedProcess> {
  const child = await startChancery([...args, "--log-format", "json"]);
  things.keep(child);
  if (ready) await child.waitForOutput(/^ready /m, WAIT_MS);
  return child;
}

const ask = async (path: string): Promise<number> => (await http(`${url}/${path}`)).status;

/** Writes the policies, and returns how many milliseconds later the first request to `path` is answered with `status`. */
async function enforced(policies: string, path: string, status: number): Promise<number> {
  await write("policies.yaml", policies);
  const saved = performance.now();
  const output = (): string => `${path} answered by ${status}\n${control.stdout()}\n${control.stderr().slice(-2_000)}`;
  await waitFor(async () => (await ask(path)) === status, WAIT_MS, output);
  const ms = Math.round(performance.now() - saved);
  // The other decision service may be a moment later.
  const [, number] = [...control.stdout().matchAll(/^revision (\d+): published/gm)].at(-1) ?? [];
  await control.waitForOutput(new RegExp(`^revision ${number}: enforced by authz-0, authz-1 `, "m"), WAIT_MS);
  return ms;
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "chancery-nats-fleet-"));
  const keys = await initKeys(join(root, "keys"), { now: Date.now() });
  const web = await startWebServer({ name: "web" });
  things.keep(web);
  nats = await startNats();
  things.keep(nats);
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  await write(
    "tree.yaml",
    yaml(gateway(port), plainRoute("all", "/", { web: 1 }), upstream("web", web.port), anonymous()),
  );
  await write("policies.yaml", denying("first"));

  const [controlPort, xdsPort, ...authzPorts] = await freePorts(4);
  const addresses = authzPorts.map((authzPort) => `127.0.0.1:${authzPort}`);
  const bus = ["--nats", nats.url, "--trust", keys.trust];
  startControl = () =>
    start(
      true,
      ...["control", "--resources", join(root, "tree"), "--nats", nats.url, "--services", "2"],
      ...["--state", join(root, "control"), "--control", `127.0.0.1:${controlPort}`],
      ...keys.signing.flatMap(({ file }) => ["--key", file]),
    );
  control = await startControl();
  startAuthz = (index) => {
    const name = `authz-${index}`;
    const listen = ["--listen", addresses[index] ?? "", "--name", name, "--state", join(root, name)];
    return start(true, "authz", ...bus, ...listen);
  };
  for (const index of addresses.keys()) authz.push(await startAuthz(index));
  const xds = `127.0.0.1:${xdsPort}`;
  await start(true, "xds", ...bus, "--listen", xds, "--state", join(root, "xds"), "--secrets", join(root, "tree"));
  const envoy = await startEnvoy({
    binary: (await findEnvoy(process.env)).path,
    concurrency: 1,
    bootstrap: bootstrapJson({
      nodeId: "edge-1",
      nodeGroup: "edge",
      xds: [xds],
      extAuthz: addresses,
      admin: "127.0.0.1:0",
    }),
  });
  things.keep(envoy);
  await waitFor(async () => (await ask("open")) === 200, WAIT_MS, "an Envoy that lets /open through");
});

afterAll(async () => {
  await things.close();
  await rm(root, { recursive: true, force: true });
});

test("a policy change is in force at the Envoy of another process", async () => {
  expect(await ask("first")).toBe(403);
  const times: number[] = [];
  for (let round = 0; round < 10; round++) {
    const path = `closed-${round}`;
    expect(await ask(path)).toBe(200);
    times.push(await enforced(denying(path), path, 403));
  }
  console.info(`from save to the first answer by the new policy over NATS: ${times.join(", ")} ms`);
});

test("without NATS decisions go on and decision services start from disk; the change comes when it is back", async () => {
  await enforced(denying("before"), "before", 403);
  await nats.kill();
  await write("policies.yaml", denying("before", "after"));
  await control.waitForOutput(/cannot be used/, WAIT_MS);
  for (let count = 0; count < 20; count++) expect(await ask("before")).toBe(403);
  expect(await ask("after")).toBe(200);
  authz[1]?.signal("SIGKILL");
  await authz[1]?.ended;
  const started = performance.now();
  authz[1] = await startAuthz(1);
  console.info(`a decision service started from its disk, without NATS: ${Math.round(performance.now() - started)} ms`);
  for (let count = 0; count < 20; count++) expect(await ask("before")).toBe(403);
  await nats.start();
  const back = performance.now();
  await waitFor(async () => (await ask("after")) === 403, WAIT_MS, "/after denied");
  console.info(`in force after NATS was started again: ${Math.round(performance.now() - back)} ms`);
});

test("a NATS that lost everything is filled again by control, after which changes go on", async () => {
  await nats.kill();
  await nats.wipe();
  await nats.start();
  const back = performance.now();
  await control.waitForOutput(/everything is put there again/, WAIT_MS);
  console.info(`filled again: ${Math.round(performance.now() - back)} ms`);
  console.info(`and from save to in force: ${await enforced(denying("refilled"), "refilled", 403)} ms`);
});

test("control that is killed and started again goes on where it was", async () => {
  control.signal("SIGKILL");
  await control.ended;
  await write("policies.yaml", denying("refilled", "meanwhile"));
  expect(await ask("refilled")).toBe(403);
  control = await startControl();
  await waitFor(async () => (await ask("meanwhile")) === 403, WAIT_MS, "what was written meanwhile in force");
});

test("a process stops in time though NATS is frozen", async () => {
  nats.freeze();
  const [first] = authz;
  first?.signal("SIGTERM");
  expect(await first?.waitForEnd(8_000)).toMatchObject({ code: 0 });
  // The other one decides.
  expect(await ask("refilled")).toBe(403);
  nats.thaw();
});
