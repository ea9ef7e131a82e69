import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { pino } from "pino";
import { expect, test } from "vitest";
import {
  closeAtEnd,
  createCertificateAuthority,
  freePort,
  http,
  temporaryDirectory,
  waitFor,
} from "../test/support/index.ts";
import { systemClock } from "./clock.ts";
import { get, portOf, pushes, runs, startNode, startServer, startUpstream } from "./envoy-fixture.ts";
import { openQuarantineMemory } from "./quarantine-memory.ts";
import { brokenRoutes, cluster, endpoints, listener, routes, snapshot } from "./resource-fixture.ts";
import { secretResource } from "./secret-material.ts";
import { createSecretSource } from "./secret-source.ts";
import type { XdsServer } from "./server.ts";
import type { GroupSnapshot } from "./snapshot.ts";

const GOOD = { altStatName: "good" };
const BETTER = { altStatName: "better" };

test("a real Envoy is given everything, and a changed endpoint is in force without anything else being sent", async () => {
  const [one, two] = [await startUpstream("one"), await startUpstream("two")];
  const { server, port, registry } = await startServer(
    snapshot(1, cluster("a"), endpoints("a", one), listener(), routes(["/", "a"])),
  );
  const envoy = await startNode(port);
  await runs(server, 1);
  const edge = await portOf(envoy);
  expect(await get(edge)).toBe("one");
  expect(server.nodes()[0]).toMatchObject({ id: "node-1", group: "edge", plan: "full", envoyVersion: "1.40.0" });
  const before = await pushes(registry);
  server.setSnapshot(snapshot(2, cluster("a"), endpoints("a", two), listener(), routes(["/", "a"])));
  await runs(server, 2);
  expect(await get(edge)).toBe("two");
  expect(await pushes(registry)).toEqual({ ...before, endpoint: (before.endpoint ?? 0) + 1 });
  server.setSnapshot(snapshot(3, cluster("a"), endpoints("a", two), listener(), routes(["/", "a"])));
  await runs(server, 3);
  expect(await pushes(registry)).toEqual({ ...before, endpoint: (before.endpoint ?? 0) + 1 });
});

test("a rejected resource leaves the last good one, is reported, and the next good one is taken", async () => {
  const upstream = await startUpstream("good");
  const base = [cluster("a"), endpoints("a", upstream), listener()];
  const { server, port, registry } = await startServer(snapshot(1, ...base, routes(["/", "a"])));
  const envoy = await startNode(port);
  await runs(server, 1);
  const edge = await portOf(envoy);
  server.setSnapshot(snapshot(2, ...base, brokenRoutes));
  const nack = await waitFor(() => server.nodes()[0]?.lastNack, 10_000, "the refusal");
  expect(nack).toMatchObject({ resources: ["routes"], revision: 2, standing: true });
  expect(nack.message).toMatch(/missing \)|regex/);
  expect(server.nodes()[0]?.acknowledgedRevision).toBe(1);
  expect(await get(edge)).toBe("good");
  const refusals = async () => /chancery_xds_nacks_total\{type="route"\} (\d+)/.exec(await registry.metrics())?.[1];
  expect(await refusals()).toBe("1");

  // A cluster that Envoy takes out of a response that it refuses must go again when nobody wants it.
  const bad = cluster("bad", { transportSocketMatches: [{ name: "x" }, { name: "x" }] });
  server.setSnapshot(snapshot(3, ...base, cluster("ghost"), endpoints("ghost", upstream), bad, routes(["/", "a"])));
  await waitFor(() => server.nodes()[0]?.lastNack?.revision === 3, 10_000, "the refusal of a cluster");
  const has = async (name: string) => (await envoy.admin("/clusters")).includes(`${name}::`);
  await waitFor(() => has("ghost"), 10_000, "a cluster of a refused response");
  server.setSnapshot(snapshot(4, ...base, routes(["/", "a"])));
  await runs(server, 4);
  await waitFor(async () => !(await has("ghost")), 10_000, "the end of the ghost");
  expect(server.nodes()[0]?.lastNack).toMatchObject({ revision: 3, standing: false });
  expect(await refusals()).toBe("1");
  expect(await get(edge)).toBe("good");
});

