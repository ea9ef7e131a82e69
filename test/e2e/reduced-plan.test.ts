import { create, type JsonObject } from "@bufbuild/protobuf";
import { beforeAll, beforeEach, expect, test } from "vitest";
import { startModelServer } from "../../examples/quickstart/model-server.ts";
import type { StandIn } from "../../examples/quickstart/stand-in.ts";
import { startWebServer } from "../../examples/quickstart/web-server.ts";
import { type CheckResponse, CheckResponseSchema } from "../../protos/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { type Fleet, startFleet } from "../support/fleet.ts";
import { freePorts, type HttpAnswer, http, olderEnvoy, runChancery, waitFor } from "../support/index.ts";
import {
  ALLOW_ALL,
  apiKey,
  application,
  approval,
  gateway,
  model,
  modelRoute,
  plainRoute,
  policy,
  upstream,
  version,
  yaml,
} from "../support/resources.ts";
import { createDecisionClient, type DecisionClient, startScriptedAuthz } from "../support/scripted-authz.ts";

/**
 * An Envoy 1.39, which cannot go from pool to pool: `atlas` has v2 before v1, `dead` a newer version on a port where
 * nobody listens, `orion` runs in the US only. It asks a scripted decision service, which passes on what the real one says.
 */
const CALLER = apiKey("caller");
const servers = new Map<string, StandIn>();
let fleet: Fleet | undefined;
let missing = "";
let real: DecisionClient;
let scripted: Awaited<ReturnType<typeof startScriptedAuthz>>;
let base = "";

beforeAll(async () => {
  const binary = await olderEnvoy("1.39.3").catch((error: unknown) => {
    missing = `no Envoy 1.39.3: ${error}`;
  });
  if (binary === undefined) return;
  const [port = 0, closed = 0] = await freePorts(2);
  base = `http://127.0.0.1:${port}`;
  for (const name of ["v1", "v2", "us"]) servers.set(name, await startModelServer({ name, port: 0 }));
  for (const name of ["web-a", "web-b"]) servers.set(name, await startWebServer({ name }));
  scripted = await startScriptedAuthz();
  const allowed = ["atlas-v1", "atlas-v2", "orion-v1", "dead-v1", "dead-v2"];
  fleet = await startFleet({
    envoy: binary,
    decisionServices: 1,
    extAuthz: [scripted.address],
    resources: {
      "tree.yaml": yaml(
        gateway(port),
        ...[...servers].map(([name, server]) => upstream(name, server.port)),
        ...[upstream("nobody", closed), modelRoute("atlas", "orion", "dead")],
        ...[model("atlas", "maxAttempts: 3"), version("atlas", "v1", "v1"), version("atlas", "v2", "v2")],
        ...[model("orion"), version("orion", "v1", "us", { country: "US" })],
        ...[model("dead", "maxAttempts: 3"), version("dead", "v1", "v1"), version("dead", "v2", "nobody")],
        ...[plainRoute("web", "/web", { "web-a": 50, "web-b": 50 }), plainRoute("down", "/down", { nobody: 1 })],
        application("caller", CALLER.sha256, "jurisdictions: [EU]"),
        ...allowed.map((of) => approval(of, "caller")),
        policy(
          "rules",
          ALLOW_ALL,
          `{ id: blocked, effect: deny, when: 'request.url_path == "/web/blocked"', reason: Not this one }`,
          `{ id: not-b, effect: restrict, when: 'request.url_path == "/web/only-a"', require: 'target.upstream != "web-b"', reason: Only a }`,
        ),
        policy(
          "orion-in-eu",
          "{ id: use-atlas, effect: reroute, to: { model: atlas }, reason: orion is US only }",
        ).replace("spec:", "spec:\n  targetRef: { kind: Model, name: orion }"),
      ),
    },
  });
  real = createDecisionClient(fleet.decisionAddress(0));
  return async () => {
    real.close();
    await fleet?.close();
    await scripted.close();
    await Promise.all([...servers.values()].map((server) => server.close()));
  };
}, 180_000);

beforeEach(({ skip }) => {
  if (missing !== "") skip(missing);
  scripted.answerWith((request) => real.check(request));
  for (const server of servers.values()) {
    server.setBehaviour({});
    server.resetStats();
  }
});

function running(): Fleet {
  if (fleet === undefined) throw new Error("no fleet");
  return fleet;
}

const authorization = { authorization: `Bearer ${CALLER.key}` };
const chat = (name: string, more: object = {}) =>
  http(`${base}/v1/chat/completions`, {
    headers: authorization,
    body: { model: name, messages: [{ role: "user", content: "hello" }], ...more },
  });
const web = (path: string) => http(`${base}${path}`, { headers: authorization });
const servedBy = (answer: HttpAnswer) => answer.json<{ served_by?: { name: string } }>().served_by?.name;
/** Servers that got a request. */
const reached = () => [...servers].flatMap(([name, server]) => (server.stats().requests > 0 ? [name] : []));

function recordOf(answer: HttpAnswer) {
  const id = answer.headers["x-chancery-decision"];
  return running().record(typeof id === "string" ? id : "");
}

test("it is shown with its plan, and what follows from it", async () => {
  const node = await runChancery("status", "edge-1", "--xds-admin", running().xdsAdmin);
  expect(node.stdout).toContain("envoy 1.39.3  plan reduced  connected");
  expect(node.stdout).toMatch(/lacks \S+priority_group: its requests go to the first pool/);
  expect(node.stdout).not.toContain("not-asked-for");
  expect(node.stdout).toMatch(/RouteConfiguration: 1 in force/);
});

