import { chmod, mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import tools from "../setup/tools.json" with { type: "json" };
import { temporaryDirectory } from "../test/support/index.ts";
import { findEnvoy, findProgram } from "./binary.ts";

/** A program that says it is Envoy of this version. */
async function writeEnvoy(path: string, version: string): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `#!/bin/sh\necho "$0  version: 9e5580/${version}/Clean/RELEASE/BoringSSL"\n`);
  await chmod(path, 0o755);
  return path;
}

const find = (env: NodeJS.ProcessEnv, toolsFolder: string) => findProgram(tools.envoy, env, toolsFolder);

test("finds the real Envoy that set-up brought or the machine has", async () => {
  const { path, version } = await findEnvoy(process.env);
  expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  expect(path).toMatch(/^\//);
  expect(await find({ ENVOY_BIN: path }, "/nowhere")).toEqual({ path, version });
});

test("prefers the environment variable, then PATH, then what set-up fetched", async () => {
  const folder = await temporaryDirectory("binary");
  const fetched = await writeEnvoy(join(folder, "envoy-1.40.0/envoy"), "1.40.0");
  expect(await find({ PATH: "/nowhere" }, folder)).toEqual({ path: fetched, version: "1.40.0" });
  const onPath = await writeEnvoy(join(folder, "bin/envoy"), "1.40.3");
  const PATH = `/nowhere:${join(folder, "bin")}`;
  expect(await find({ PATH }, folder)).toEqual({ path: onPath, version: "1.40.3" });
  const named = await writeEnvoy(join(folder, "mine"), "1.41.0");
  expect(await find({ PATH, ENVOY_BIN: named }, folder)).toEqual({ path: named, version: "1.41.0" });
});

test("passes over another version on PATH", async () => {
  const folder = await temporaryDirectory("binary");
  await writeEnvoy(join(folder, "bin/envoy"), "1.39.3");
  const fetched = await writeEnvoy(join(folder, "envoy-1.40.0/envoy"), "1.40.0");
  expect(await find({ PATH: join(folder, "bin") }, folder)).toEqual({ path: fetched, version: "1.40.0" });
});

test("says what is wrong with a named program, without looking elsewhere", async () => {
  const folder = await temporaryDirectory("binary");
  await writeEnvoy(join(folder, "envoy-1.40.0/envoy"), "1.40.0");
  const old = await writeEnvoy(join(folder, "old"), "1.39.3");
  await expect(find({ ENVOY_BIN: old }, folder)).rejects.toMatchObject({
    code: "missing-tool",
    message: expect.stringContaining(`$ENVOY_BIN is ${old}, which is version 1.39.3`),
  });
  await expect(find({ ENVOY_BIN: folder }, folder)).rejects.toThrow(/no Envoy that runs here/);
});

test("names every way to get it when it is nowhere", async () => {
  const failure = find({ PATH: "/nowhere" }, "/nowhere");
  await expect(failure).rejects.toMatchObject({ name: "ChanceryError", code: "missing-tool" });
  await expect(failure).rejects.toThrow(/found nowhere.*ENVOY_BIN.*PATH.*npm run setup/);
});
