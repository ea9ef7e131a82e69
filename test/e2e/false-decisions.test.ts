import { request as openRequest } from "node:http";
import { clone, create, type JsonObject } from "@bufbuild/protobuf";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startModelServer } from "../../examples/quickstart/model-server.ts";
import type { StandIn } from "../../examples/quickstart/stand-in.ts";
import { startWebServer } from "../../examples/quickstart/web-server.ts";
import {
  type CheckRequest,
  CheckRequestSchema,
  type CheckResponse,
  CheckResponseSchema,
} from "../../protos/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { StatusCode } from "../../protos/gen/envoy/type/v3/http_status_pb.ts";
import { type Fleet, startFleet } from "../support/fleet.ts";
import { freePort } from "../support/free-port.ts";
import { http } from "../support/http-client.ts";
import {
  ALLOW_ALL,
  anonymous,
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
import {
  createDecisionClient,
  type DecisionClient,
  type ScriptedAuthz,
  startScriptedAuthz,
} from "../support/scripted-authz.ts";
import { waitFor } from "../support/wait-for.ts";

// What Envoy does when it is told something that the decision service would not say: it asks a scripted one, which
// forges, swaps and garbles the answers of the real one. Nothing may reach a target by it.

let scripted: ScriptedAuthz;
let real: DecisionClient;
let fleet: Fleet;
let base: string;
let general: StandIn;
let payments: StandIn;
let primary: StandIn;
let other: StandIn;

const GENERAL = "general/0/0";
const PAYMENTS = "payments/0/0";
const NOBODY = { general: 0, payments: 0, primary: 0, other: 0 };

/** @param timeout  of the plain route */
function resources(timeout: string): string {
  return yaml(
    gateway(Number(new URL(base).port)),
    ...[upstream("general", general.port), upstream("payments", payments.port)],
    ...[upstream("primary", primary.port), upstream("other", other.port)],
    ...[
      plainRoute("general", "/api", { general: 1 }).replace(
        "rules:\n    - ",
        `rules:\n    - timeouts: { request: ${timeout} }\n      `,
      ),
      plainRoute("payments", "/api/payments", { payments: 1 }),
    ],
    ...[model("chat"), version("chat", "v2", "primary"), version("chat", "v1", "other")],
    modelRoute("chat"),
    anonymous(),
    approval("chat-v2", "visitors"),
    policy("all", ALLOW_ALL),
    policy("payments", "{ id: closed, effect: deny, reason: Closed }").replace(
      "spec:",
      "spec:\n  targetRef: { kind: HTTPRoute, name: payments }",
    ),
  );
}

beforeAll(async () => {
  const port = await freePort();
  base = `http://127.0.0.1:${port}`;
  general = await startWebServer({ name: "general" });
  payments = await startWebServer({ name: "payments" });
  primary = await startModelServer({ name: "primary" });
  other = await startModelServer({ name: "other" });
  scripted = await startScriptedAuthz();
  fleet = await startFleet({
    decisionServices: 1,
    extAuthz: [scripted.address],
    resources: { "all.yaml": resources("20s") },
  });
  real = createDecisionClient(fleet.decisionAddress(0));
  await honest();
});

afterAll(async () => {
  real?.close();
  await fleet?.close();
  await scripted?.close();
  await Promise.all([general, payments, primary, other].map((standIn) => standIn?.close()));
});

beforeEach(() => {
  for (const standIn of [general, payments, primary, other]) standIn.resetStats();
});

const reached = () => ({
  general: general.stats().requests,
  payments: payments.stats().requests,
  primary: primary.stats().requests,
  other: other.stats().requests,
});
const api = () => http(`${base}/api/x`, { method: "POST", body: {} });
const pay = () => http(`${base}/api/payments/x`, { method: "POST", body: {} });
const chat = () => http(`${base}/v1/chat/completions`, { body: { model: "chat", messages: [] } });

/** The scripted service says what the real one says. */
async function honest(): Promise<void> {
  scripted.answerWith((request) => real.check(request));
  expect((await api()).status).toBe(200);
}

/** The same Check, said to come from another route. */
function onRoute(request: CheckRequest, route: string): CheckRequest {
  const changed = clone(CheckRequestSchema, request);
  if (changed.attributes !== undefined) changed.attributes.contextExtensions.route = route;
  return changed;
}

/** An allow, with these metadata. */
function allow(metadata: JsonObject | undefined, header = true): CheckResponse {
  return create(CheckResponseSchema, {
    status: { code: 0 },
    httpResponse: {
      case: "okResponse",
      value: header ? { headers: [{ header: { key: "x-chancery-decision", value: "forged" } }] } : {},
    },
    ...(metadata === undefined ? {} : { dynamicMetadata: metadata }),
  });
}

const FORGED: JsonObject = {
  decision: "allow",
  decision_id: "forged",
  route: GENERAL,
  legal: ["upstream/general"],
  priority_groups: [{ name: "upstream/general" }],
  mode: "plain",
};

it("takes honest decisions, forged ones that are right among them", async () => {
  scripted.answerWith((request) => real.check(request));
  expect((await api()).status).toBe(200);
  expect((await chat()).status).toBe(200);
  const denied = await pay();
  expect(denied.status).toBe(403);
  expect(denied.json()).toMatchObject({ error: { code: "denied", rule: "payments/closed" } });
  scripted.answerWith(() => allow(FORGED));
  expect((await api()).status).toBe(200);
  expect(reached()).toEqual({ ...NOBODY, general: 2, primary: 1 });
});

describe("a decision of the less specific route", () => {
  it("is an allow, and opens nothing on the more specific one", async () => {
    const answers: CheckResponse[] = [];
    scripted.answerWith(async (request) => {
      const answer = await real.check(onRoute(request, GENERAL));
      answers.push(answer);
      return answer;
    });
    const refused = await pay();
    // The real service was asked directly, with the context of the other route, and allowed it: for that route.
    expect(answers[0]?.status?.code).toBe(0);
    expect(answers[0]?.dynamicMetadata).toMatchObject({ decision: "allow", route: GENERAL });
    expect(refused.status).toBe(403);
    expect(refused.json()).toMatchObject({ error: { code: "no_decision" } });
    expect(reached()).toEqual(NOBODY);
  });

  it("does not open a model route, nor the other way round", async () => {
    scripted.answerWith((request) => real.check(onRoute(request, GENERAL)));
    expect((await chat()).status).toBe(403);
    scripted.answerWith(async (request) => {
      const answer = await real.check(onRoute(request, "chat/0/0"));
      return answer.status?.code === 0
        ? answer
        : allow({ ...FORGED, route: "chat/0/0", mode: "whole", legal: ["model/chat-v2-on-primary"] });
    });
    expect((await api()).status).toBe(403);
    expect(reached()).toEqual(NOBODY);
  });

  it("opens nothing where its route is forged, since its pools are not of this route", async () => {
    scripted.answerWith(() => allow({ ...FORGED, route: PAYMENTS }));
    expect((await pay()).status).toBe(503);
    expect(reached()).toEqual(NOBODY);
  });

  it("is refused by a decision service that does not know the route or the layout", async () => {
    for (const [route, code] of [
      ["nobody/0/0", "unknown_route"],
      ["", "unknown_route"],
    ] as const) {
      scripted.answerWith((request) => real.check(onRoute(request, route)));
      const answer = await api();
      expect(answer.status).toBe(503);
      expect(answer.json()).toMatchObject({ error: { code } });
    }
    scripted.answerWith((request) => {
      const changed = onRoute(request, GENERAL);
      if (changed.attributes !== undefined) changed.attributes.contextExtensions.layout = "0".repeat(32);
      return real.check(changed);
    });
    expect((await api()).json()).toMatchObject({ error: { code: "unknown_layout" } });
    expect(reached()).toEqual(NOBODY);
  });
});

const groups = (...names: string[]) => names.map((name) => ({ name }));
const ok = { case: "okResponse", value: {} } as const;
const body = { status: { code: StatusCode.OK }, body: "ok" };

it.each<[string, CheckResponse, number]>([
  // As where no route matches: nobody has decided.
  ["an empty CheckResponse", create(CheckResponseSchema), 404],
  ["OK and no more", create(CheckResponseSchema, { status: { code: 0 }, httpResponse: ok }), 404],
  ["OK with the header, without metadata", allow(undefined), 404],
  ["metadata without the header", allow(FORGED, false), 403],
  ["OK with a body of a refusal", answerOf(0, "deniedResponse"), 404],
  ["OK with an error", answerOf(0, "errorResponse"), 404],
  ["a decision without a route", allow({ ...FORGED, route: "" }), 403],
  ["a decision for a prefix of the route", allow({ ...FORGED, route: "general/0" }), 403],
  ["no legal pools", allow({ ...FORGED, legal: [] }), 403],
  ["legal pools that are a text", allow({ ...FORGED, legal: "upstream/general" }), 403],
  ["a pool that is not legal", allow({ ...FORGED, legal: ["upstream/payments"] }), 403],
  ["no pools", allow({ ...FORGED, priority_groups: [] }), 503],
  ["pools that are a text", allow({ ...FORGED, priority_groups: "upstream/general" }), 503],
  ["an unknown pool", allow({ ...FORGED, priority_groups: groups("upstream/nobody") }), 503],
  ["a pool of another route", allow({ ...FORGED, priority_groups: groups("upstream/payments") }), 503],
  [
    "a pool that hides another cluster",
    allow({
      ...FORGED,
      priority_groups: [
        { name: "upstream/general", clusters: [{ cluster_name: "upstream/payments", weight: 1 }] },
        { name: "upstream/general", clusters: [{ cluster_name: "model/chat-v1-on-other", weight: 1 }] },
      ],
    }),
    403,
  ],
  ["a refusing pool", allow({ ...FORGED, priority_groups: groups("none0") }), 503],
  ["another path", withHeader(":path", "/api/payments"), 500],
  ["another host", withHeader("host", "payments.example"), 500],
  ["another header", withHeader("x-role", "admin"), 500],
  ["headers of Envoy", withHeader("x-envoy-max-retries", "9"), 500],
  ["a header that is no header", withHeader("x-chancery-decision", "a\r\nx-role: admin"), 500],
])("reaches nothing by %s", async (_, answer, status) => {
  scripted.answerWith(() => answer);
  const refusal = await api();
  expect(refusal.status).toBe(status);
  const code = { 403: "no_decision", 404: "not_found", 500: "internal", 503: "unavailable" }[status];
  if (code !== undefined) expect(refusal.json()).toMatchObject({ error: { code, type: "gateway_error" } });
  expect(scripted.checks()).toHaveLength(1);
  expect(reached()).toEqual(NOBODY);
});

it("answers 503 where the decision service fails, and reaches nothing", async () => {
  scripted.answerWith(() => Promise.reject(new Error("broken")));
  const answer = await api();
  expect(answer.status).toBe(503);
  expect(answer.json()).toMatchObject({ error: { code: "unavailable" } });
  expect(reached()).toEqual(NOBODY);
});

it.each<[string, JsonObject[string]]>([
  ["empty", ""],
  ["deny", "deny"],
  ["a list", ["allow"]],
  ["a number", 1],
  ["in capitals", "ALLOW"],
])("reaches nothing by a decision that is %s", async (_, decision) => {
  scripted.answerWith(() => allow({ ...FORGED, decision: decision ?? null }));
  expect((await api()).status).toBe(403);
  expect(reached()).toEqual(NOBODY);
});

it("outlives Checks that are given up while routes change", async () => {
  // Settings per route, a Check under way, its stream gone and the route table replaced: each alone is no trouble.
  for (const timeout of ["21s", "22s", "23s"]) {
    const begun = Promise.withResolvers<void>();
    const held = Promise.withResolvers<void>();
    let waiting = 0;
    scripted.answerWith(async (request) => {
      waiting += 1;
      if (waiting === 40) begun.resolve();
      await held.promise;
      return real.check(request);
    });
    const streams = Array.from({ length: 40 }, (_, index) => {
      const model = index % 2 === 0;
      const call = openRequest(`${base}${model ? "/v1/chat/completions" : "/api/x"}`, { method: "POST" });
      call.on("error", () => undefined).setHeader("content-type", "application/json");
      call.end('{"model":"chat","messages":[]}');
      return call;
    });
    await begun.promise;
    for (const call of streams.slice(0, 20)) call.destroy();
    const updates = () => fleet.envoy.stats("^http.*rds.*update_success$");
    const before = JSON.stringify(await updates());
    await fleet.write("all.yaml", resources(timeout));
    await waitFor(async () => JSON.stringify(await updates()) !== before, 20_000, "the new routes in Envoy");
    for (const call of streams.slice(20)) call.destroy();
    held.resolve();
  }
  await honest();
});

describe("a chain that is wider than what is legal", () => {
  const chain: JsonObject = {
    decision: "allow",
    decision_id: "forged",
    route: "chat/0/0",
    mode: "whole",
    legal: ["model/chat-v2-on-primary"],
    priority_groups: groups("model/chat-v2-on-primary", "model/chat-v1-on-other"),
  };

  it("stops at the first hop that is not listed", async () => {
    scripted.answerWith(() => allow(chain));
    primary.setBehaviour({ status: 503 });
    try {
      expect((await chat()).status).toBe(403);
    } finally {
      primary.setBehaviour({});
    }
    expect(reached()).toEqual({ ...NOBODY, primary: 1 });
  });

  it.each([["upstream/general"], ["model/nobody"], ["none0"]])("stops at a hop named %s", async (hop) => {
    const legal = ["model/chat-v2-on-primary", "model/chat-v1-on-other", "upstream/general"];
    scripted.answerWith(() => allow({ ...chain, legal, priority_groups: groups("model/chat-v2-on-primary", hop) }));
    primary.setBehaviour({ status: 503 });
    try {
      expect((await chat()).status).toBe(503);
    } finally {
      primary.setBehaviour({});
    }
    expect(reached()).toEqual({ ...NOBODY, primary: 1 });
  });

  it("is not taken without its mode", async () => {
    scripted.answerWith(() => allow({ ...chain, mode: "plain" }));
    expect((await chat()).status).toBe(403);
    expect(reached()).toEqual(NOBODY);
  });
});

function answerOf(code: number, kind: "deniedResponse" | "errorResponse"): CheckResponse {
  return create(CheckResponseSchema, { status: { code }, httpResponse: { case: kind, value: body } });
}

function withHeader(key: string, value: string): CheckResponse {
  const answer = allow(FORGED);
  if (answer.httpResponse.case === "okResponse") {
    const headers = [...answer.httpResponse.value.headers.map((option) => option.header), { key, value }];
    return create(CheckResponseSchema, {
      status: { code: 0 },
      httpResponse: {
        case: "okResponse",
        value: { headers: headers.flatMap((header) => (header === undefined ? [] : [{ header }])) },
      },
      dynamicMetadata: FORGED,
    });
  }
  return answer;
}
