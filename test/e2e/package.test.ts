import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { closeAtEnd, freePorts, http, runProcess, spawnProcess } from "../support/index.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const QUICKSTART = join(ROOT, "examples/quickstart/resources");
const INSTALL_MS = 5 * 60_000;

let folder: string;
let command: string;

/** npm itself runs on whatever Node is first on PATH; the package must run on ours. */
async function npm(cwd: string, ...args: readonly string[]): Promise<void> {
  const ending = await runProcess("npm", args, { cwd, deadlineMs: INSTALL_MS });
  expect(ending, `npm ${args.join(" ")}\n${ending.stdout}\n${ending.stderr}`).toMatchObject({ code: 0 });
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "chancery-package-"));
  await npm(ROOT, "pack", "--silent", "--pack-destination", folder);
  const archive = (await readdir(folder)).find((name) => name.endsWith(".tgz"));
  await writeFile(join(folder, "package.json"), '{ "private": true }\n');
  await npm(folder, "install", "--prefer-offline", "--no-audit", "--no-fund", `./${archive}`);
  command = join(folder, "node_modules/.bin/chancery");
}, INSTALL_MS);

afterAll(() => rm(folder, { recursive: true, force: true }));

test("brings the command and no Node of its own", async () => {
  const programs = await readdir(dirname(command));
  expect(programs).toContain("chancery");
  expect(programs).not.toContain("node");
  expect((await stat(command)).mode & 0o111).not.toBe(0);
  const { stdout, code } = await runProcess(process.execPath, [command, "--version"]);
  expect({ stdout: stdout.trim(), code }).toEqual({ stdout: "0.1.0", code: 0 });
});

test("checks a resource tree", async () => {
  const { stdout, stderr, code } = await runProcess(process.execPath, [command, "check", QUICKSTART]);
  expect({ text: stdout + stderr, code }).toEqual({ text: expect.stringContaining("0 errors"), code: 0 });
});

test("runs a decision service", async () => {
  const [port, adminPort] = await freePorts(2);
  const args = ["authz", "--resources", QUICKSTART, "--state", join(folder, "state"), "--name", "packed"].concat([
    "--listen",
    `127.0.0.1:${port}`,
    "--admin",
    `127.0.0.1:${adminPort}`,
  ]);
  const service = closeAtEnd(await spawnProcess(process.execPath, [command, ...args]));
  await service.waitForOutput(/^ready /m, 30_000);
  expect((await http(`http://127.0.0.1:${adminPort}/readyz`)).status).toBe(200);
});
