import { execFile } from "node:child_process";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { register } from "@grpc/grpc-js-xds";
import { expect, onTestFinished, test } from "vitest";
import {
  closeAtEnd,
  createGrpcEchoClient,
  freePort,
  type GrpcEcho,
  spawnProcess,
  startChancery,
  startGrpcEcho,
  temporaryDirectory,
  waitFor,
} from "../support/index.ts";
import { ALLOW_ALL, gateway, plainRoute, policy } from "../support/resources.ts";

const WAIT_MS = 40_000;
const run = promisify(execFile);

/** The tree of a gateway with the upstream "echo", which clients reach without a decision, and "closed". */
async function serveEcho(echoes: readonly GrpcEcho[]) {
  const directory = await temporaryDirectory("grpc-xds");
  const write = (file: string, text: string) => writeFile(join(directory, file), text);
  const endpoints = (list: readonly GrpcEcho[]) =>
    `[${list.map(({ port }) => `{ address: 127.0.0.1, port: ${port} }`).join(", ")}]`;
  const upstream = (name: string, governed: boolean, list: readonly GrpcEcho[]) =>
    write(
      `${name}.yaml`,
      `apiVersion: chancery.dev/v1
kind: Upstream
metadata: { name: ${name} }
spec: { governed: ${governed}, protocol: http2, endpoints: ${endpoints(list)} }`,
    );
  const route = (name: string) =>
    plainRoute(name, "/", { [name]: 1 }).replace("  rules:", `  hostnames: [${name}.example.com]\n  rules:`);
  await write("gateway.yaml", gateway(await freePort()));
  await write("echo-route.yaml", route("echo"));
  await write("closed-route.yaml", route("closed"));
  await write("policies.yaml", policy("rules", ALLOW_ALL));
  await upstream("echo", false, echoes);
  await upstream("closed", true, echoes);
  const port = await freePort();
  const xds = await startChancery([
    ...["xds", "--resources", directory, "--listen", `127.0.0.1:${port}`],
    ...["--state", `${directory}-state`],
  ]);
  closeAtEnd(xds);
  onTestFinished(() => rm(`${directory}-state`, { recursive: true, force: true }));
  await xds.waitForOutput(/xDS server listens/, WAIT_MS);
  const bootstrap = JSON.stringify({
    xds_servers: [
      { server_uri: `127.0.0.1:${port}`, channel_creds: [{ type: "insecure" }], server_features: ["xds_v3"] },
    ],
    node: { id: "grpc-client", cluster: "edge", locality: {} },
  });
  return { bootstrap, setEcho: (list: readonly GrpcEcho[]) => upstream("echo", false, list) };
}

/** Calls until `wanted` answers `calls` in a row, each by a server that is expected. */
async function answeredOnlyBy(ask: () => Promise<string>, wanted: ReadonlySet<string>): Promise<void> {
  const last: string[] = [];
  await waitFor(
    async () => {
      last.push(await ask());
      const recent = last.slice(-10);
      return recent.length === 10 && wanted.size === new Set(recent).size && recent.every((name) => wanted.has(name));
    },
    WAIT_MS,
    () => `answers of ${[...wanted].join(" and ")}: ${last.slice(-10).join(", ")}`,
  );
}

test("a grpc-js channel finds its servers here, spreads calls over them and follows as they change", async () => {
  const [one, two, three] = await Promise.all([startGrpcEcho("one"), startGrpcEcho("two"), startGrpcEcho("three")]);
  for (const echo of [one, two, three]) closeAtEnd(echo);
  const { bootstrap, setEcho } = await serveEcho([one, two]);
  process.env.GRPC_XDS_BOOTSTRAP_CONFIG = bootstrap;
  register();
  // What is governed is not there for it, whether it asks by upstream or by host: these are asked for first.
  const answered: string[] = [];
  for (const name of ["closed", "closed.example.com"]) {
    const refused = closeAtEnd(createGrpcEchoClient(`xds:///${name}`));
    refused.unary(name).then(
      (answer) => answered.push(answer),
      () => {}, // Refused, or given up when the test ends: either is as it should be.
    );
  }
  const client = closeAtEnd(createGrpcEchoClient("xds:///echo"));
  const echoes = { one, two, three };
  const ask = async (): Promise<string> => {
    const before = Object.entries(echoes).map(([name, echo]) => [name, echo, echo.stats().calls] as const);
    expect(await client.unary("hello")).toBe("hello");
    return before.find(([, echo, calls]) => echo.stats().calls > calls)?.[0] ?? "nobody";
  };
  await answeredOnlyBy(ask, new Set(["one", "two"]));
  await setEcho([two, three]);
  await answeredOnlyBy(ask, new Set(["two", "three"]));
  const byHost = closeAtEnd(createGrpcEchoClient("xds:///echo.example.com"));
  expect(await byHost.unary("by host")).toBe("by host");
  expect(answered).toEqual([]);
}, 60_000);

/** gRPC for Python as its makers ship it, since our own would not be another client. */
const GRPC_FOR_PYTHON = "grpcio==1.85.1";

/** @returns the folder it was installed to; what stands in the way, as a string with that said */
async function installPythonGrpc(): Promise<{ readonly folder: string } | { readonly missing: string }> {
  const folder = await temporaryDirectory("python-grpc");
  const options = ["--quiet", "--no-input", "--disable-pip-version-check", "--only-binary=:all:", "--target", folder];
  try {
    await run("python3", ["-m", "pip", "install", ...options, GRPC_FOR_PYTHON], { timeout: 60_000 });
    return { folder };
  } catch (error) {
    return { missing: `pip cannot fetch ${GRPC_FOR_PYTHON}: ${String(error).split("\n").at(-1)}` };
  }
}

test("so does a Python channel", async ({ skip }) => {
  const installed = await installPythonGrpc();
  if ("missing" in installed) {
    process.stdout.write(`skipped: ${installed.missing}\n`);
    return skip(installed.missing);
  }
  const [one, two, three] = await Promise.all([startGrpcEcho("one"), startGrpcEcho("two"), startGrpcEcho("three")]);
  for (const echo of [one, two, three]) closeAtEnd(echo);
  const { bootstrap, setEcho } = await serveEcho([one, two]);
  const env = { PYTHONPATH: installed.folder, GRPC_XDS_BOOTSTRAP_CONFIG: bootstrap, GRPC_VERBOSITY: "ERROR" };
  const names = async (target: string, calls: number): Promise<string[]> => {
    const input = "hello\n".repeat(calls);
    const client = await spawnProcess("python3", [join(import.meta.dirname, "grpc-client.py"), target], { env, input });
    closeAtEnd(client);
    const ending = await client.waitForEnd(WAIT_MS);
    if (ending.code !== 0) throw new Error(client.stderr());
    return client.stdout().trim().split("\n");
  };
  expect(new Set(await names("xds:///echo", 20))).toEqual(new Set(["one", "two"]));
  await setEcho([two, three]);
  await waitFor(
    async () =>
      new Set(await names("xds:///echo.example.com", 20)).symmetricDifference(new Set(["two", "three"])).size === 0,
    WAIT_MS,
    "the change of endpoints",
  );
  expect((await names("xds:///closed", 1))[0]).toMatch(/^(UNAVAILABLE|DEADLINE_EXCEEDED): /);
}, 120_000);
