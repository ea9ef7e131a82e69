import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createRegistry, startAdminServer } from "../admin/index.ts";
import { freePort, runChancery, temporaryDirectory } from "../test/support/index.ts";

test("explains itself", async () => {
  const help = await runChancery("--help");
  expect(help.code).toBe(0);
  expect(help.stdout).toContain("Exit codes:");
  expect((await runChancery("--version")).stdout.trim()).toMatch(/^\d+\.\d+\.\d+$/);
});

test.each([
  [["no-such-verb"], "unknown command 'no-such-verb'"],
  [["bootstrap"], "required option '--gateway <key>' not specified"],
  [["bootstrap", "--gateway", "g", "--node-id", "n", "--admin", "nope"], '"nope" is not an address'],
  [["keys", "init", "x", "--days", "0"], "whole number"],
  [["status", "--format", "xml"], "Allowed choices are text, json"],
])("calls %j wrong usage", async (args, message) => {
  const run = await runChancery(...args);
  expect(run.stderr).toContain(message);
  expect(run.code).toBe(2);
});

test("prints the bootstrap of a node", async () => {
  const run = await runChancery(
    ...["bootstrap", "--gateway", "team/edge", "--node-id", "edge-1"],
    ...["--xds", "127.0.0.5:18000", "--authz", "9191,unix:/run/authz.sock", "--region", "eu"],
  );
  expect(run.code).toBe(0);
  const json = JSON.parse(run.stdout);
  expect(json.node).toMatchObject({ id: "edge-1", cluster: "team/edge", locality: { region: "eu" } });
  expect(json.admin.address.socket_address).toEqual({ address: "127.0.0.1", port_value: 9901 });
  const clusters = JSON.stringify(json.static_resources.clusters);
  expect(clusters).toContain("127.0.0.5");
  expect(clusters).toContain("/run/authz.sock");
});

test("a node off loopback must show a certificate", async () => {
  const remote = ["bootstrap", "--gateway", "edge", "--node-id", "edge-1", "--authz", "authz.example:9191"];
  const bare = await runChancery(...remote);
  expect(bare).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining("authz.example:9191 is off") });
  const half = await runChancery(...remote, "--certificate", "tls.crt", "--key", "tls.key");
  expect(half).toMatchObject({ code: 2, stdout: "", stderr: expect.stringContaining("--ca, --sds-dir") });
});

test("rotates keys, and shows what a trust file trusts", async () => {
  const directory = join(await temporaryDirectory("cli"), "keys");
  await runChancery("keys", "init", directory);
  const rotated = await runChancery("keys", "rotate", directory, "--for", "revision", "--for", "log");
  expect(rotated).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^new key .*signing-2\.pem[\s\S]*serial 2$/m),
  });
  const shown = await runChancery("keys", "show", directory);
  expect(shown.stdout).toMatch(/^root [0-9a-f]{16} {2}serial 2 {2}revisions need 1$/m);
  expect(shown.stdout.match(/^key .* valid until /gm)).toHaveLength(2);
  expect(shown.stdout).toContain("revision, log\n");
  const nothing = await runChancery("keys", "rotate", directory, "--retire-only");
  expect(nothing).toMatchObject({ code: 2, stderr: expect.stringContaining("nothing would change") });
});

test("makes NATS users, with seeds that their owner alone reads", async () => {
  const directory = join(await temporaryDirectory("cli"), "nkeys");
  const made = await runChancery("keys", "nats", directory, "control", "eu-west");
  expect(made.stdout).toMatch(/^CONTROL_NKEY=U[A-Z2-7]{55}\nEU_WEST_NKEY=U[A-Z2-7]{55}\n$/);
  const seed = join(directory, "eu-west.nk");
  expect((await stat(seed)).mode & 0o777).toBe(0o600);
  expect(await readFile(seed, "utf8")).toMatch(/^SU[A-Z2-7]{56}\n$/);
  expect(await runChancery("keys", "nats", directory, "../x")).toMatchObject({ code: 2 });
});