test("of good and bad in one response the good is in force and the bad is held back, from new nodes of the build, too", async () => {
  const upstream = await startUpstream("good");
  const base = [cluster("a"), endpoints("a", upstream), listener()];
  const { server, port, registry } = await startServer(
    snapshot(1, ...base, cluster("c", GOOD), endpoints("c", upstream), routes(["/", "a"])),
  );
  const envoy = await startNode(port);
  await runs(server, 1);
  const edge = await portOf(envoy);
  // Of these two Envoy takes "b" (it can decode both), and says which it does not take.
  const bad = cluster("c", { transportSocketMatches: [{ name: "x" }, { name: "x" }] });
  const more = [cluster("b"), endpoints("b", upstream)];
  server.setSnapshot(snapshot(2, ...base, ...more, bad, endpoints("c", upstream), routes(["/", "a"], ["/b", "b"])));
  await waitFor(() => server.nodes()[0]?.heldBack[0], 10_000, "what is held back");
  // Of these it takes none (one cannot be decoded), and does not say why.
  const worse = cluster("d", { connectTimeout: "-1s" });
  const still = [cluster("e"), endpoints("e", upstream), cluster("f"), endpoints("f", upstream)];
  const third = [...base, ...more, ...still, bad, worse, endpoints("c", upstream)];
  server.setSnapshot(snapshot(3, ...third, routes(["/", "a"], ["/e", "e"], ["/f", "f"])));
  await waitFor(
    () => server.nodes()[0]?.heldBack.length === 2,
    10_000,
    () => JSON.stringify(server.nodes(), null, 1),
  );
  const answers = async (gateway: number) => [await get(gateway, "/e"), await get(gateway, "/f"), await get(gateway)];
  await waitFor(async () => (await answers(edge)).every((text) => text === "good"), 10_000, "the good ones");
  const [state] = server.nodes();
  expect(state?.heldBack).toMatchObject([
    { name: "c", revision: 2, scope: "build" },
    { name: "d", revision: 3, scope: "build" },
  ]);
  expect(state?.heldBack[0]?.message).toContain("cluster(s) c: ");
  expect(state?.acknowledgedRevision).toBe(1);
  expect(state?.lastNack?.standing).toBe(true);
  const refusals = async () => /chancery_xds_nacks_total\{type="cluster"\} (\d+)/.exec(await registry.metrics())?.[1];
  const before = await refusals();

  // A node that is new has the last good "c", never what others of its build refused.
  const other = await startNode(port, "node-2");
  const otherEdge = await portOf(other);
  await waitFor(async () => (await answers(otherEdge)).every((text) => text === "good"), 10_000, "the new node");
  expect(await other.admin("/clusters")).toContain("c::");
  expect(await refusals()).toBe(before);

  server.setSnapshot(
    snapshot(4, ...base, ...more, ...still, cluster("c", BETTER), endpoints("c", upstream), routes(["/", "a"])),
  );
  await waitFor(() => server.nodes().every((node) => node.acknowledgedRevision === 4), 10_000, "revision 4 everywhere");
  expect(server.nodes().flatMap((node) => node.heldBack)).toEqual([]);
  expect(await refusals()).toBe(before);
});

