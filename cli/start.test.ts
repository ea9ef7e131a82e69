import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { getStatus } from "../admin/index.ts";
import { readDecisions } from "../audit/index.ts";
import { findEnvoy } from "../envoy/index.ts";
import { startWebServer } from "../examples/quickstart/web-server.ts";
import type { JournalRecord } from "../ext-authz/index.ts";
import {
  closeAtEnd,
  freePort,
  freePorts,
  type HttpAnswer,
  http,
  runChancery,
  type SpawnedProcess,
  startChancery,
  startEnvoy,
  temporaryDirectory,
  waitFor,
} from "../test/support/index.ts";
import { nodeStatus } from "./status-node.ts";

const QUICKSTART = fileURLToPath(new URL("../examples/quickstart/resources", import.meta.url));
/** Processes compile their sources when they start, on a machine that does other things as well. */
const START_MS = 60_000;

/** The quick start's tree on ports of its own, and a directory for state. */
async function setting() {
  const root = await temporaryDirectory("start");
  const resources = join(root, "resources");
  await cp(QUICKSTART, resources, { recursive: true });
  const web = closeAtEnd(await startWebServer({ name: "web" }));
  const gatewayPort = await freePort();
  await edit(join(resources, "gateway.yaml"), "port: 10000", `port: ${gatewayPort}`);
  await edit(join(resources, "shop.yaml"), "port: 10111", `port: ${web.port}`);
  await edit(join(resources, "shop.yaml"), "port: 10112", `port: ${web.port}`);
  return { resources, state: join(root, "state"), gateway: `http://127.0.0.1:${gatewayPort}`, web };
}

async function edit(file: string, from: string | RegExp, to: string): Promise<void> {
  const text = await readFile(file, "utf8");
  expect(text).toMatch(from);
  await writeFile(file, text.replace(from, to));
}

interface Setting {
  readonly resources: string;
  readonly state: string;
  /** Of an earlier start that this one comes after. */
  readonly ports?: readonly number[];
}

async function startAll(options: Setting, ...more: string[]) {
  const ports = options.ports ?? (await freePorts(5));
  const [xds = 0, first = 0, second = 0, control = 0, admin = 0] = ports;
  const child = await startChancery([
    ...["start", "--resources", options.resources, "--state", options.state, "--log-format", "json"],
    ...["--xds", String(xds), "--authz", `${first},${second}`, "--control", String(control)],
    ...["--envoy-admin", String(admin), "--envoy-concurrency", "1"],
    ...more,
  ]);
  onTestFinished(() => child.close());
  return { child, control: `127.0.0.1:${control}`, ports };
}

/** Ids of the processes that the log says were started as children. */
async function childrenOf(parent: SpawnedProcess): Promise<number[]> {
  const text = await readFile(`/proc/${parent.pid}/task/${parent.pid}/children`, "utf8");
  return text.trim().split(" ").filter(Boolean).map(Number);
}

/** Whether a process has ended; an orphan may then still wait for the machine's first process to ask about it. */
async function isGone(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "gone) Z");
  return stat.slice(stat.lastIndexOf(")") + 2).startsWith("Z");
}

async function areGone(pids: readonly number[]): Promise<boolean> {
  return (await Promise.all(pids.map(isGone))).every(Boolean);
}

