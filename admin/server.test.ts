import { type IncomingMessage, request } from "node:http";
import { expect, onTestFinished, test } from "vitest";
import { getStatus } from "./client.ts";
import { addRestrictionMetrics, addStatusMetrics, createRegistry } from "./metrics.ts";
import { type AdminServerOptions, startAdminServer } from "./server.ts";
import type { ControlStatus } from "./status.ts";

const STATUS: ControlStatus = {
  revision: { number: 7, digest: "sha256:ab", createdAt: Date.parse("2026-11-21T10:00:00.500Z"), signedBy: ["root-1"] },
  nodes: [
    {
      id: "edge-1",
      cluster: "edge/main",
      nodeGroup: "edge/main",
      envoyVersion: "1.40.0",
      plan: "full",
      connected: true,
      lastSeenAt: 1_000,
      acknowledgedRevision: 6,
      layout: "abc",
      types: [{ typeUrl: "t", resources: 2, sentVersion: "v7", acknowledgedVersion: "v6" }],
      lastRejection: {
        typeUrl: "t",
        resources: ["r"],
        message: "no such filter",
        at: 2_000,
        revision: 7,
        standing: true,
      },
      heldBack: [{ typeUrl: "t", name: "r", revision: 7, scope: "build", since: 2_000 }],
      xdsServer: "eu/xds-1",
      region: "eu",
      stale: false,
    },
  ],
  decisionServices: [
    {
      id: "authz-1",
      activeRevision: 7,
      layouts: ["abc"],
      lastReportAt: 3_000,
      decisions: 42,
      lastError: "",
      region: "",
      stale: true,
    },
  ],
  frozenScopes: [{ scope: "team", problems: ["team/a.yaml:1:2: error: no"] }],
  restrictions: [
    {
      ...{ id: "q-1", kind: "version", value: "team/models@1", reason: "it leaks", by: "alice", until: 9_000 },
      missingIn: ["us/relay"],
    },
  ],
  operationalLog: { entries: 14_000, capacity: 16_384, sequence: 20_000, compactedAt: 5_000 },
  keys: [{ id: "ab", purposes: ["revision", "log"], notAfter: 8_000, signsHere: true }],
};

async function start(options: Partial<AdminServerOptions> = {}) {
  const server = await startAdminServer({
    host: "127.0.0.1",
    port: 0,
    notReady: () => [],
    metrics: createRegistry(),
    ...options,
  });
  onTestFinished(() => server.close());
  return server;
}

test("tells health, readiness and why not", async () => {
  let reasons: string[] = ["no revision yet"];
  const { address } = await start({ notReady: () => reasons });
  expect((await fetch(`http://${address}/healthz`)).status).toBe(200);
  const unready = await fetch(`http://${address}/readyz`);
  expect(unready.status).toBe(503);
  expect(await unready.json()).toEqual({ status: "not ready", reasons: ["no revision yet"] });
  reasons = [];
  expect((await fetch(`http://${address}/readyz`)).status).toBe(200);
});

