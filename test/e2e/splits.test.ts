import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { startModelServer } from "../../examples/quickstart/model-server.ts";
import type { StandIn } from "../../examples/quickstart/stand-in.ts";
import { startWebServer } from "../../examples/quickstart/web-server.ts";
import type { DecisionRecord } from "../../ext-authz/index.ts";
import { type Fleet, startFleet } from "../support/fleet.ts";
import { freePorts, type HttpAnswer, http, waitFor } from "../support/index.ts";
import {
  apiKey,
  application,
  approval,
  gateway,
  model,
  modelRoute,
  policy,
  upstream,
  version,
  yaml,
} from "../support/resources.ts";

/**
 * A rollout and mirrors through a real Envoy with two decision services. `atlas` moves from v1 to v2, 20 % of users; v3
 * is a shadow version in the US. `/shop` is a plain service with a mirror.
 */
let fleet: Fleet;
let url: string;
const servers = new Map<string, StandIn>();
const EU = apiKey("eu-app");
const US = apiKey("us-app");
const SHARE = 0.2;

beforeAll(async () => {
  const [port = 0] = await freePorts(1);
  url = `http://127.0.0.1:${port}`;
  for (const name of ["v1", "v2", "v3"]) servers.set(name, await startModelServer({ name }));
  for (const name of ["shop", "copy"]) servers.set(name, await startWebServer({ name }));
  const on = (name: string, more = "") => upstream(name, server(name).port, more);
  fleet = await startFleet({
    resources: {
      "tree.yaml": yaml(
        gateway(port),
        modelRoute("atlas"),
        ...["v1", "v2", "v3", "copy"].map((name) => on(name)),
        on("shop", "credential: { mode: passThrough }"),
        model("atlas"),
        version("atlas", "v1", "v1"),
        version("atlas", "v2", "v2"),
        version("atlas", "v3", "v3", { country: "US", maturity: "shadow" }).replace("wire-atlas-v3", "atlas"),
        application("eu-app", EU.sha256, "jurisdictions: [EU]"),
        application("us-app", US.sha256, "jurisdictions: [US]"),
        ...["eu-app", "us-app"].flatMap((app) => ["atlas-v1", "atlas-v2"].map((of) => approval(of, app))),
        policy(
          "rules",
          "{ id: all, effect: allow, reason: Everybody may }",
          `{ id: eu-stays, effect: restrict, when: '"EU" in application.jurisdictions', require: target.country in countries.EU, reason: EU data stays in the EU }`,
          `{ id: no-copies, effect: restrict, when: '"x-private" in request.headers', require: 'target.upstream != "copy"', reason: Private orders are not copied }`,
        ),
        `
apiVersion: chancery.dev/v1
kind: Rollout
metadata: { name: to-v2 }
spec:
  model: atlas
  to: atlas-v2
  stickyKey: request.headers["x-user"]
  steps: [20]
  step: 1
  mirror: { version: atlas-v3 }`,
        `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: shop }
spec:
  parentRefs: [{ name: edge }]
  rules:
    - matches: [{ path: { type: PathPrefix, value: /shop } }]
      filters:
        - type: RequestMirror
          requestMirror: { backendRef: { group: chancery.dev, kind: Upstream, name: copy } }
      backendRefs: [{ group: chancery.dev, kind: Upstream, name: shop }]`,
      ),
    },
  });
});

afterAll(async () => {
  await fleet?.close();
  await Promise.all([...servers.values()].map((standIn) => standIn.close()));
});

beforeEach(() => {
  for (const standIn of servers.values()) {
    standIn.setBehaviour({});
    standIn.resetStats();
  }
});

function server(name: string): StandIn {
  const found = servers.get(name);
  if (found === undefined) throw new Error(`no server ${name}`);
  return found;
}

const requests = (name: string): number => server(name).stats().requests;