test("after a restart of the server a changed listener gets its secret, which did not change", async () => {
  const authority = createCertificateAuthority();
  const { certificate, privateKey } = authority.issue(["edge.example"]);
  const upstream = await startUpstream("secure");
  const pair = { certificate: Buffer.from(certificate), privateKey: Buffer.from(privateKey) };
  const key = secretResource("edge-cert", { type: "tls", ...pair });
  const content = (revision: number, stat: string) =>
    snapshot(revision, cluster("a"), endpoints("a", upstream), listener("edge-cert", stat), routes(["/", "a"]));
  const start = async (first: GroupSnapshot, port = 0) => {
    const running = await startServer(first, port);
    running.server.setSecrets(new Map([["edge-cert", key]]));
    return running;
  };
  const before = await start(content(1, "first"));
  const envoy = await startNode(before.port);
  await runs(before.server, 1);
  const edge = await portOf(envoy);
  await before.server.close();
  const after = await start(content(1, "first"), before.port);
  await runs(after.server, 1);
  after.server.setSnapshot(content(2, "second"));
  await runs(after.server, 2);
  const warm = async () => {
    const dump = await envoy.admin("/config_dump?resource=dynamic_listeners");
    return dump.includes('"second"') && !dump.includes("warming_state");
  };
  await waitFor(warm, 10_000, "the new listener in force");
  const answer = await http(`https://127.0.0.1:${edge}/`, { ca: authority.certificate, servername: "edge.example" });
  expect(answer.text()).toBe("secure");
});

test("a cluster goes after the route that used it, and no request fails on the way", async () => {
  const [one, two] = [await startUpstream("one"), await startUpstream("two")];
  const { server, port } = await startServer(
    snapshot(1, cluster("a"), endpoints("a", one), listener(), routes(["/", "a"])),
  );
  const envoy = await startNode(port);
  await runs(server, 1);
  const edge = await portOf(envoy);
  const answers: (readonly [status: number, text: string])[] = [];
  const ask = async () => {
    const answer = await http(`http://127.0.0.1:${edge}/`);
    answers.push([answer.status, answer.text()]);
    return answer.text();
  };
  await ask();
  server.setSnapshot(snapshot(2, cluster("b"), endpoints("b", two), listener(), routes(["/", "b"])));
  await waitFor(async () => (await ask()) === "two", 10_000, "the new route");
  await waitFor(
    async () => {
      await ask();
      return !(await envoy.admin("/clusters")).includes("a::");
    },
    10_000,
    "the end of the old cluster",
  );
  expect(answers.filter(([status]) => status !== 200)).toEqual([]);
});

test("after a restart of the server Envoy reconnects, keeps serving, and nothing needless is sent", async () => {
  const [one, two] = [await startUpstream("one"), await startUpstream("two")];
  const same = snapshot(1, cluster("a"), endpoints("a", one), listener(), routes(["/", "a"]));
  const before = await startServer(same);
  const envoy = await startNode(before.port);
  await runs(before.server, 1);
  const edge = await portOf(envoy);
  await before.server.close();
  expect(await get(edge)).toBe("one");
  const after = await startServer(same, before.port);
  await runs(after.server, 1);
  expect(await pushes(after.registry)).toEqual({});
  after.server.setSnapshot(snapshot(2, cluster("a"), endpoints("a", two), listener(), routes(["/", "a"])));
  await runs(after.server, 2);
  expect(await get(edge)).toBe("two");
  expect(await pushes(after.registry)).toEqual({ endpoint: 1 });
});

test("a listener that moves to a port that is taken stays where it was", async () => {
  const [upstream, free] = [await startUpstream("good"), await freePort()];
  const base = [cluster("a"), endpoints("a", upstream), routes(["/", "a"])];
  const on = (port: number) => listener(undefined, "edge", { name: `edge-${port}`, port });
  const { server, port } = await startServer(snapshot(1, ...base, on(free)));
  const envoy = await startNode(port);
  await runs(server, 1);
  server.setSnapshot(snapshot(2, ...base, on(upstream)));
  const nack = await waitFor(() => server.nodes()[0]?.lastNack, 10_000, "the refusal");
  expect(nack.message).toContain("in use");
  await waitFor(async () => Object.keys(await envoy.listenerPorts()).join() === `edge-${free}`, 10_000, "the old port");
  expect(await get(free)).toBe("good");
  expect(server.nodes()[0]).toMatchObject({ acknowledgedRevision: 1, heldBack: [{ name: `edge-${upstream}` }] });
});

