import { createHash } from "node:crypto";
import { connect } from "node:http2";
import { gzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startModelServer } from "../../examples/quickstart/model-server.ts";
import type { StandIn } from "../../examples/quickstart/stand-in.ts";
import { startWebServer } from "../../examples/quickstart/web-server.ts";
import { type Fleet, startFleet } from "../support/fleet.ts";
import { freePort } from "../support/free-port.ts";
import { type HttpAnswer, http } from "../support/http-client.ts";
import { rawRequest } from "../support/raw-answer.ts";
import {
  ALLOW_ALL,
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

// One application that may use `chat` as served by `eu`, and nothing else: what it sends gains it no other target.

const KEY = "key-of-the-caller";
const MIB = 1024 * 1024;

let port: number;
let base: string;
let fleet: Fleet;
let eu: StandIn;
let us: StandIn;
let web: StandIn;
let vault: StandIn;

beforeAll(async () => {
  port = await freePort();
  base = `http://127.0.0.1:${port}`;
  eu = await startModelServer({ name: "eu" });
  us = await startModelServer({ name: "us" });
  web = await startWebServer({ name: "web" });
  vault = await startWebServer({ name: "vault" });
  fleet = await startFleet({
    decisionServices: 1,
    resources: {
      "all.yaml": yaml(
        gateway(port),
        ...[upstream("eu", eu.port), upstream("us", us.port), upstream("web", web.port), upstream("vault", vault.port)],
        ...[model("chat", "maxBodyBytes: 4194304"), model("secret")],
        ...[version("chat", "v1", "eu"), version("chat", "v2", "us", { country: "US" }), version("secret", "v1", "us")],
        modelRoute("chat", "secret"),
        ...[plainRoute("web", "/web", { web: 1 }), plainRoute("vault", "/vault", { vault: 1 })],
        application("caller", createHash("sha256").update(KEY).digest("hex")),
        approval("chat-v1", "caller"),
        policy(
          "all",
          ALLOW_ALL,
          "{ id: vault, effect: deny, when: 'request.url_path.startsWith(\"/vault\")', reason: Closed }",
          '{ id: roles, effect: deny, when: \'"x-role" in request.header_values && request.header_values["x-role"].exists(role, role.contains("admin"))\', reason: No admins }',
        ),
      ),
    },
  });
});

afterAll(async () => {
  await fleet?.close();
  await Promise.all([eu, us, web, vault].map((standIn) => standIn?.close()));
});

afterEach(() => {
  for (const standIn of [eu, us, web, vault]) standIn.resetStats();
});

/** Requests that reached each stand-in. */
const reached = () => ({
  eu: eu.stats().requests,
  us: us.stats().requests,
  web: web.stats().requests,
  vault: vault.stats().requests,
});
const NOBODY = { eu: 0, us: 0, web: 0, vault: 0 };

const chat = (body: string | Uint8Array | object, headers: Record<string, string | string[]> = {}) =>
  http(`${base}/v1/chat/completions`, {
    body,
    headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json", ...headers },
  });
const errorOf = (answer: HttpAnswer) => answer.json<{ error: Record<string, unknown> }>().error;

it("is answered where everything is in order", async () => {
  const answer = await chat({ model: "chat", messages: [] });
  expect(answer.json()).toMatchObject({ served_by: { name: "eu", model: "wire-chat-v1" } });
  expect((await http(`${base}/web/x`, { headers: { "x-api-key": KEY } })).status).toBe(200);
  expect(reached()).toEqual({ ...NOBODY, eu: 1, web: 1 });
});

describe("headers that a client must not send", () => {
  const OURS: Record<string, string> = {
    "x-chancery-decision": "8a9d2c1e",
    "X-Chancery-Route": "vault/0/0",
    "X-CHANCERY-Legal": "upstream/vault,model/chat-v2-on-us",
    "x-chancery-priority-groups": "upstream/vault",
    "x-envoy-auth-partial-body": "true",
    "x-envoy-auth-failure-mode-allowed": "true",
    "x-envoy-original-path": "/vault",
    "x-envoy-original-dst-host": "127.0.0.1:1",
    "x-envoy-max-retries": "9",
    "x-envoy-retry-on": "5xx",
    "x-envoy-upstream-rq-timeout-ms": "1",
    "x-envoy-upstream-alt-stat-name": "x",
    "x-envoy-external-address": "10.0.0.1",
    "x-envoy-internal": "true",
    "x-envoy-force-trace": "true",
    "x-forwarded-host": "vault.example",
    "x-original-url": "/vault",
    "x-rewrite-url": "/vault",
    "x-http-method-override": "DELETE",
    "x-forwarded-client-cert": "By=spiffe://a;URI=spiffe://acme/root",
    "x-forwarded-proto": "https",
  };

  it("gain nothing on a plain route, and do not reach the service", async () => {
    const refused = await http(`${base}/vault/x`, { headers: { ...OURS, "x-api-key": KEY } });
    expect(refused.status).toBe(403);
    expect(errorOf(refused)).toMatchObject({ code: "denied", rule: "all/vault" });
    const answer = await http(`${base}/web/x`, { headers: { ...OURS, "x-api-key": KEY } });
    expect(answer.status).toBe(200);
    expect(reached()).toEqual({ ...NOBODY, web: 1 });
    const arrived = Object.keys(web.stats().last[0]?.headers ?? {});
    // Envoy itself says where the request came from, with what scheme, and which one it was.
    expect(arrived.filter((name) => /^x-/.test(name)).sort()).toEqual([
      "x-envoy-external-address",
      "x-forwarded-for",
      "x-forwarded-proto",
      "x-request-id",
    ]);
    expect(web.stats().last[0]?.headers).toMatchObject({
      "x-envoy-external-address": "127.0.0.1",
      "x-forwarded-proto": "http",
    });
    expect(answer.headers["x-chancery-decision"]).not.toBe(OURS["x-chancery-decision"]);
    expect((await fleet.record(String(answer.headers["x-chancery-decision"]))).targets).toEqual(["upstream/web"]);
  });

  it("gain nothing on a model route, and do not reach the model", async () => {
    const refused = await chat({ model: "secret", messages: [] }, OURS);
    expect(refused.status).toBe(403);
    const answer = await chat({ model: "chat", messages: [] }, OURS);
    expect(answer.json()).toMatchObject({ served_by: { name: "eu" } });
    expect(reached()).toEqual({ ...NOBODY, eu: 1 });
    const arrived = Object.keys(eu.stats().last[0]?.headers ?? {});
    expect(arrived.filter((name) => /chancery|forwarded-h|original|rewrite|override|cert/.test(name))).toEqual([]);
    expect(arrived.filter((name) => name.startsWith("x-envoy-"))).toEqual(["x-envoy-external-address"]);
  });

  it("gain nothing without a decision", async () => {
    const answer = await http(`${base}/nowhere`, { headers: OURS });
    expect(answer.status).toBe(404);
    expect(reached()).toEqual(NOBODY);
  });

  it.each(["x_chancery_decision", "X_Chancery_Route", "x_envoy_max_retries", "x_role"])(
    "are refused with underscores: %s",
    async (name) => {
      const answer = await http(`${base}/web/x`, { headers: { [name]: "upstream/vault", "x-api-key": KEY } });
      expect(answer.status).toBe(400);
      expect(reached()).toEqual(NOBODY);
    },
  );
});

describe("a header that a rule reads", () => {
  const role = (...lines: string[]) => rawRequest(port, ["GET /web/x HTTP/1.1", `x-api-key: ${KEY}`, ...lines]);

  it.each([
    [["x-role: user", "x-role: admin"]],
    [["x-role: admin", "x-role: user"]],
    [["x-role: user, admin"]],
    [["X-ROLE:   admin  "]],
    [["x-role: admin\xff"]],
    [["x-role: \xffadmin"]],
    [["x-role: \xc3\xbcadmin\x80"]],
    [[`x-role: ${"u".repeat(10_000)}admin`]],
    [["x-role: user", " admin"]],
  ])("is read whole: %j", async (lines) => {
    expect((await role(...lines)).status).toBe(403);
    expect(reached()).toEqual(NOBODY);
  });

  it("reaches the service as it was decided on", async () => {
    expect((await role("x-role: user", "x-role: guest\xff")).status).toBe(200);
    expect((await role("x-role:")).status).toBe(200);
    expect(web.stats().last.map((request) => request.headers["x-role"])).toEqual(["user, guest\xff", ""]);
  });

  it.each([
    ["NUL", ["x-role: ad\0min"]],
    ["a space in the name", ["x-role : admin"]],
    ["more than 100 headers", Array.from({ length: 200 }, (_, index) => `x-role-${index}: user`)],
    ["more than 60 KiB", [`x-role: ${"u".repeat(100_000)}`]],
  ])("is refused with %s", async (_, lines) => {
    expect([400, 431]).toContain((await role(...lines)).status);
    expect(reached()).toEqual(NOBODY);
  });

  it("is gone for rule and service alike where Connection names it", async () => {
    expect((await role("x-role: admin", "connection: close, x-role")).status).toBe(200);
    expect(web.stats().last[0]?.headers).not.toHaveProperty("x-role");
    // The caller's own identity is no exception: without it nobody asks.
    const nobody = await rawRequest(port, ["GET /web/x HTTP/1.1", `x-api-key: ${KEY}`, "connection: close, x-api-key"]);
    expect(nobody.status).toBe(401);
    expect(reached()).toEqual({ ...NOBODY, web: 1 });
  });

  it("cannot follow as a trailer", async () => {
    const chunked = ["POST /web/x HTTP/1.1", `x-api-key: ${KEY}`, "transfer-encoding: chunked", "trailer: x-role"];
    const answer = await rawRequest(port, chunked, "2\r\nhi\r\n0\r\nx-role: admin\r\nx-chancery-decision: 1\r\n\r\n");
    const overHttp2 = await withTrailers("/web/x", { "x-role": "admin", "x-chancery-decision": "1" });
    expect([answer.status, overHttp2]).toEqual([200, 200]);
    for (const { headers } of web.stats().last) expect(headers).not.toHaveProperty("x-role");
    expect(reached()).toEqual({ ...NOBODY, web: 2 });
  });
});

describe("a pool or a model named by the client", () => {
  it.each([
    "model/chat-v2-on-us",
    "upstream/vault",
    "secret-v1",
    "chat@v9",
    "wire-chat-v2",
    "none0",
    "weighted",
    "chancery_blackhole",
    "Chat",
    "chat ",
    "chat@",
    "chat\u0000",
    "../chat",
    "x".repeat(300),
  ])("is not known: %j", async (name) => {
    const answer = await chat({ model: name, messages: [] });
    expect([400, 404]).toContain(answer.status);
    expect(["model_not_found", "ambiguous_model"]).toContain(errorOf(answer).code);
    expect(reached()).toEqual(NOBODY);
  });

  it.each(["secret", "chat@v2"])("is not approved: %s", async (name) => {
    const answer = await chat({ model: name, messages: [], fallbacks: ["secret"], priority_groups: [{ name }] });
    // Another version of the same model may answer for an unapproved one; a model that may not be used is refused.
    expect(reached()).toEqual(name === "secret" ? NOBODY : { ...NOBODY, eu: 1 });
    expect(answer.status).toBe(name === "secret" ? 403 : 200);
  });

  it("gains nothing in query, cookies or other fields of the body", async () => {
    const answer = await http(`${base}/v1/chat/completions?model=secret&cluster=upstream/vault`, {
      headers: { "x-api-key": KEY, cookie: "model=secret", "x-model": "secret", model: "secret" },
      body: { messages: [], metadata: { model: "secret" }, decision: "allow", route: "vault/0/0", model: "chat" },
    });
    expect(answer.json()).toMatchObject({ served_by: { name: "eu" } });
    expect(reached()).toEqual({ ...NOBODY, eu: 1 });
  });
});

describe("a body that can be read in two ways", () => {
  const nested = `{"model":"chat","messages":${"[".repeat(1_000)}${"]".repeat(1_000)}}`;

  it.each<[string, string | Uint8Array, Record<string, string>, string]>([
    ["two models", '{"model":"chat","model":"secret"}', {}, "malformed_body"],
    ["two models, the allowed one last", '{"model":"secret","model":"chat"}', {}, "malformed_body"],
    ["an escaped second model", '{"model":"chat","\\u006dodel":"secret"}', {}, "malformed_body"],
    ["an escaped second model that is first", '{"m\\u006fdel":"secret","model":"chat"}', {}, "malformed_body"],
    ["two streams", '{"model":"chat","stream":false,"stream":true}', {}, "malformed_body"],
    ["a byte order mark", '\ufeff{"model":"chat"}', {}, "malformed_body"],
    ["two documents", '{"model":"chat"}{"model":"secret"}', {}, "malformed_body"],
    ["trailing text", '{"model":"chat"} x', {}, "malformed_body"],
    ["a comment", '{"model":"chat"/*,"model":"secret"*/}', {}, "malformed_body"],
    ["single quotes", "{'model':'secret'}", {}, "malformed_body"],
    ["a lone surrogate", '{"model":"chat\\ud800"}', {}, "malformed_body"],
    ["no UTF-8", Buffer.from('{"model":"chat\xff"}', "latin1"), {}, "malformed_body"],
    ["UTF-16", Buffer.from('{"model":"chat"}', "utf16le"), {}, "malformed_body"],
    ["a thousand levels", nested, {}, "malformed_body"],
    ["nothing", "", {}, "malformed_body"],
    ["an array", '[{"model":"chat"}]', {}, "malformed_body"],
    ["a number for a model", '{"model":1}', {}, "model_missing"],
    ["an object for a model", '{"model":{"name":"secret"}}', {}, "model_missing"],
    ["null for a model", '{"model":null}', {}, "model_missing"],
    ["no model", '{"messages":[]}', {}, "model_missing"],
    ["gzip", gzipSync('{"model":"chat"}'), { "content-encoding": "gzip" }, "unsupported_body"],
    ["gzip unsaid", gzipSync('{"model":"chat"}'), {}, "malformed_body"],
    ["deflate claimed", '{"model":"chat"}', { "content-encoding": "identity, deflate" }, "unsupported_body"],
    ["a form", "model=secret", { "content-type": "application/x-www-form-urlencoded" }, "unsupported_body"],
    ["text", '{"model":"chat"}', { "content-type": "text/plain" }, "unsupported_body"],
    ["two types", '{"model":"chat"}', { "content-type": "text/plain, application/json" }, "unsupported_body"],
    ["another charset", '{"model":"chat"}', { "content-type": "application/json; charset=utf-16" }, "unsupported_body"],
    ["multipart", "--x\r\n\r\n{}\r\n--x--", { "content-type": "multipart/form-data; boundary=x" }, "unsupported_body"],
  ])("is refused: %s", async (_, body, headers, code) => {
    const answer = await chat(body, headers);
    expect(answer.status).toBe(400);
    expect(answer.headers["content-type"]).toBe("application/json");
    expect(errorOf(answer)).toMatchObject({ code, type: "invalid_request_error" });
    const record = await fleet.record(String(errorOf(answer).decision_id));
    expect(record).toMatchObject({ effect: "deny", code, status: 400, application: "caller", targets: [] });
    expect(reached()).toEqual(NOBODY);
  });

  it("is read whole when it comes in chunks, without a length", async () => {
    const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;
    const lines = [
      "POST /v1/chat/completions HTTP/1.1",
      `authorization: Bearer ${KEY}`,
      "content-type: application/json",
      "transfer-encoding: chunked",
    ];
    const good = await rawRequest(port, lines, `${chunk('{"mod')}${chunk('el":"chat","messages":[]}')}0\r\n\r\n`);
    expect(good.status).toBe(200);
    expect(reached()).toEqual({ ...NOBODY, eu: 1 });
    const bad = await rawRequest(port, lines, `${chunk('{"model":"chat"')}${chunk(',"model":"secret"}')}0\r\n\r\n`);
    expect(bad.status).toBe(400);
    expect(reached()).toEqual({ ...NOBODY, eu: 1 });
  });

  it("is refused with 413 where it is longer than the route takes", async () => {
    const answer = await chat(`{"model":"chat","messages":[],"x":"${"a".repeat(4 * MIB)}"}`);
    expect(answer.status).toBe(413);
    expect(answer.headers["content-type"]).toBe("application/json");
    expect(errorOf(answer)).toMatchObject({ code: "request_too_large" });
    expect(reached()).toEqual(NOBODY);
  });

  it.each([
    ["a length and chunks", ["content-length: 3", "transfer-encoding: chunked"]],
    ["two lengths", ["content-length: 16", "content-length: 3"]],
    ["an odd coding", ["transfer-encoding: chunked, identity"]],
    ["an odd coding of chunks", ["transfer-encoding: xchunked"]],
    ["a negative length", ["content-length: -1"]],
  ])("is refused with %s", async (_, lines) => {
    const head = ["POST /v1/chat/completions HTTP/1.1", `x-api-key: ${KEY}`, "content-type: application/json"];
    const answer = await rawRequest(port, [...head, ...lines], '10\r\n{"model":"chat"}\r\n0\r\n\r\n');
    expect([400, 501]).toContain(answer.status);
    expect(reached()).toEqual(NOBODY);
  });

  it("does not hang where an upgrade is asked on a model route", async () => {
    const lines = ["POST /v1/chat/completions HTTP/1.1", "connection: upgrade", "upgrade: websocket"];
    const answer = await rawRequest(port, [...lines, `x-api-key: ${KEY}`, "content-type: application/json"]);
    expect([400, 403]).toContain(answer.status);
    expect(reached()).toEqual(NOBODY);
  });
});

describe("what a request holds", () => {
  const CONTROL = /(?![\n\t])[\p{Cc}\p{Zl}\p{Zp}]/u;
  const outputs = () =>
    [fleet.envoy.process, fleet.xds(), ...fleet.decisionServices()].map((child) => child.stdout() + child.stderr());

  it("forges no line of a log and no field of a record", async () => {
    const before = outputs().map(({ length }) => length);
    const forged = '{"level":"info","msg":"forged"}';
    const answers = await Promise.all([
      rawRequest(port, [`GET /web/\xc2\x9b31m HTTP/1.1`, `x-api-key: ${KEY}`]),
      rawRequest(port, [`GET /web/%0a${encodeURIComponent(forged)} HTTP/1.1`, `x-api-key: ${KEY}`]),
      rawRequest(port, [`GET /web/%1b%5b2J HTTP/1.1`, `x-api-key: ${KEY}`]),
      rawRequest(port, [`GET /web/x?a=%0a${encodeURIComponent(forged)} HTTP/1.1`, `x-api-key: ${KEY}`]),
      rawRequest(port, [`GET /web/x" ","code":"ok HTTP/1.1`, `x-api-key: ${KEY}`]),
      rawRequest(port, ["GET /web/x HTTP/1.1", `x-api-key: ${KEY}`, `user-agent: \x9b2J${forged}`]),
      rawRequest(port, ["GET /web/x HTTP/1.1", `x-api-key: ${KEY}`, `x-request-id: a","code":"ok\x85`]),
      rawRequest(port, ["GET /web/x HTTP/1.1", `x-api-key: \x9b2J${forged}`]),
      rawRequest(port, ["GET /web/x HTTP/1.1", `authorization: Bearer ${forged}`]),
      chat({ model: `chat\u001b[2J\n${forged}`, messages: [] }),
      chat({ model: `chat\u2028${forged}`, messages: [] }),
    ]);
    for (const { status } of answers) expect([200, 400, 401, 404]).toContain(status);
    for (const [index, output] of outputs().entries()) {
      const written = output.slice(before[index]);
      expect(written).not.toMatch(CONTROL);
      for (const line of written.split("\n").filter((each) => each.startsWith("{"))) {
        const entry: unknown = JSON.parse(line);
        expect(entry).not.toMatchObject({ msg: "forged" });
      }
    }
    const ids = answers.flatMap(({ headers }) => headers["x-chancery-decision"] ?? []);
    expect(ids.length).toBeGreaterThan(0);
    for (const id of ids) {
      const { request, subject, reason } = await fleet.record(String(id));
      for (const text of [...Object.values(request), subject.id, reason]) expect(String(text)).not.toMatch(CONTROL);
    }
  });
});

/** Status of a POST over HTTP/2 whose headers go on after the body. */
async function withTrailers(path: string, trailers: Record<string, string>): Promise<number> {
  const session = connect(base);
  try {
    return await new Promise<number>((resolve, reject) => {
      session.on("error", reject);
      const stream = session.request({ ":method": "POST", ":path": path, "x-api-key": KEY }, { endStream: false });
      let status = 0;
      stream.on("response", (headers) => {
        status = Number(headers[":status"]);
      });
      stream.on("wantTrailers", () => stream.sendTrailers(trailers));
      stream.on("error", reject).on("end", () => resolve(status));
      stream.resume();
      stream.write("hi");
      stream.end();
    });
  } finally {
    session.close();
  }
}