test("serves metrics of the process and of the fleet", async () => {
  const metrics = createRegistry();
  let status = STATUS;
  addStatusMetrics(metrics, () => status);
  const { address } = await start({ metrics });
  const { headers } = await fetch(`http://${address}/metrics`);
  expect(headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const read = async () => (await fetch(`http://${address}/metrics`)).text();
  expect(await read()).toContain("process_cpu_seconds_total");
  expect(await read()).toContain('chancery_node_acknowledged_revision{node="edge-1",node_group="edge/main"} 6');
  expect(await read()).toContain("chancery_revision 7");
  expect(await read()).toContain('chancery_decision_service_active_revision{service="authz-1"} 7');
  expect(await read()).toContain('chancery_restriction_missing{id="q-1"} 1');
  expect(await read()).toContain('chancery_node_held_back{node="edge-1",node_group="edge/main"} 1');
  expect(await read()).toContain("chancery_log_entries 14000");
  expect(await read()).toContain("chancery_log_capacity 16384");
  const { operationalLog: _, ...without } = STATUS;
  status = { ...without, nodes: [] };
  expect(await read()).not.toContain("edge-1");
  expect(await read()).not.toMatch(/^chancery_log_/m);
});

test("serves what the kill switch of the process holds", async () => {
  const metrics = createRegistry();
  const given = { value: "v", reason: "it leaks", by: "alice", at: "", until: "", signedBy: [] };
  const lifted = { at: "", by: "bob", reason: "over", signedBy: [] };
  const states = [
    { ...given, id: "q-1", kind: "version" as const },
    { ...given, id: "q-2", kind: "version" as const },
    { ...given, id: "q-3", kind: "region" as const, lifted },
  ];
  addRestrictionMetrics(metrics, { states: () => states, refused: () => 3 });
  const { address } = await start({ metrics });
  for (let scrape = 0; scrape < 2; scrape++) {
    const text = await (await fetch(`http://${address}/metrics`)).text();
    expect(text).toContain('chancery_restrictions_active{kind="version"} 2');
    expect(text).not.toContain('kind="region"');
    expect(text).toContain("chancery_restrictions_refused_total 3");
  }
});

test("answers GetStatus as JSON over POST", async () => {
  const { address } = await start({ status: () => STATUS });
  const answer = await fetch(`http://${address}/chancery.admin.v1.AdminService/GetStatus`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  expect(answer.status).toBe(200);
  expect(await answer.json()).toMatchObject({
    revision: { number: "7", digest: "sha256:ab", createdAt: "2026-11-21T10:00:00.500Z", signedBy: ["root-1"] },
    nodes: [{ id: "edge-1", acknowledgedRevision: "6", lastRejection: { message: "no such filter", revision: "7" } }],
    decisionServices: [{ id: "authz-1", decisions: "42" }],
    frozenScopes: [{ scope: "team" }],
    restrictions: [{ id: "q-1", by: "alice", until: "1970-01-01T00:00:09Z", missingIn: ["us/relay"] }],
    operationalLog: { entries: 14_000, capacity: 16_384, sequence: "20000", compactedAt: "1970-01-01T00:00:05Z" },
    keys: [{ id: "ab", purposes: ["revision", "log"], notAfter: "1970-01-01T00:00:08Z", signsHere: true }],
  });
});

test("answers its own client", async () => {
  const { address } = await start({ status: () => STATUS });
  const status = await getStatus({ control: address });
  expect(status.revision?.number).toBe(7n);
  expect(status.nodes[0]?.types[0]?.acknowledgedVersion).toBe("v6");
});

test("has no API where there is no status", async () => {
  const { address } = await start();
  await expect(getStatus({ control: address })).rejects.toMatchObject({ code: "unavailable" });
});

test("demands its token for the API, not for health", async () => {
  const { address } = await start({ status: () => STATUS, token: "secret" });
  await expect(getStatus({ control: address })).rejects.toThrow("a bearer token is needed");
  await expect(getStatus({ control: address, token: "wrong!" })).rejects.toThrow("a bearer token is needed");
  expect((await getStatus({ control: address, token: "secret" })).revision?.number).toBe(7n);
  expect((await fetch(`http://${address}/healthz`)).status).toBe(200);
});

test("refuses a request that was led here under another name", async () => {
  const { address } = await start({ status: () => STATUS });
  const [host, port] = address.split(":");
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    request({ host, port, path: "/healthz", headers: { host: "evil.example" } }, resolve)
      .on("error", reject)
      .end();
  });
  answer.resume();
  // A browser must not take it for a page.
  expect([answer.statusCode, answer.headers["content-type"]]).toEqual([403, "text/plain"]);
});

test("the client says how to ask where the name is refused", async () => {
  const { address } = await start({ status: () => STATUS });
  // A name of this machine that is not one of loopback.
  const control = `0.0.0.0:${address.split(":")[1]}`;
  await expect(getStatus({ control })).rejects.toThrow("ask it by its IP address, or as localhost");
});

test("names the address that it cannot bind", async () => {
  const { address } = await start();
  const port = Number(address.split(":")[1]);
  await expect(start({ port })).rejects.toThrow(`cannot listen on 127.0.0.1:${port}`);
});

test("a control plane that does not answer is unavailable", async () => {
  const server = await start({ status: () => STATUS });
  await server.close();
  await server.close();
  await expect(getStatus({ control: server.address })).rejects.toMatchObject({ code: "unavailable" });
});

test.each([
  ["http://user:MARKER@127.0.0.1:1", "credentials for 127.0.0.1:1 belong in a token file, not in the address"],
  ["ftp://127.0.0.1:1", '"ftp://127.0.0.1:1" is no address: write HOST:PORT, http://HOST:PORT or https://HOST:PORT'],
  ["127.0.0.1:notaport", '"127.0.0.1:notaport" is no address: write HOST:PORT, http://HOST:PORT or https://HOST:PORT'],
])("the client does not ask %s", async (control, message) => {
  await expect(getStatus({ control })).rejects.toMatchObject({ code: "invalid-argument", message });
});