function chat(user: string, key: string, named = "atlas", headers: Record<string, string> = {}): Promise<HttpAnswer> {
  return http(`${url}/v1/chat/completions`, {
    headers: { authorization: `Bearer ${key}`, "x-user": user, ...headers },
    body: { model: named, messages: [{ role: "user", content: "hello" }] },
    timeoutMs: 30_000,
  });
}

const servedBy = (answer: HttpAnswer): string => {
  expect(answer.status).toBe(200);
  return answer.json<{ served_by: { name: string } }>().served_by.name;
};

const recordOf = (answer: HttpAnswer): Promise<DecisionRecord> =>
  fleet.record(String(answer.headers["x-chancery-decision"]));

/** Headers of a copy that say too much; x-envoy-internal is set by Envoy itself on all that it makes. */
function telling(copy: { readonly headers: object } | undefined): string[] {
  if (copy === undefined) throw new Error("no copy");
  const names = Object.keys(copy.headers).filter((name) => name !== "x-envoy-internal");
  return names.filter((name) => /authorization|api-key|cookie|client-cert|chancery|x-envoy/.test(name));
}

/** Waits for copies: of requests before the last one that is copied, all have arrived by then or never will. */
async function settled(name: string, count: number): Promise<void> {
  await waitFor(
    () => requests(name) >= count,
    5_000,
    () => `${count} copies at ${name}, and not ${requests(name)}`,
  );
}

describe("a rollout", () => {
  const UNITS = 300;
  /** What each user was given; who was answered at the first attempt was answered by just that. */
  async function versionsOf(units: number): Promise<(string | undefined)[]> {
    const answers: HttpAnswer[] = [];
    for (let from = 0; from < units; from += 10) {
      const batch = Array.from({ length: 10 }, (_, index) => chat(`user-${from + index}`, EU.key));
      answers.push(...(await Promise.all(batch)));
    }
    const last = String(answers.at(-1)?.headers["x-chancery-decision"]);
    await fleet.record(last);
    const records = new Map((await fleet.records()).map((record) => [record.id, record]));
    return answers.map((answer) => {
      const version = records.get(String(answer.headers["x-chancery-decision"]))?.exposure?.version;
      const served = `atlas-${servedBy(answer)}`;
      if (answer.headers["x-envoy-attempt-count"] === "1") expect(served).toBe(version);
      return version;
    });
  }

  test("gives users their share, and the same version after a restart of a decision service", async () => {
    const before = await versionsOf(UNITS);
    const moved = before.filter((name) => name === "atlas-v2").length;
    expect(Math.abs(moved - UNITS * SHARE)).toBeLessThan(5 * Math.sqrt(UNITS * SHARE * (1 - SHARE)));
    expect(new Set(before)).toEqual(new Set(["atlas-v1", "atlas-v2"]));
    await fleet.restartDecisionService(0);
    expect(await versionsOf(UNITS)).toEqual(before);
  });

  test("has the version and the unit on record, without the user's name", async () => {
    const [one, again, other] = await Promise.all(["user-1", "user-1", "user-2"].map((user) => chat(user, EU.key)));
    if (one === undefined || again === undefined || other === undefined) throw new Error("three answers");
    const [first, second, third] = await Promise.all([one, again, other].map(recordOf));
    expect(first?.exposure).toMatchObject({ split: "Rollout to-v2", version: `atlas-${servedBy(one)}` });
    expect(first?.exposure?.unit).toMatch(/^[0-9a-f]{16}$/);
    expect(second?.exposure).toEqual(first?.exposure);
    expect(third?.exposure?.unit).not.toBe(first?.exposure?.unit);
    expect(JSON.stringify(first)).not.toContain("user-1");
  });

  test("leaves requests that name a version to that version", async () => {
    for (let user = 0; user < 20; user += 1) {
      const answer = await chat(`user-${user}`, EU.key, "atlas@v1");
      expect(servedBy(answer)).toBe("v1");
      if (user === 0) expect((await recordOf(answer)).exposure).toBeUndefined();
    }
  });
});

