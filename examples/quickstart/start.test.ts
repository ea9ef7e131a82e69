import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { closeAtEnd, freePorts, runProcess, spawnProcess, temporaryDirectory } from "../../test/support/index.ts";
import { commandsToTry } from "./to-try.ts";

const START = fileURLToPath(new URL("./start.ts", import.meta.url));
const RESOURCES = fileURLToPath(new URL("./resources", import.meta.url));
const PORTS = ["10000", "10101", "10102", "10103", "10111", "10112"];
const START_MS = 60_000;

/** The resources on free ports. */
async function setting() {
  const root = await temporaryDirectory("quickstart");
  const resources = join(root, "resources");
  await cp(RESOURCES, resources, { recursive: true });
  const [xds = 0, one = 0, two = 0, control = 0, admin = 0, ...own] = await freePorts(5 + PORTS.length);
  for (const file of await readdir(resources, { recursive: true })) {
    if (!file.endsWith(".yaml")) continue;
    const path = join(resources, file);
    let text = await readFile(path, "utf8");
    for (const [index, port] of PORTS.entries()) text = text.replaceAll(`port: ${port}`, `port: ${own[index]}`);
    await writeFile(path, text);
  }
  const [gateway = 0, newest = 0] = own;
  const args = [
    ...[START, "--resources", resources, "--state", join(root, "state"), "--xds", String(xds)],
    ...["--authz", `${one},${two}`, "--control", String(control), "--envoy-admin", String(admin)],
  ];
  return { args, resources, gateway, newest };
}

async function shell(commands: readonly string[]): Promise<string> {
  const run = await runProcess("sh", ["-c", commands.join("\n")]);
  expect(run).toMatchObject({ code: 0, stderr: "" });
  return run.stdout;
}

test("shows what it says it shows, takes an edit into force, and ends all it started", {
  timeout: 240_000,
}, async () => {
  const { args, resources, gateway, newest } = await setting();
  const child = closeAtEnd(await spawnProcess(process.execPath, args));
  await child.waitForOutput(/Ctrl-C ends all/, START_MS);
  const [ready = ""] = child.stdout().match(/^ready .*$/m) ?? [];
  expect(ready).toContain(`gateway http://127.0.0.1:${gateway}`);
  expect(ready).toContain(`eu http://127.0.0.1:${newest}`);

  const shown = commandsToTry(gateway, newest);
  for (const command of shown.flatMap(({ commands }) => commands)) expect(child.stdout()).toContain(command);
  const outputs = await Promise.all(
    shown.filter(({ what }) => !what.includes("fails")).map(({ commands }) => shell(commands)),
  );
  expect(outputs[0]).toContain('"served_by":{"name":"eu","region":"EU"');
  expect(outputs[1]).toContain('"served_by":{"name":"eu","region":"EU"');
  expect(outputs[2]).toContain("approval");
  expect(outputs[3]).toContain('"served_by":"shop-');
  const failing = shown.find(({ what }) => what.includes("fails"));
  expect(await shell(failing?.commands ?? [])).toContain('"served_by":{"name":"eu-old","region":"EU"');

  const file = join(resources, "shop.yaml");
  await writeFile(file, (await readFile(file, "utf8")).replace(/weight: \d+/, "weight: 50"));
  await child.waitForOutput(/^revision 2: enforced by authz-1, authz-2 after \d+ ms$/m, START_MS);
  await child.waitForOutput(/^revision 2: acknowledged by envoy-1 after \d+ ms$/m, START_MS);

  const children = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, "utf8");
  child.signal("SIGTERM");
  expect(await child.waitForEnd(START_MS)).toEqual({ code: 0, signal: null });
  for (const pid of children.trim().split(" ")) {
    expect(await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "gone) Z")).toMatch(/\) Z/);
  }
  expect(child.stderr()).not.toMatch(/"level":"(error|fatal)"/);
});

test("says that the control plane ended by itself", { timeout: 120_000 }, async () => {
  const { args } = await setting();
  const child = closeAtEnd(await spawnProcess(process.execPath, args));
  await child.waitForOutput(/^ready /m, START_MS);
  const [pid] = (await readFile(`/proc/${child.pid}/task/${child.pid}/children`, "utf8")).trim().split(" ");
  process.kill(Number(pid), "SIGTERM");
  expect((await child.waitForEnd(START_MS)).code).toBe(1);
  expect(child.stderr()).toContain("the control plane ended by itself (exit code 0)");
});

test("names the port that is taken, and where to write another", async () => {
  const { args, gateway } = await setting();
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(gateway, "127.0.0.1", resolve));
  closeAtEnd(server);
  const run = await runProcess(process.execPath, args);
  expect(run.code).toBe(3);
  expect(run.stderr).toContain(`port ${gateway} is in use by another process`);
  expect(run.stderr).toContain("as listener port of Gateway edge");
});

test("explains itself, and refuses what it does not know", async () => {
  const help = await runProcess(process.execPath, [START, "--help"]);
  expect(help).toMatchObject({ code: 0, stderr: "" });
  expect(help.stdout).toContain("Usage: npm start");
  expect((await runProcess(process.execPath, [START, "--nope"])).code).toBe(2);
});