test("makes keys once, private ones readable by their owner alone", async () => {
  const directory = join(await temporaryDirectory("cli"), "keys");
  expect((await runChancery("keys", "init", directory)).code).toBe(0);
  expect((await stat(join(directory, "signing-1.pem"))).mode & 0o777).toBe(0o600);
  const trust = await readFile(join(directory, "trust.json"), "utf8");
  expect(trust).not.toContain("PRIVATE");

  const again = await runChancery("keys", "init", directory);
  expect(again.code).toBe(1);
  expect(again.stderr).toContain("is there already");
});

test("shows the status of a control plane, for people and as JSON", async () => {
  const server = await startAdminServer({
    host: "127.0.0.1",
    port: 0,
    notReady: () => [],
    metrics: createRegistry(),
    status: () => ({
      revision: { number: 7, digest: "sha256:ab", createdAt: 1_000, signedBy: ["key-1"] },
      nodes: [
        {
          id: "edge-1",
          cluster: "edge",
          nodeGroup: "edge",
          envoyVersion: "1.40.0",
          plan: "full",
          connected: true,
          lastSeenAt: 2_000,
          acknowledgedRevision: 6,
          layout: "abc",
          types: [],
          lastRejection: {
            typeUrl: "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            resources: ["upstream/web"],
            message: "no such thing",
            at: 3_000,
            revision: 7,
            standing: true,
          },
          heldBack: [
            {
              typeUrl: "type.googleapis.com/envoy.config.cluster.v3.Cluster",
              ...{ name: "upstream/web", revision: 7, scope: "build", since: 3_000 },
            },
          ],
          xdsServer: "",
          region: "",
          stale: false,
        },
      ],
      restrictions: [
        {
          ...{ id: "q-1", kind: "version", value: "team/models@1", reason: "it leaks", by: "alice", until: 9_000 },
          missingIn: ["us/authz-1", "us/relay"],
        },
      ],
      decisionServices: [
        {
          id: "authz-1",
          activeRevision: 7,
          layouts: [],
          lastReportAt: 4_000,
          decisions: 42,
          lastError: "",
          region: "",
          stale: false,
        },
      ],
      frozenScopes: [{ scope: "team", problems: ["team/a.yaml:1:2: error: no"] }],
    }),
  });
  onTestFinished(() => server.close());
  const text = await runChancery("status", "--control", server.address);
  expect(text.code).toBe(0);
  expect(text.stdout).toBe(`revision 7  published 1970-01-01T00:00:01.000Z  signed by key-1
  sha256:ab
restrictions in force:
  q-1  version team/models@1  until 1970-01-01T00:00:09.000Z  by alice: it leaks
    not known to be in force at us/authz-1, us/relay
nodes:
  edge-1  gateway edge  envoy 1.40.0  plan full  connected
    acknowledged revision 6  layout abc
    rejected revision 7 at 1970-01-01T00:00:03.000Z: Cluster upstream/web
      no such thing
    held back (build) since 1970-01-01T00:00:03.000Z: Cluster upstream/web, refused with revision 7
decision services:
  authz-1  revision 7  42 decisions  reported 1970-01-01T00:00:04.000Z
frozen scopes (their last good objects stay in force):
  team
    team/a.yaml:1:2: error: no
`);
  const json = await runChancery("status", "--control", server.address, "--format", "json");
  expect(JSON.parse(json.stdout).nodes[0].acknowledgedRevision).toBe("6");
  expect(JSON.parse(json.stdout).restrictions[0].missingIn).toEqual(["us/authz-1", "us/relay"]);
});

test("says that no control plane answers", async () => {
  const run = await runChancery("status", "--control", `127.0.0.1:${await freePort()}`);
  expect(run.code).toBe(3);
  expect(run.stderr).toContain("no status from");
});