describe("a mirror of a model", () => {
  test("gets the request without credentials, and the record says so", async () => {
    const answer = await chat("user-1", US.key, "atlas", {
      cookie: "session=1",
      "x-goog-api-key": "k",
      "proxy-authorization": "k",
    });
    expect(["v1", "v2"]).toContain(servedBy(answer));
    await settled("v3", 1);
    const [copy] = server("v3").stats().last;
    expect(copy).toMatchObject({ method: "POST", path: "/v1/chat/completions", model: "atlas" });
    expect(JSON.stringify(copy?.headers)).not.toContain(US.key);
    expect(telling(copy)).toEqual([]);
    expect(copy?.headers.host).toBe(new URL(url).host);
    expect((await recordOf(answer)).mirror).toEqual({
      by: "Rollout to-v2",
      target: "model/atlas-v3-on-v3",
      removed: [],
    });
  });

  test("gets nothing where a rule keeps it from the request, and the record says which", async () => {
    const refused = await chat("user-1", EU.key);
    const named = await chat("user-1", US.key, "atlas@v1");
    const copied = await chat("user-1", US.key);
    expect([refused, named, copied].map((answer) => answer.status)).toEqual([200, 200, 200]);
    await settled("v3", 1);
    expect(requests("v3")).toBe(1);
    const { mirror } = await recordOf(refused);
    expect(mirror).toMatchObject({
      by: "Rollout to-v2",
      removed: [{ pool: "model/atlas-v3-on-v3", rule: "rules/eu-stays" }],
    });
    expect(mirror?.target).toBeUndefined();
    expect((await recordOf(named)).mirror).toBeUndefined();
  });

  test("does not hold up the answer when it is slow, and does not spoil it when it is dead", async () => {
    server("v3").setBehaviour({ delayMs: 600_000 });
    expect(["v1", "v2"]).toContain(servedBy(await chat("user-1", US.key)));
    await settled("v3", 1);
    server("v3").setBehaviour({ reset: true });
    expect(["v1", "v2"]).toContain(servedBy(await chat("user-1", US.key)));
    await settled("v3", 2);
    await server("v3").close();
    expect(["v1", "v2"]).toContain(servedBy(await chat("user-1", US.key)));
    expect(requests("v1") + requests("v2")).toBe(3);
    servers.set("v3", await startModelServer({ name: "v3", port: server("v3").port }));
  });
});

describe("a mirror of a plain route", () => {
  const shop = (headers: Record<string, string> = {}): Promise<HttpAnswer> =>
    http(`${url}/shop/order?id=7`, {
      headers: { authorization: `Bearer ${US.key}`, cookie: "session=1", ...headers },
      body: { order: 7 },
    });

  test("gets the request without the credential that the service gets", async () => {
    const answer = await shop({ "x-api-key": US.key, authorization: "Bearer of-the-service" });
    expect(answer.status).toBe(200);
    await settled("copy", 1);
    const [original] = server("shop").stats().last;
    const [copy] = server("copy").stats().last;
    expect(original?.headers).toMatchObject({ authorization: "Bearer of-the-service", cookie: "session=1" });
    expect(copy).toMatchObject({ method: "POST", path: "/shop/order?id=7" });
    expect(telling(copy)).toEqual([]);
    expect((await recordOf(answer)).mirror).toEqual({ by: "HTTPRoute shop", target: "upstream/copy", removed: [] });
  });

  test("gets nothing where a rule forbids it", async () => {
    const refused = await shop({ "x-private": "yes" });
    expect(refused.status).toBe(200);
    expect((await shop()).status).toBe(200);
    await settled("copy", 1);
    expect([requests("shop"), requests("copy")]).toEqual([2, 1]);
    expect((await recordOf(refused)).mirror?.removed).toMatchObject([
      { pool: "upstream/copy", rule: "rules/no-copies" },
    ]);
  });
});
