import { spawnSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { appendFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { Command } from "commander";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse as parseYaml } from "yaml";
import { z } from "zod";
import { authzCommand } from "../cli/authz.ts";
import { bootstrapCommand } from "../cli/bootstrap.ts";
import { controlCommand } from "../cli/control.ts";
import { relayCommand } from "../cli/relay.ts";
import { xdsCommand } from "../cli/xds.ts";
import { compile } from "../compiler/index.ts";
import { findNatsServer } from "../envoy/index.ts";
import { loadDirectory } from "../resources/index.ts";
import { runProcess } from "../test/support/index.ts";

// Command lines that are delivered must be ones that the commands take.

const SYSTEMD = join(import.meta.dirname, "systemd");
const COMMANDS: Readonly<Record<string, () => Command>> = {
  authz: authzCommand,
  bootstrap: bootstrapCommand,
  control: controlCommand,
  relay: relayCommand,
  xds: xdsCommand,
};

/** Parses arguments as the command does, without running it. */
function parse(words: readonly string[]): unknown {
  const [verb = "", ...args] = words;
  const command = COMMANDS[verb]?.();
  if (command === undefined) throw new Error(`no command ${verb}`);
  let parsed: unknown;
  command.exitOverride().configureOutput({ writeErr: () => undefined });
  command.action((options: unknown) => {
    parsed = options;
  });
  command.parse(args, { from: "user" });
  return parsed;
}

test("units of systemd start commands with options that they have", async () => {
  const units = (await readdir(SYSTEMD)).sort();
  expect(units).toEqual(["control", "relay", "xds", "authz"].map((role) => `chancery-${role}.service`).sort());
  for (const unit of units) {
    const text = await readFile(join(SYSTEMD, unit), "utf8");
    const line = /^ExecStart=\/usr\/bin\/chancery ((?:.*\\\n)*.*)$/m.exec(text)?.[1]?.replaceAll("\\\n", " ") ?? "";
    const words = line
      .replaceAll(/\$\{[A-Z]+_NATS\}/g, "tls://nats.example:4222")
      .replaceAll(/\$\{[A-Z]+_LISTEN\}/g, "0.0.0.0:9191")
      .replaceAll(/\$\{[A-Z_]+\}/g, "eu")
      .split(/\s+/)
      .filter((word) => word !== "");
    expect(parse(words), `${unit}: ${words.join(" ")}`).toMatchObject({ natsCa: expect.stringMatching(/^\//) });
    expect(text).toContain("Restart=always");
  }
});

// From systemd 250 on.
const verifier = spawnSync("systemd-analyze", ["--recursive-errors=no", "--version"]).status === 0;
if (!verifier) console.info("skipped: what systemd says of its units, because there is no systemd-analyze of today");

test.skipIf(!verifier)("systemd takes the units and finds nothing wrong", async () => {
  const directory = await mkdtemp(join(tmpdir(), "chancery-units-"));
  try {
    const units = (await readdir(SYSTEMD)).map((unit) => join(directory, unit));
    for (const unit of units) {
      const text = await readFile(join(SYSTEMD, basename(unit)), "utf8");
      // The command is not installed here, and systemd looks whether it is there.
      await writeFile(unit, text.replace("ExecStart=/usr/bin/chancery ", `ExecStart=${process.execPath} `));
    }
    const verify = () => runProcess("systemd-analyze", ["verify", "--recursive-errors=no", "--man=no", ...units]);
    expect(await verify()).toMatchObject({ code: 0, stderr: "" });
    await appendFile(units[0] ?? "", "\n[Service]\nNoSuchSetting=yes\n");
    expect((await verify()).stderr).toContain("NoSuchSetting");
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});

test("an option that does not exist is found", () => {
  expect(() => parse(["authz", "--no-such-option"])).toThrow("unknown option");
});

const COMPOSE = join(import.meta.dirname, "compose");
const REGIONS = ["eu", "us"] as const;

const composeSchema = z.object({
  services: z.record(
    z.string(),
    z.object({
      command: z.union([z.string(), z.array(z.string())]).optional(),
      image: z.string(),
      volumes: z.array(z.string()).default([]),
      env_file: z.string().optional(),
    }),
  ),
});
type Services = z.infer<typeof composeSchema>["services"];

async function composeServices(): Promise<Services> {
  return composeSchema.parse(parseYaml(await readFile(join(COMPOSE, "compose.yaml"), "utf8"), { merge: true }))
    .services;
}

/** The words of the `chancery` command of a service, without where its output goes. */
function wordsOf(command: Services[string]["command"]): readonly string[] {
  const text = (Array.isArray(command) ? command.join(" ") : (command ?? "")).replace(/^chancery /, "");
  return text
    .replace(/ > .*/, "")
    .split(/\s+/)
    .filter((word) => word !== "");
}

test("Compose starts commands with options that they have, for a tree that compiles", async () => {
  const services = Object.entries(await composeServices()).filter(([, { image }]) => image === "chancery");
  expect(services.map(([name]) => name)).toEqual([
    ...["control-1", "control-2"],
    ...REGIONS.flatMap((region) => [
      ...[`relay-${region}`, `xds-${region}`, `authz-${region}-1`, `authz-${region}-2`, `bootstrap-${region}`],
    ]),
  ]);
  for (const [name, { command }] of services) {
    const words = wordsOf(command);
    expect(parse(words), `${name}: ${words.join(" ")}`).toBeTypeOf("object");
  }
  const { inventory, problems, positions } = await loadDirectory(join(COMPOSE, "resources"));
  // Ports of a container lead to all of its addresses but loopback.
  expect(inventory.gateways.flatMap(({ listeners }) => listeners.map(({ addresses }) => addresses))).toEqual(
    REGIONS.map(() => ["0.0.0.0"]),
  );
  expect([...problems, ...compile(inventory, { jwks: new Map(), positions }).problems]).toEqual([]);
});

function withoutComments(text: string): string {
  return text.replaceAll(/^\s*#.*$/gm, "");
}

const openssl = spawnSync("openssl", ["version"]).status === 0;
if (!openssl) console.info("skipped: what deploy/compose/prepare.sh makes, because there is no openssl");

describe.skipIf(!openssl)("what prepare.sh makes", () => {
  let root: string;
  let state: string;
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), "chancery-compose-"));
    state = join(root, "state");
    const { code, stderr } = await prepare();
    if (code !== 0) throw new Error(stderr);
  }, 60_000);
  afterAll(() => rm(root, { recursive: true, force: true }));

  function prepare(): ReturnType<typeof runProcess> {
    const chancery = `${process.execPath} ${join(import.meta.dirname, "../cli/main.ts")}`;
    return runProcess("sh", [join(COMPOSE, "prepare.sh"), state], { env: { CHANCERY: chancery }, deadlineMs: 60_000 });
  }

  /** Files that a service's container sees: path in it → path here. */
  function mounts({ volumes }: Services[string]): ReadonlyMap<string, string> {
    return new Map(
      volumes.map((volume) => {
        const [from = "", to = ""] = volume.split(":");
        return [to, from.startsWith("./state/") ? join(state, from.slice("./state/".length)) : join(COMPOSE, from)];
      }),
    );
  }

  function inHost(service: Services[string], path: string): string {
    for (const [to, from] of mounts(service))
      if (path === to || path.startsWith(`${to}/`)) return from + path.slice(to.length);
    throw new Error(`${path} is mounted by nothing`);
  }

  test("is for its owner alone, and is not made twice", async () => {
    const files = await readdir(state, { recursive: true, withFileTypes: true });
    expect(files.length).toBeGreaterThan(50);
    for (const file of files) {
      const { mode } = await stat(join(file.parentPath, file.name));
      // The trust file holds nothing secret.
      if (file.name !== "trust.json") expect(mode & 0o077, join(file.parentPath, file.name)).toBe(0);
    }
    expect(await readdir(join(state, "keys"))).not.toContain("root.pem");
    expect(await prepare()).toMatchObject({ code: 1, stderr: expect.stringContaining("is there already") });
  });

  test("is what containers mount and their commands name", async () => {
    for (const [name, service] of Object.entries(await composeServices())) {
      for (const from of mounts(service).values()) await expect(stat(from), `${name}: ${from}`).resolves.toBeDefined();
      if (service.image !== "chancery") continue;
      for (const word of wordsOf(service.command)) {
        if (/^\/(tls|keys|nats|resources)/.test(word)) await stat(inHost(service, word));
      }
    }
  });

  test("certificates say who each process is, signed by one authority", async () => {
    const authority = new X509Certificate(await readFile(join(state, "ca/ca.crt")));
    for (const name of await readdir(join(state, "tls"))) {
      const certificate = new X509Certificate(await readFile(join(state, "tls", name, "tls.crt")));
      expect(certificate.verify(authority.publicKey), name).toBe(true);
      expect(certificate.ca, name).toBe(false);
    }
    const identity = async (name: string): Promise<string | undefined> =>
      new X509Certificate(await readFile(join(state, "tls", name, "tls.crt"))).subjectAltName;
    expect(await identity("envoy-us")).toBe("URI:spiffe://chancery.example/node/envoy-us/gateway/edge-us");
    expect(await identity("xds-eu")).toBe("DNS:xds-eu, URI:spiffe://chancery.example/xds");
    expect(await identity("authz-us")).toContain("DNS:authz-us-2, URI:spiffe://chancery.example/authz");
  });

  test("nats-server takes its configurations, and each region has a user at the hub", async () => {
    const services = await composeServices();
    const { path } = await findNatsServer(process.env);
    for (const name of ["hub", ...REGIONS]) {
      const service = services[`nats-${name}`];
      if (service === undefined) throw new Error(`no service nats-${name}`);
      const directory = inHost(service, "/etc/nats");
      for (const file of await readdir(directory)) {
        const text = await readFile(join(directory, file), "utf8");
        if (name === "us") expect(withoutComments(text), file).not.toMatch(/(^|[^A-Za-z])eu([^A-Za-z]|$)/m);
        await writeFile(join(root, file), text.replaceAll("/tls/", `${inHost(service, "/tls")}/`));
      }
      const lines = (await readFile(join(state, "nats", `${name}.env`), "utf8")).trim().split("\n");
      const env = Object.fromEntries(lines.map((line) => line.split("=") as [string, string]));
      const config = join(root, name === "hub" ? "hub.conf" : "region.conf");
      const result = await runProcess(path, ["-t", "-c", config], { env });
      expect(result, result.stderr).toMatchObject({ code: 0 });
    }
    const users = withoutComments(await readFile(join(state, "nats/conf/hub/hub-users.conf"), "utf8"));
    for (const region of REGIONS) {
      expect(users.match(new RegExp(`nkey: \\$${region.toUpperCase()}_NKEY`, "g"))).toHaveLength(1);
      expect(users.match(new RegExp(`"chancery.report.region.${region}.>"`, "g"))).toHaveLength(1);
    }
  });
});
