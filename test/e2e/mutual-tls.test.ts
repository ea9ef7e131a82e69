import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { findEnvoy } from "../../envoy/index.ts";
import { startWebServer, type WebServer } from "../../examples/quickstart/web-server.ts";
import { createCertificateAuthority, type KeyedCertificate } from "../support/certificates.ts";
import { runChancery, startChancery } from "../support/chancery.ts";
import { type RunningEnvoy, startEnvoy } from "../support/envoy.ts";
import { readMetric } from "../support/fleet.ts";
import { freePorts } from "../support/free-port.ts";
import { http } from "../support/http-client.ts";
import { ALLOW_ALL, anonymous, gateway, plainRoute, policy, upstream, yaml } from "../support/resources.ts";
import { save } from "../support/save.ts";
import { waitFor } from "../support/wait-for.ts";

// xDS and decisions off loopback (on every address of this machine): mutual TLS, by the delivered bootstrap.

const WAIT_MS = 60_000;
const XDS_IDENTITY = "spiffe://acme.example/xds";
const AUTHZ_IDENTITY = "spiffe://acme.example/authz";
const authority = createCertificateAuthority("The fleet");
const closing: (() => Promise<unknown>)[] = [];

let root: string;
let web: WebServer;
let url: string;
let xds: string;
let authz: string;
let xdsAdmin: string;
let authzAdmin: string;
let envoy: RunningEnvoy;

/** Into place as certificate agents do it. The key comes first: until both are there, neither side takes them. */
async function place(directory: string, { certificate, privateKey }: KeyedCertificate): Promise<void> {
  const files = { "tls.key": privateKey, "tls.crt": certificate, "ca.crt": authority.certificate };
  for (const [name, text] of Object.entries(files)) await save(join(root, directory), name, text);
}

async function bootstrapOf(nodeId: string, authzIdentity = AUTHZ_IDENTITY): Promise<object> {
  const file = (name: string): string => join(root, nodeId, name);
  const { stdout, stderr } = await runChancery(
    ...["bootstrap", "--gateway", "edge", "--node-id", nodeId, "--admin", "127.0.0.1:0"],
    ...["--xds", xds, "--authz", authz, "--certificate", file("tls.crt"), "--key", file("tls.key")],
    ...["--ca", file("ca.crt"), "--sds-dir", file("sds")],
    ...["--xds-identity", XDS_IDENTITY, "--authz-identity", authzIdentity],
  );
  expect(stderr).toBe("");
  return JSON.parse(stdout);
}

async function startNode(nodeId: string, options: { authzIdentity?: string; ready?: boolean } = {}) {
  const node = await startEnvoy({
    binary: (await findEnvoy(process.env)).path,
    bootstrap: await bootstrapOf(nodeId, options.authzIdentity),
    waitUntilReady: options.ready ?? true,
  });
  closing.push(() => node.close());
  return node;
}

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "chancery-mtls-"));
  web = await startWebServer({ name: "web" });
  closing.push(() => web.close());
  const [port, xdsPort, authzPort, xdsAdminPort, authzAdminPort] = await freePorts(5);
  url = `http://127.0.0.1:${port}/`;
  [xds, authz] = [`127.0.0.1:${xdsPort}`, `127.0.0.1:${authzPort}`];
  [xdsAdmin, authzAdmin] = [`127.0.0.1:${xdsAdminPort}`, `127.0.0.1:${authzAdminPort}`];
  await mkdir(join(root, "tree"));
  await writeFile(
    join(root, "tree", "all.yaml"),
    yaml(
      ...[gateway(port ?? 0), plainRoute("web", "/", { web: 1 }), upstream("web", web.port)],
      ...[anonymous(), policy("rules", ALLOW_ALL)],
    ),
  );
  await place("xds", authority.issue([XDS_IDENTITY]));
  await place("authz", authority.issue([AUTHZ_IDENTITY]));
  const start = async (role: "xds" | "authz", listen: string, admin: string): Promise<void> => {
    const file = (name: string): string => join(root, role, name);
    const child = await startChancery([
      ...[role, "--resources", join(root, "tree"), "--state", join(root, role, "state"), "--log-format", "json"],
      ...["--listen", `0.0.0.0:${listen.split(":")[1]}`, "--admin", admin],
      ...["--tls-certificate", file("tls.crt"), "--tls-key", file("tls.key"), "--client-ca", file("ca.crt")],
    ]);
    closing.push(() => child.close());
    await child.waitForOutput(/^ready /m, WAIT_MS);
  };
  await Promise.all([start("authz", authz, authzAdmin), start("xds", xds, xdsAdmin)]);
  await place("edge-1", authority.issue(["spiffe://acme.example/node/edge-1/gateway/edge"]));
  envoy = await startNode("edge-1");
}, 120_000);

afterAll(async () => {
  for (const close of closing.reverse()) await close();
  await rm(root, { recursive: true, force: true });
});

const answers = async (): Promise<boolean> => (await http(url)).status === 200;

test("a node with its own certificate is served and decided for", async () => {
  await waitFor(answers, WAIT_MS, "an answer through the node");
});

test("a node with the certificate of another gateway, or of another node, gets nothing", async () => {
  await place("edge-2", authority.issue(["spiffe://acme.example/gateway/other"]));
  await place("edge-3", authority.issue(["spiffe://acme.example/node/edge-1/gateway/edge"]));
  for (const nodeId of ["edge-2", "edge-3"]) {
    const node = await startNode(nodeId, { ready: false });
    const refused = async (): Promise<boolean> =>
      ((await node.stats("cluster.chancery_xds.upstream_rq_total"))["cluster.chancery_xds.upstream_rq_total"] ?? 0) > 1;
    await waitFor(refused, WAIT_MS, `${nodeId} to try again after it was refused`);
    expect(await node.listenerPorts()).toEqual({});
    await node.close();
  }
  expect(await readMetric(xdsAdmin, "chancery_xds_connected_nodes")).toBe(1);
});

test("a node asks no decision service whose certificate names somebody else", async () => {
  await place("edge-4", authority.issue(["spiffe://acme.example/node/edge-4/gateway/edge"]));
  // The listener's port is taken by the first node: an Envoy that shares it (SO_REUSEPORT) would take its requests.
  const node = await startNode("edge-4", { authzIdentity: "spiffe://acme.example/somebody", ready: false });
  const failed = async (): Promise<boolean> =>
    Object.entries(await node.stats("cluster.chancery_ext_authz.ssl.fail_verify_san")).some(([, count]) => count > 0);
  await waitFor(failed, WAIT_MS, "the node to refuse the decision service");
  await node.close();
});

test("renewed certificates reach new connections; streams stay", async () => {
  const connections = async (): Promise<number | undefined> =>
    (await envoy.stats("cluster.chancery_xds.upstream_cx_total"))["cluster.chancery_xds.upstream_cx_total"];
  const before = await connections();
  const updates = async (): Promise<number> =>
    Object.entries(await envoy.stats("ssl_context_update_by_sds")).reduce((sum, [, count]) => sum + count, 0);
  const updatesBefore = await updates();

  await place("edge-1", authority.issue(["spiffe://acme.example/node/edge-1/gateway/edge"]));
  await place("authz", authority.issue([AUTHZ_IDENTITY]));
  await waitFor(async () => (await updates()) > updatesBefore, WAIT_MS, "the node to read its renewed certificate");
  expect(await answers()).toBe(true);
  expect(await connections()).toBe(before);
});