test("runs everything, takes edits into force, and ends all that it started", { timeout: 180_000 }, async () => {
  const { resources, state, gateway } = await setting();
  const { child, control } = await startAll({ resources, state }, "--envoy");
  const ready = await child.waitForOutput(/^ready .*$/m, START_MS);
  expect(ready[0]).toContain(`gateway ${gateway}`);
  expect((await http(`http://${control}/readyz`)).status).toBe(200);
  const before = await http(`${gateway}/shop/`);
  expect(before.json()).toMatchObject({ served_by: "web" });
  expect((await http(`${gateway}/other`)).status).toBe(404);

  await edit(join(resources, "shop.yaml"), /weight: \d+/, "weight: 50");
  await child.waitForOutput(/^revision 2: acknowledged by envoy-1 after \d+ ms$/m, START_MS);
  await child.waitForOutput(/^revision 2: enforced by authz-1, authz-2 after \d+ ms$/m, START_MS);

  await edit(join(resources, "shop.yaml"), "weight: 50", "wieght: 50");
  await child.waitForOutput(/^scope "\." stays as it was last good, for the errors at shop\.yaml:\d+:\d+$/m, START_MS);
  const status = await getStatus({ control });
  expect(status.revision?.number).toBe(2n);
  expect(status.frozenScopes).toMatchObject([{ scope: "." }]);
  expect(status.nodes).toMatchObject([{ id: "envoy-1", connected: true, plan: "full", acknowledgedRevision: 2n }]);
  const { details } = await nodeStatus({ node: "envoy-1", servers: [{ control }] });
  expect(new Set(details[0]?.resources.map(({ standing }) => standing))).toEqual(new Set(["in-force"]));
  const after = await http(`${gateway}/shop/`);
  expect(after.status).toBe(200);

  const children = await childrenOf(child);
  expect(children).toHaveLength(3);
  child.signal("SIGINT");
  expect(await child.waitForEnd(START_MS)).toEqual({ code: 0, signal: null });
  expect(await areGone(children)).toBe(true);

  // Envoy may have asked either of them, and on a busy machine both.
  const records = new Map<string, JournalRecord>();
  for (const service of ["authz-1", "authz-2"]) {
    for await (const { record } of readDecisions(join(state, "journal", service))) {
      if ("id" in record) records.set(record.id, record);
    }
  }
  const recordOf = (answer: HttpAnswer) => records.get(String(answer.headers["x-chancery-decision"]));
  const allowed = { effect: "allow", application: "teams/web/web" };
  expect(recordOf(before)).toMatchObject({ ...allowed, revision: { number: 1, signed: true } });
  expect(recordOf(after)).toMatchObject({ ...allowed, revision: { number: 2, signed: true } });
});

test("starts a decision service again that was killed, and leaves none behind when it is killed itself", {
  timeout: 180_000,
}, async () => {
  const { resources, state } = await setting();
  const { child, control } = await startAll({ resources, state });
  await child.waitForOutput(/^ready /m, START_MS);
  const before = await childrenOf(child);
  expect(before).toHaveLength(2);
  process.kill(before[0] ?? 0, "SIGKILL");
  await child.waitForOutput(/a child process ended by itself/, START_MS);
  const after = await waitFor(
    async () => {
      const now = await childrenOf(child);
      return now.length === 2 && !now.includes(before[0] ?? 0) && now;
    },
    START_MS,
    "the new child",
  );
  await waitFor(async () => (await http(`http://${control}/readyz`)).status === 200, START_MS, "readiness");

  const again = await runChancery("start", "--resources", resources, "--state", state);
  expect(again.code).toBe(3);
  expect(again.stderr).toContain(`the state directory ${state} is in use by process ${child.pid}`);

  child.signal("SIGKILL");
  await waitFor(() => areGone(after), START_MS, "the end of the children");
});

test("takes the place of a start that was killed, its Envoy included", { timeout: 180_000 }, async () => {
  const { resources, state, gateway } = await setting();
  const killed = await startAll({ resources, state }, "--envoy");
  await killed.child.waitForOutput(/^ready /m, START_MS);
  const children = await childrenOf(killed.child);
  const envoy = Number(await readFile(join(state, "envoy", "pid"), "utf8"));
  expect(children).toContain(envoy);
  killed.child.signal("SIGKILL");
  await killed.child.waitForEnd(START_MS);

  const next = await startAll({ resources, state, ports: killed.ports }, "--envoy");
  await next.child.waitForOutput(/^ready /m, START_MS);
  expect(await isGone(envoy)).toBe(true);
  expect((await http(`${gateway}/shop/`)).json()).toMatchObject({ served_by: "web" });
});

test("waits for a tree that is right, and says what is wrong", { timeout: 120_000 }, async () => {
  const { resources, state } = await setting();
  await edit(join(resources, "shop.yaml"), /weight: \d+/, "wieght: 80");
  const { child, control } = await startAll({ resources, state });
  await child.waitForOutput(/^the tree is not taken, for the errors at shop\.yaml:\d+:\d+$/m, START_MS);
  await waitFor(
    async () => {
      const answer = await http(`http://${control}/readyz`);
      return answer.status === 503 && answer.text().includes("the resource tree has errors");
    },
    START_MS,
    "the reason in /readyz",
  );
  await edit(join(resources, "shop.yaml"), "wieght: 80", "weight: 80");
  await child.waitForOutput(/^ready /m, START_MS);
});