test("a restarted server sends no node what it refused, keeps it on its last good, and takes new content up", async () => {
  const state = await temporaryDirectory("held-back");
  const log = pino({ level: "silent" });
  const upstream = await startUpstream("good");
  const base = [cluster("a"), endpoints("a", upstream), listener()];
  const bad = cluster("new", { transportSocketMatches: [{ name: "x" }, { name: "x" }] });
  const refused = snapshot(2, ...base, brokenRoutes, bad);
  const memory = await openQuarantineMemory(state, log);
  const { server, port } = await startServer(snapshot(1, ...base, routes(["/", "a"])), 0, { quarantineMemory: memory });
  const envoy = await startNode(port);
  await runs(server, 1);
  server.setSnapshot(refused);
  const held = (of: XdsServer) =>
    of
      .nodes()[0]
      ?.heldBack.map(({ name }) => name)
      .sort();
  await waitFor(() => held(server)?.length === 2, 10_000, "two refusals");
  await server.close(0);
  await memory.close();

  const again = await openQuarantineMemory(state, log);
  closeAtEnd(again);
  // Nothing is known of what was before, but for what is on disk.
  const second = await startServer(refused, port, { quarantineMemory: again });
  await waitFor(() => second.server.nodes()[0]?.connected, 10_000, "the node");
  // With this, whatever it was to be sent before has been.
  second.server.setSnapshot(snapshot(3, ...base, brokenRoutes, bad, cluster("b"), endpoints("b", upstream)));
  await waitFor(async () => (await envoy.admin("/clusters")).includes("b::"), 10_000, "another cluster");
  expect(held(second.server)).toEqual(["new", "routes"]);
  expect(second.server.nodes()[0]).not.toHaveProperty("lastNack");
  expect(await get(await portOf(envoy))).toBe("good");
  second.server.setSnapshot(snapshot(4, ...base, routes(["/", "b"]), cluster("b"), endpoints("b", upstream)));
  await runs(second.server, 4);
  expect(held(second.server)).toEqual([]);
  expect(await get(await portOf(envoy))).toBe("good");
  await waitFor(async () => (await readdir(state)).every((name) => !name.endsWith(".json")), 10_000, "an empty memory");
});

test("a certificate comes by SDS, and a changed file is served without a restart or a new listener", async () => {
  const root = await mkdtemp(join(tmpdir(), "chancery-sds-"));
  closeAtEnd({ close: () => rm(root, { recursive: true, force: true }) });
  const authority = createCertificateAuthority();
  const write = async (name: string) => {
    const { certificate, privateKey } = authority.issue([name]);
    await writeFile(join(root, "key.pem"), privateKey, { mode: 0o600 });
    await writeFile(join(root, "crt.pem"), certificate);
  };
  await write("first.example");
  const upstream = await startUpstream("secure");
  const { server, port, registry } = await startServer(
    snapshot(1, cluster("a"), endpoints("a", upstream), listener("edge-cert"), routes(["/", "a"])),
  );
  const source = await createSecretSource({
    root,
    references: [{ name: "edge-cert", type: "tls", certificateFile: "crt.pem", privateKeyFile: "key.pem" }],
    log: pino({ level: "silent" }),
    clock: systemClock,
    pollMs: 100,
    onChange: (secrets) => server.setSecrets(secrets),
  });
  closeAtEnd(source);
  const envoy = await startNode(port);
  await runs(server, 1);
  const edge = await portOf(envoy);
  const subject = () =>
    new Promise<string | undefined>((resolve, reject) => {
      const socket = connect({
        port: edge,
        host: "127.0.0.1",
        ca: authority.certificate,
        checkServerIdentity: () => undefined,
      });
      socket.once("secureConnect", () => {
        const name = socket.getPeerCertificate().subject.CN;
        socket.destroy();
        resolve(Array.isArray(name) ? name[0] : name);
      });
      socket.once("error", reject);
    });
  expect(await waitFor(subject, 10_000, "a TLS listener")).toBe("first.example");
  const before = await pushes(registry);
  await write("second.example");
  await waitFor(async () => (await subject()) === "second.example", 10_000, "the new certificate");
  expect((await pushes(registry)).listener).toBe(before.listener);
  expect(JSON.stringify(server.nodes()) + (await envoy.admin("/config_dump"))).not.toContain("PRIVATE KEY");
});

