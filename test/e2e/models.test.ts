import { createHash } from "node:crypto";
import OpenAI from "openai";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { startModelServer } from "../../examples/quickstart/model-server.ts";
import type { StandIn } from "../../examples/quickstart/stand-in.ts";
import { type Fleet, startFleet } from "../support/fleet.ts";
import { freePorts, type HttpAnswer, http, openHttp, waitFor } from "../support/index.ts";
import {
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
 * Model traffic through a real Envoy. `atlas` has three approved versions, newest first: v3 and v2 in Germany, v1 in
 * Germany on a server of its own; `orion` runs in the US only; `lost` has a version whose name does not resolve before
 * one that answers, `empty` one without endpoints that answer.
 */
let fleet: Fleet;
let url: string;
let closedPort: number;
const servers = new Map<string, StandIn>();

const KEY = "key-of-the-eu-application";
const US_KEY = "key-of-the-us-application";
const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

beforeAll(async () => {
  const [port, closed] = await freePorts(2);
  if (port === undefined || closed === undefined) throw new Error("no free port");
  closedPort = closed;
  url = `http://127.0.0.1:${port}`;
  for (const name of ["v3", "v2", "v1", "us"]) {
    servers.set(name, await startModelServer({ name, port: 0, apiKey: `credential-of-${name}` }));
  }
  const portOf = (name: string) => server(name).port;
  const secret = (name: string) => `
apiVersion: chancery.dev/v1
kind: Secret
metadata: { name: ${name}-key }
spec: { type: opaque, valueFile: keys/${name} }`;
  const injecting = (name: string) => upstream(name, portOf(name), `credential: { mode: inject, secret: ${name}-key }`);
  fleet = await startFleet({
    files: Object.fromEntries([...servers.keys()].map((name) => [`keys/${name}`, `credential-of-${name}\n`])),
    resources: {
      "tree.yaml": yaml(
        gateway(port),
        modelRoute("atlas", "orion", "lost", "closed", "hosted"),
        ...["v3", "v2", "v1", "us"].flatMap((name) => [secret(name), injecting(name)]),
        model("atlas", "firstByte: 1s, wholeAnswer: 20s, maxAttempts: 3"),
        version("atlas", "v3", "v3"),
        version("atlas", "v2", "v2"),
        version("atlas", "v1", "v1"),
        model("orion"),
        version("orion", "v1", "us", { country: "US" }),
        // A hop that cannot be reached, before one that can.
        model("lost"),
        version("lost", "v1", "v1"),
        version("lost", "v2", "nowhere"),
        `
apiVersion: chancery.dev/v1
kind: Upstream
metadata: { name: nowhere }
spec: { endpoints: [{ address: no-such-host.invalid, port: 80 }] }`,
        model("closed"),
        version("closed", "v1", "v1"),
        version("closed", "v2", "refusing"),
        upstream("refusing", closedPort),
        model("hosted"),
        version("hosted", "v1", "v1", { deployment: "path: /custom/v1/chat/completions?api-version=7" }),
        version("hosted", "v2", "v2"),
        application("eu-app", sha256(KEY), "jurisdictions: [EU]"),
        application("us-app", sha256(US_KEY), "jurisdictions: [US]"),
        ...["atlas-v3", "atlas-v2", "atlas-v1", "orion-v1", "lost-v2", "lost-v1", "closed-v1", "closed-v2"].map((of) =>
          approval(of, "eu-app"),
        ),
        ...["hosted-v1", "hosted-v2"].map((of) => approval(of, "eu-app")),
        approval("orion-v1", "us-app"),
        policy(
          "rules",
          '{ id: chat, effect: allow, when: request.url_path.startsWith("/v1/"), reason: Everybody may chat }',
          `{ id: eu-stays, effect: restrict, when: '"EU" in application.jurisdictions', require: target.country in countries.EU, reason: EU data stays in the EU }`,
        ),
        `
apiVersion: chancery.dev/v1
kind: Policy
metadata: { name: orion-in-eu }
spec:
  targetRef: { kind: Model, name: orion }
  rules:
    - { id: use-atlas, effect: reroute, when: '"EU" in application.jurisdictions', to: { model: atlas }, reason: orion is US only }`,
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

/** Requests that each server has received. */
function counts(): Record<string, number> {
  return Object.fromEntries([...servers].map(([name, standIn]) => [name, standIn.stats().requests]));
}

function chat(body: object, key = KEY): Promise<HttpAnswer> {
  return http(`${url}/v1/chat/completions`, {
    headers: { authorization: `Bearer ${key}` },
    body: { messages: [{ role: "user", content: "hello" }], ...body },
    timeoutMs: 30_000,
  });
}

interface Completion {
  readonly model: string;
  readonly served_by: { readonly name: string; readonly model: string };
  readonly received?: { readonly path: string; readonly headers: Record<string, string> };
}

describe("a decision", () => {
  test("sends an allowed request to the newest approved version, under its name on the wire", async () => {
    const answer = await chat({ model: "atlas" });
    expect(answer.status).toBe(200);
    expect(answer.json<Completion>().served_by).toMatchObject({ name: "v3", model: "wire-atlas-v3" });
    expect(counts()).toEqual({ v3: 1, v2: 0, v1: 0, us: 0 });
  });

  test("reroutes an application of the EU from a model of the US, and not one of the US", async () => {
    expect((await chat({ model: "orion" })).json<Completion>().served_by.name).toBe("v3");
    expect((await chat({ model: "orion" }, US_KEY)).json<Completion>().served_by.name).toBe("us");
    expect(counts()).toEqual({ v3: 1, v2: 0, v1: 0, us: 1 });
  });

  test("refuses an application without an approval, with the reason, and no server sees the request", async () => {
    const answer = await chat({ model: "atlas" }, US_KEY);
    expect(answer.status).toBe(403);
    const { error } = answer.json<{ error: { code: string; message: string; decision_id: string } }>();
    expect(error).toMatchObject({ code: "no_legal_target", message: expect.stringContaining("approval") });
    expect(counts()).toEqual({ v3: 0, v2: 0, v1: 0, us: 0 });
    const record = await fleet.record(error.decision_id);
    expect(record).toMatchObject({ effect: "deny", status: 403, application: "us-app", targets: [] });
    expect(record.removed.map((removal) => removal.rule)).toContain("chancery:approval");
  });

  test("answers 404 for a model that is not offered", async () => {
    const answer = await chat({ model: "no-such-model" });
    expect(answer.status).toBe(404);
    expect(answer.json<{ error: { code: string } }>().error.code).toBe("model_not_found");
  });

  test("is on disk for every answer, with its targets in order", async () => {
    const answer = await chat({ model: "atlas" });
    const record = await fleet.record(String(answer.headers["x-chancery-decision"]));
    expect(record).toMatchObject({
      effect: "allow",
      application: "eu-app",
      rule: "rules/chat",
      targets: ["model/atlas-v3-on-v3", "model/atlas-v2-on-v2", "model/atlas-v1-on-v1"],
      request: { model: "atlas", method: "POST", path: "/v1/chat/completions" },
    });
    expect(record.revision.signed).toBe(false);
    expect(JSON.stringify(record)).not.toContain(KEY);
  });

  test("lists the models that the caller may use", async () => {
    const list = async (key: string) => {
      const answer = await http(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
      expect(answer.status).toBe(200);
      return answer
        .json<{ data: { id: string }[] }>()
        .data.map((entry) => entry.id)
        .sort();
    };
    expect(await list(KEY)).toEqual(["atlas", "closed", "hosted", "lost", "orion"]);
    expect(await list(US_KEY)).toEqual(["orion"]);
  });
});

describe("fallback to an older version", () => {
  test.each([500, 502, 503, 429])("happens on %i, and each hop sees its own name and credential", async (status) => {
    server("v3").setBehaviour({ status });
    const answer = await chat({ model: "atlas" });
    expect(answer.status).toBe(200);
    expect(answer.json<Completion>().served_by).toMatchObject({ name: "v2", model: "wire-atlas-v2" });
    expect(counts()).toEqual({ v3: 1, v2: 1, v1: 0, us: 0 });
    // Every stand-in counts requests that come without exactly its own credential.
    for (const standIn of servers.values()) expect(standIn.stats().wrongCredentials).toBe(0);
    expect(server("v3").stats().byModel).toEqual({ "wire-atlas-v3": 1 });
    expect(server("v2").stats().byModel).toEqual({ "wire-atlas-v2": 1 });
  });

  test("goes down the whole list, and ends there", async () => {
    server("v3").setBehaviour({ status: 503 });
    server("v2").setBehaviour({ reset: true });
    expect((await chat({ model: "atlas" })).json<Completion>().served_by.name).toBe("v1");
    server("v1").setBehaviour({ status: 503 });
    expect((await chat({ model: "atlas" })).status).toBe(503);
    expect(counts()).toEqual({ v3: 2, v2: 2, v1: 2, us: 0 });
  });

  test("happens when the connection is refused", async () => {
    expect((await chat({ model: "closed" })).json<Completion>().served_by).toMatchObject({
      name: "v1",
      model: "wire-closed-v1",
    });
  });

  test("happens when a name does not resolve, or a pool has no endpoint", async () => {
    expect((await chat({ model: "lost" })).json<Completion>().served_by).toMatchObject({
      name: "v1",
      model: "wire-lost-v1",
    });
  });

  test("happens when a streamed answer has no first byte in time", async () => {
    server("v3").setBehaviour({ delayMs: 5_000 });
    const stream = await openHttp(`${url}/v1/chat/completions`, {
      headers: { authorization: `Bearer ${KEY}` },
      body: { model: "atlas", stream: true, messages: [{ role: "user", content: "hello" }] },
    });
    expect(stream.headers["x-served-by"]).toBe("v2");
    stream.close();
  });

  test("does not happen for a whole answer that is slow: it is asked for once", async () => {
    server("v3").setBehaviour({ delayMs: 3_000 });
    expect((await chat({ model: "atlas" })).json<Completion>().served_by.name).toBe("v3");
    expect(counts()).toEqual({ v3: 1, v2: 0, v1: 0, us: 0 });
  });

  test("does not happen for a refusal of the request itself", async () => {
    server("v3").setBehaviour({ status: 422 });
    expect((await chat({ model: "atlas" })).status).toBe(422);
    expect(counts()).toEqual({ v3: 1, v2: 0, v1: 0, us: 0 });
  });

  test("carries a prompt of 3 MiB whole, with the name of the hop that answers", async () => {
    server("v3").setBehaviour({ status: 503 });
    const content = "x".repeat(3 * 1024 * 1024);
    const answer = await chat({ messages: [{ role: "user", content }], model: "atlas" });
    expect(answer.text().slice(0, 500)).toContain("wire-atlas-v2");
    expect(server("v2").stats().byModel).toEqual({ "wire-atlas-v2": 1 });
    expect(await fleet.envoy.stats("retry_or_shadow_abandoned")).not.toMatchObject({
      "cluster.model/atlas-v3-on-v3.retry_or_shadow_abandoned": expect.toSatisfy((count: number) => count > 0),
    });
  });

  test("restores the path where only one hop has its own", async () => {
    const echo = { model: "hosted", messages: [{ role: "user", content: "[[echo]]" }] };
    expect((await chat(echo)).json<Completion>().received?.path).toBe("/v1/chat/completions");
    server("v2").setBehaviour({ status: 503 });
    const second = (await chat(echo)).json<Completion>();
    expect(second.served_by.name).toBe("v1");
    expect(second.received?.path).toBe("/custom/v1/chat/completions?api-version=7");
  });

  test("never leaves the decision: with every legal server failing, 300 requests at once reach no other", async () => {
    for (const name of ["v3", "v2", "v1"]) server(name).setBehaviour({ status: 503 });
    const answers = await Promise.all(Array.from({ length: 300 }, () => chat({ model: "orion" })));
    expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([503]));
    expect(counts()).toEqual({ v3: 300, v2: 300, v1: 300, us: 0 });
  });
});

describe("a request body that names a version", () => {
  test("asks for that one first", async () => {
    expect((await chat({ model: "atlas@v1" })).json<Completion>().served_by).toMatchObject({
      name: "v1",
      model: "wire-atlas-v1",
    });
  });
});

describe("streamed answers", () => {
  test("pass as they come", async () => {
    server("v3").setBehaviour({ chunks: 5, gapMs: 150 });
    const stream = await openHttp(`${url}/v1/chat/completions`, {
      headers: { authorization: `Bearer ${KEY}` },
      body: { model: "atlas", stream: true, messages: [{ role: "user", content: "hello" }] },
    });
    const arrivals: number[] = [];
    for await (const event of stream.events()) {
      arrivals.push(performance.now());
      if (event === "[DONE]") break;
    }
    // Buffered, all would arrive at once; the server takes 600 ms from the first to the last.
    const first = arrivals[0] ?? 0;
    expect(arrivals.filter((at) => at - first > 100).length).toBeGreaterThanOrEqual(3);
  });
});

describe("the OpenAI SDK, as it is", () => {
  const client = () => new OpenAI({ baseURL: `${url}/v1`, apiKey: KEY, maxRetries: 0 });

  test("completes, streams and lists", async () => {
    const messages = [{ role: "user" as const, content: "hello" }];
    const whole = await client().chat.completions.create({ model: "atlas", messages });
    expect(whole.model).toBe("wire-atlas-v3");
    expect(whole.choices[0]?.message.content).toContain("v3");
    let text = "";
    for await (const chunk of await client().chat.completions.create({ model: "atlas", messages, stream: true })) {
      text += chunk.choices[0]?.delta.content ?? "";
    }
    expect(text).toContain("v3");
    const models = await client().models.list();
    expect(models.data.map((entry) => entry.id)).toContain("atlas");
  });

  test("understands a refusal", async () => {
    const refused = new OpenAI({ baseURL: `${url}/v1`, apiKey: US_KEY, maxRetries: 0 }).chat.completions.create({
      model: "atlas",
      messages: [{ role: "user", content: "hello" }],
    });
    await expect(refused).rejects.toMatchObject({ status: 403, code: "no_legal_target", type: "permission_error" });
  });

  test("understands a wrong key", async () => {
    const refused = new OpenAI({ baseURL: `${url}/v1`, apiKey: "wrong", maxRetries: 0 }).models.list();
    await expect(refused).rejects.toMatchObject({ status: 401, code: "invalid_api_key" });
  });
});

test("every answered request has its record", async () => {
  const answers = await Promise.all(Array.from({ length: 50 }, () => chat({ model: "atlas" })));
  expect(new Set(answers.map((answer) => answer.status))).toEqual(new Set([200]));
  const ids = answers.map((answer) => String(answer.headers["x-chancery-decision"]));
  expect(new Set(ids).size).toBe(50);
  await waitFor(
    async () => {
      const known = new Set((await fleet.records()).map((record) => record.id));
      return ids.every((id) => known.has(id));
    },
    5_000,
    "50 records",
  );
});