test("says which port is taken, and which option chooses another", async () => {
  const { resources, state } = await setting();
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closeAtEnd(server);
  const address = server.address();
  const port = typeof address === "object" ? String(address?.port) : "";
  const run = await runChancery("start", "--resources", resources, "--state", state, "--xds", port);
  expect(run.code).toBe(3);
  expect(run.stderr).toContain(`127.0.0.1:${port} is in use by another process; choose another by --xds`);
});

test("serves this machine alone", async () => {
  const run = await runChancery("start", "--resources", QUICKSTART, "--xds", "0.0.0.0:18000");
  expect(run.code).toBe(2);
  expect(run.stderr).toContain("start serves this machine alone");
});

test("xds and authz serve an Envoy straight from a directory, and records say unsigned", {
  timeout: 180_000,
}, async () => {
  const { resources, state, gateway } = await setting();
  const [xds = "", authz = "", admin = ""] = (await freePorts(3)).map(String);
  const common = ["--resources", resources, "--log-format", "json"];
  const decisions = closeAtEnd(
    await startChancery(["authz", ...common, "--listen", authz, "--admin", admin, "--state", join(state, "authz")]),
  );
  const server = closeAtEnd(await startChancery(["xds", ...common, "--listen", xds, "--state", join(state, "xds")]));
  await decisions.waitForOutput(/^ready {2}authz /m, START_MS);
  await server.waitForOutput(/^ready {2}xds /m, START_MS);
  expect((await http(`http://127.0.0.1:${admin}/readyz`)).status).toBe(200);

  const bootstrap = await runChancery(
    ...["bootstrap", "--gateway", "edge", "--node-id", "own-1", "--admin", "127.0.0.1:0"],
    ...["--xds", xds, "--authz", authz],
  );
  const { path: binary } = await findEnvoy(process.env);
  closeAtEnd(await startEnvoy({ bootstrap: JSON.parse(bootstrap.stdout), binary }));
  const answer = await waitFor(
    async () => {
      const tried = await http(`${gateway}/shop/`);
      return tried.status === 200 && tried;
    },
    START_MS,
    "an answer through the gateway",
  );
  expect(answer.json()).toMatchObject({ served_by: "web" });
  expect((await http(`http://127.0.0.1:${admin}/metrics`)).text()).toContain("chancery_decisions_total");

  decisions.signal("SIGTERM");
  expect((await decisions.waitForEnd(START_MS)).code).toBe(0);
  const journal = join(state, "authz", "journal");
  const { value } = await readDecisions(journal).next();
  expect(value?.record).toMatchObject({ effect: "allow", service: "authz", revision: { signed: false } });
});

test("demands certificates off loopback", { timeout: 60_000 }, async () => {
  const { resources, state } = await setting();
  const run = await runChancery("xds", "--resources", resources, "--state", state, "--listen", "0.0.0.0:0");
  expect(run.code).toBe(2);
  expect(run.stderr).toContain("without TLS");
});

test("says at once that there is no such tree, or no place for its state", async () => {
  const missing = await runChancery("start", "--resources", "/nowhere/at/all");
  expect([missing.code, missing.stderr]).toEqual([3, expect.stringContaining("there is no directory /nowhere/at/all")]);
  const [xds, authz, control] = await freePorts(3);
  const ports = ["--xds", `${xds}`, "--authz", `${authz}`, "--control", `${control}`];
  const unusable = await runChancery("start", "--resources", QUICKSTART, "--state", "/proc/chancery", ...ports);
  expect([unusable.code, unusable.stderr]).toEqual([3, expect.stringContaining("/proc/chancery cannot be made")]);
}, 90_000);

test("a signal ends what still waits for something while it starts", async () => {
  const { resources, state } = await setting();
  // Whoever opens a pipe that nobody writes to waits for ever.
  await mkdir(join(state, "keys"), { recursive: true });
  await promisify(execFile)("mkfifo", [join(state, "keys", "trust.json")]);
  const [xds, authz, control] = await freePorts(3);
  const ports = ["--xds", `${xds}`, "--authz", `${authz}`, "--control", `${control}`];
  const child = await startChancery(["start", "--resources", resources, "--state", state, ...ports], {
    graceMs: 20_000,
  });
  closeAtEnd(child);
  await waitFor(() => existsSync(join(state, "lock")), START_MS, "the start");
  child.signal("SIGTERM");
  expect(await child.waitForEnd(20_000)).toEqual({ code: null, signal: "SIGKILL" });
}, 90_000);