test("a real Envoy takes what comes in parts, after a reconnect and a refusal of one of them, too", async () => {
  const upstream = await startUpstream("parts");
  const many = (content: object, count = 40) =>
    Array.from({ length: count }, (_, index) => [
      cluster(`c${index}`, { ...content }),
      endpoints(`c${index}`, upstream),
    ]).flat();
  const base = [listener(), routes(["/", "c39"])];
  // About ten clusters in a part.
  const settings = { maxResponseBytes: 2_048 };
  const first = await startServer(snapshot(1, ...many(GOOD), ...base), 0, { settings });
  const envoy = await startNode(first.port);
  await runs(first.server, 1);
  const edge = await portOf(envoy);
  expect(await get(edge)).toBe("parts");
  const once = (await pushes(first.registry)).cluster ?? 0;
  expect(once).toBeGreaterThan(3);
  first.server.setSnapshot(snapshot(2, ...many(BETTER), ...base));
  await runs(first.server, 2);
  expect((await pushes(first.registry)).cluster).toBeGreaterThanOrEqual(2 * once);
  await first.server.close(0);

  // It claims what it has: nothing but what differs is sent.
  const second = await startServer(snapshot(2, ...many(BETTER), ...base), first.port, { settings });
  await runs(second.server, 2);
  expect((await pushes(second.registry)).cluster ?? 0).toBe(0);
  const bad = cluster("c0", { transportSocketMatches: [{ name: "x" }, { name: "x" }] });
  second.server.setSnapshot(snapshot(3, ...many(GOOD).slice(1), bad, ...base));
  await waitFor(() => second.server.nodes()[0]?.heldBack[0]?.name === "c0", 10_000, "the refusal of one part");
  await waitFor(
    async () => (await envoy.admin("/config_dump?resource=dynamic_active_clusters")).split('"good"').length === 40,
    10_000,
    "the other parts",
  );
  expect(await get(edge)).toBe("parts");
});

test("a real Envoy reports the load of its clusters", async () => {
  const upstream = await startUpstream("here");
  const first = snapshot(1, cluster("a"), endpoints("a", upstream), listener(), routes(["/", "a"]));
  const { server, port, registry } = await startServer(first, 0, { settings: { loadReportMs: 100 } });
  const service = { envoy_grpc: { cluster_name: "xds" } };
  const load_stats_config = { api_type: "GRPC", transport_api_version: "V3", grpc_services: [service] };
  const envoy = await startNode(port, "node-1", { cluster_manager: { load_stats_config } });
  await runs(server, 1);
  const edge = await portOf(envoy);
  // It counts from when it is asked to.
  const asked = async () => /load_reporter\.responses: [1-9]/.test(await envoy.admin("/stats?filter=load_reporter"));
  await waitFor(asked, 10_000, "the demand for reports");
  for (let count = 0; count < 5; count++) expect(await get(edge)).toBe("here");
  await waitFor(
    () => server.loads()[0]?.successful === 5,
    10_000,
    () => JSON.stringify(server.loads()),
  );
  expect(server.loads()).toMatchObject([{ group: "edge", cluster: "a", successful: 5, failed: 0, nodes: 1 }]);
  expect(await registry.metrics()).toContain(
    'chancery_xds_cluster_requests_total{cluster="a",locality="//",outcome="successful"} 5',
  );
  await envoy.close();
  await waitFor(() => server.loads()[0]?.nodes === 0, 10_000, "the end of the reports");
});