test("allows: the first pool of the decision answers, whole and streamed, with the name on its wire", async () => {
  const answer = await chat("atlas");
  expect([answer.status, servedBy(answer)]).toEqual([200, "v2"]);
  expect(answer.json()).toMatchObject({ served_by: { model: "wire-atlas-v2" } });
  const record = await recordOf(answer);
  expect(record).toMatchObject({ effect: "allow", plan: "reduced", targets: ["model/atlas-v2-on-v2"] });
  const streamed = await chat("atlas", { stream: true });
  expect(streamed.status).toBe(200);
  expect(streamed.text()).toContain("[DONE]");
  expect(reached()).toEqual(["v2"]);
});

test("reroutes: another model answers, and what was asked for hears nothing of it", async () => {
  const answer = await chat("orion");
  expect([answer.status, servedBy(answer)]).toEqual([200, "v2"]);
  expect(await recordOf(answer)).toMatchObject({ rerouted: [{ rule: "orion-in-eu/use-atlas" }] });
  expect(reached()).toEqual(["v2"]);
});

test("denies, and answers nobody who is not known", async () => {
  expect((await web("/web/blocked")).json()).toMatchObject({ error: { code: "denied", rule: "rules/blocked" } });
  expect((await http(`${base}/web/x`)).status).toBe(401);
  expect((await http(`${base}/elsewhere`, { headers: authorization })).status).toBe(404);
  expect(reached()).toEqual([]);
});

test("weighs the backends of a plain route, and leaves out those that may not answer", async () => {
  await waitFor(async () => (await web("/web/x")).status === 200 && reached().length === 2, 20_000, "both backends");
  for (const name of ["web-a", "web-b"]) servers.get(name)?.resetStats();
  for (let index = 0; index < 10; index += 1) expect((await web("/web/only-a")).status).toBe(200);
  expect(reached()).toEqual(["web-a"]);
});

test("a first pool that is dead is a clear 503, and no other pool is tried", async () => {
  for (const answer of [await chat("dead"), await web("/down/x")]) {
    expect(answer.status).toBe(503);
    expect(answer.json()).toMatchObject({ error: { code: "unavailable" } });
    expect(await recordOf(answer)).toMatchObject({ effect: "allow", plan: "reduced" });
  }
  servers.get("v2")?.setBehaviour({ status: 500 });
  expect((await chat("atlas")).status).toBe(500);
  expect(reached()).toEqual(["v2"]);
});

/** An allow with these metadata. */
function allow(dynamicMetadata: JsonObject): CheckResponse {
  const headers = [{ header: { key: "x-chancery-decision", value: "forged" } }];
  return create(CheckResponseSchema, {
    status: { code: 0 },
    httpResponse: { case: "okResponse", value: { headers } },
    dynamicMetadata,
  });
}

test.for<[string, JsonObject | undefined, number]>([
  // An answer without anything looks like that of a gateway without a route; the floor refuses it, too.
  ["nothing", undefined, 404],
  ["a pool that is not on the list of legal ones", { first: "upstream/web-b", legal: ["upstream/web-a"] }, 403],
  ["a pool that the route has not", { first: "model/atlas-v2-on-v2", legal: ["model/atlas-v2-on-v2"] }, 403],
  ["the blackhole", { first: "chancery_blackhole", legal: ["chancery_blackhole"] }, 403],
  ["a list in place of a name", { first: ["upstream/web-a"], legal: ["upstream/web-a"] }, 403],
  ["no pool", { legal: ["upstream/web-a"], priority_groups: [{ name: "upstream/web-a" }] }, 403],
  ["another route", { first: "upstream/web-a", legal: ["upstream/web-a"], route: "chat/0/0" }, 403],
])("a decision that names %s reaches nobody", async ([, metadata, status]) => {
  const forged = { decision: "allow", decision_id: "forged", route: "web/0/0", mode: "plain" };
  const whole = create(CheckResponseSchema, { status: { code: 0 } });
  scripted.answerWith(() => (metadata === undefined ? whole : allow({ ...forged, ...metadata })));
  expect((await web("/web/x")).status).toBe(status);
  scripted.answerWith(() => allow({ ...forged, first: "upstream/web-a", legal: ["upstream/web-a"] }));
  expect((await web("/web/x")).status).toBe(200);
  expect(reached()).toEqual(["web-a"]);
});

test("no client names the pool by headers of its own", async () => {
  const headers = { ...authorization, "x-chancery-first": "model/atlas-v1-on-v1", "x-chancery-decision": "allow" };
  const body = { model: "atlas", messages: [] };
  expect(servedBy(await http(`${base}/v1/chat/completions`, { headers, body }))).toBe("v2");
});

test("without a decision service nothing passes", async () => {
  scripted.answerWith(() => Promise.reject(new Error("away")));
  expect((await chat("atlas")).status).toBe(503);
  expect(reached()).toEqual([]);
});

test("the kill switch moves requests to the version that may still answer, then ends them", async () => {
  const quarantine = (name: string) => `
apiVersion: chancery.dev/v1
kind: Quarantine
metadata: { name: ${name} }
spec: { targetRef: { kind: ModelVersion, name: atlas-${name} }, reason: incident 7 }`;
  await running().write("quarantine.yaml", quarantine("v2"));
  await waitFor(async () => servedBy(await chat("atlas")) === "v1", 20_000, "the older version");
  await running().write("quarantine.yaml", yaml(quarantine("v2"), quarantine("v1")));
  await waitFor(async () => (await chat("atlas")).status === 403, 20_000, "a refusal");
});
