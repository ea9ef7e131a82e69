import { createHash, createHmac } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startModelServer } from "../../examples/quickstart/model-server.ts";
import type { StandIn } from "../../examples/quickstart/stand-in.ts";
import { startWebServer } from "../../examples/quickstart/web-server.ts";
import { type Fleet, startFleet } from "../support/fleet.ts";
import { freePort } from "../support/free-port.ts";
import { createGrpcEchoClient, type GrpcEcho, startGrpcEcho } from "../support/grpc-echo.ts";
import { type HttpAnswer, http, openHttp } from "../support/http-client.ts";
import { rawRequest } from "../support/raw-answer.ts";
import {
  ALLOW_ALL,
  anonymous,
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
import { createTokenIssuer, type TokenIssuer } from "../support/tokens.ts";
import { waitFor } from "../support/wait-for.ts";

// API keys and tokens on one listener.

const KEY = "key-of-the-keyed";
const SECOND_KEY = "key-of-the-second";
const ISSUER = "https://id.acme.example";
const DEADLINE_MS = 20_000;

let port: number;
let base: string;
let fleet: Fleet;
let issuer: TokenIssuer;
let stranger: TokenIssuer;
let web: StandIn;
let chatServer: StandIn;
let echo: GrpcEcho;

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

/** An application that is known by its tokens. */
const tokenApplication = (name: string, claims: string) => `
apiVersion: chancery.dev/v1
kind: Application
metadata: { name: ${name} }
spec:
  purpose: test
  riskTier: minimal
  jwt: [{ issuer: "${ISSUER}", audiences: [gateway], jwks: { file: jwks.json }, claims: ${claims}, subject: { team: team } }]`;

beforeAll(async () => {
  port = await freePort();
  base = `http://127.0.0.1:${port}`;
  issuer = await createTokenIssuer(ISSUER);
  stranger = await createTokenIssuer("https://id.stranger.example");
  web = await startWebServer({ name: "web" });
  chatServer = await startModelServer({ name: "chat-server" });
  echo = await startGrpcEcho();
  fleet = await startFleet({
    decisionServices: 1,
    files: { "jwks.json": JSON.stringify(issuer.jwks()) },
    resources: {
      "all.yaml": yaml(
        gateway(port),
        ...[upstream("web", web.port), upstream("chat-server", chatServer.port)],
        upstream("echo", echo.port, "protocol: http2"),
        ...[plainRoute("web", "/web", { web: 1 }), plainRoute("echo", "/chancery.test.v1.Echo", { echo: 1 })],
        ...[model("chat"), version("chat", "v1", "chat-server"), modelRoute("chat")],
        ...[application("keyed", sha256(KEY)), application("second", sha256(SECOND_KEY))],
        ...[tokenApplication("sales", "{ team: sales }"), tokenApplication("support", "{ team: support }")],
        ...[approval("chat-v1", "keyed"), approval("chat-v1", "sales")],
        policy(
          "all",
          ALLOW_ALL,
          '{ id: forbidden, effect: deny, when: \'"x-forbidden" in request.header_values\', reason: "Not this: 100 % sure" }',
        ),
      ),
    },
  });
});

afterAll(async () => {
  await fleet?.close();
  await Promise.all([web, chatServer, echo].map((server) => server?.close()));
});

afterEach(() => {
  web.resetStats();
  chatServer.resetStats();
});

const get = (headers: Record<string, string | string[]>, path = "/web/x") => http(`${base}${path}`, { headers });
const ask = (headers: Record<string, string | string[]>) =>
  http(`${base}/v1/chat/completions`, { headers, body: { model: "chat", messages: [] } });
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const sales = () => issuer.sign({ sub: "ada", team: "sales" }, { audience: "gateway" });
const codeOf = (answer: HttpAnswer) => answer.json<{ error: { code: string } }>().error.code;

/** Changes the decoded part of a token; its signature stays. */
function changed(token: string, part: 0 | 1, change: (fields: Record<string, unknown>) => void): string {
  const parts = token.split(".");
  const fields = JSON.parse(Buffer.from(parts[part] ?? "", "base64url").toString()) as Record<string, unknown>;
  change(fields);
  parts[part] = Buffer.from(JSON.stringify(fields)).toString("base64url");
  return parts.join(".");
}

/** Signed with HMAC, the issuer's public key being the secret: what a library that takes `alg` on trust accepts. */
function confused(token: string): string {
  const [header = "", payload = ""] = changed(token, 0, (fields) => {
    fields.alg = "HS256";
  }).split(".");
  const secret = JSON.stringify(issuer.jwks().keys[0]);
  return `${header}.${payload}.${createHmac("sha256", secret).update(`${header}.${payload}`).digest("base64url")}`;
}

describe("a caller who is known", () => {
  it.each<[string, () => Record<string, string> | Promise<Record<string, string>>, string, string, string]>([
    ["a key in Authorization", () => bearer(KEY), "keyed", "apiKey", "main"],
    ["a key behind a lower-case bearer", () => ({ authorization: `bearer ${KEY}` }), "keyed", "apiKey", "main"],
    ["a key in x-api-key", () => ({ "x-api-key": KEY }), "keyed", "apiKey", "main"],
    ["a key in api-key", () => ({ "api-key": SECOND_KEY }), "second", "apiKey", "main"],
    ["one key in two headers", () => ({ "x-api-key": KEY, ...bearer(KEY) }), "keyed", "apiKey", "main"],
    ["a token", async () => bearer(await sales()), "sales", "jwt", "ada"],
    [
      "a token of another application of the same issuer",
      async () => bearer(await issuer.sign({ sub: "bob", team: "support" }, { audience: ["x", "gateway"] })),
      "support",
      "jwt",
      "bob",
    ],
  ])("passes with %s, is on record, and keeps the credential to Envoy", async (_, headers, name, kind, id) => {
    const sent = await headers();
    const answer = await get(sent);
    expect(answer.status).toBe(200);
    const record = await fleet.record(String(answer.headers["x-chancery-decision"]));
    expect(record).toMatchObject({ effect: "allow", application: name, subject: { kind, id } });
    expect(web.stats().requests).toBe(1);
    const arrived = JSON.stringify(web.stats().last);
    for (const value of Object.values(sent)) expect(arrived).not.toContain(value.replace(/^bearer /i, ""));
  });

  it("uses the models that are approved for it", async () => {
    expect((await ask(bearer(KEY))).status).toBe(200);
    expect((await ask(bearer(await sales()))).status).toBe(200);
    expect((await ask({ "x-api-key": SECOND_KEY })).status).toBe(403);
    expect(chatServer.stats().requests).toBe(2);
    for (const { headers } of chatServer.stats().last) {
      expect(headers).not.toHaveProperty("authorization");
      expect(headers).not.toHaveProperty("x-api-key");
    }
  });
});

type Headers = Record<string, string | string[]>;
const WRONG: [string, string, () => Headers | Promise<Headers>][] = [
  ["nothing", "missing_credentials", () => ({})],
  ["an empty Authorization", "missing_credentials", () => ({ authorization: "" })],
  ["an unknown key", "invalid_api_key", () => bearer("key-of-nobody")],
  ["an unknown x-api-key", "invalid_api_key", () => ({ "x-api-key": "key-of-nobody" })],
  ["an unknown api-key beside a known key", "invalid_api_key", () => ({ "api-key": "key-of-nobody", ...bearer(KEY) })],
  ["the hash of a key", "invalid_api_key", () => bearer(sha256(KEY))],
  ["a key in capitals", "invalid_api_key", () => bearer(KEY.toUpperCase())],
  ["a key without a scheme", "invalid_api_key", () => ({ authorization: KEY })],
  ["a key with another scheme", "invalid_api_key", () => ({ authorization: `Token ${KEY}` })],
  ["a key with something behind it", "invalid_api_key", () => bearer(`${KEY} x`)],
  ["a key with a comma behind it", "invalid_api_key", () => bearer(`${KEY},x`)],
  ["a scheme alone", "invalid_api_key", () => ({ authorization: "Bearer" })],
  ["Basic", "invalid_api_key", () => ({ authorization: `Basic ${Buffer.from(`keyed:${KEY}`).toString("base64")}` })],
  ["garbage", "invalid_api_key", () => bearer("%%%.===.***")],
  ["bytes that are no text", "invalid_api_key", () => ({ authorization: "Bearer \xff\xfe" })],
  ["a very long key", "invalid_api_key", () => bearer("k".repeat(20_000))],
  ["two Authorization headers", "ambiguous_credentials", () => ({ authorization: [`Bearer ${KEY}`, "Bearer other"] })],
  [
    "one Authorization header twice",
    "ambiguous_credentials",
    () => ({ authorization: Array(2).fill(`Bearer ${KEY}`) }),
  ],
  [
    "a token and then a key in two Authorization headers",
    "ambiguous_credentials",
    async () => ({ authorization: [`Bearer ${await sales()}`, `Bearer ${KEY}`] }),
  ],
  ["two x-api-key headers", "ambiguous_credentials", () => ({ "x-api-key": [KEY, SECOND_KEY] })],
  ["two different keys", "ambiguous_credentials", () => ({ "x-api-key": SECOND_KEY, ...bearer(KEY) })],
  ["a key and a token", "ambiguous_credentials", async () => ({ "x-api-key": KEY, ...bearer(await sales()) })],
  ["a token in x-api-key", "invalid_api_key", async () => ({ "x-api-key": await sales() })],
  ["a token that has expired", "invalid_token", async () => signed({ expiresInSeconds: -120 })],
  ["a token that is not valid yet", "invalid_token", async () => signed({}, { nbf: Date.now() / 1_000 + 3_600 })],
  ["a token without an end", "invalid_token", async () => signed({ expiresInSeconds: "never" })],
  ["a token for others", "unknown_caller", async () => signed({ audience: "other" })],
  ["a token for nobody", "unknown_caller", async () => bearer(await issuer.sign({ sub: "ada", team: "sales" }))],
  ["a token of no application", "unknown_caller", async () => signed({}, { team: "pirates" })],
  ["a token of another issuer", "invalid_token", async () => bearer(await stranger.sign({ team: "sales" }))],
  [
    "a token of another issuer in the name of ours",
    "invalid_token",
    async () => bearer(await stranger.sign({ team: "sales" }, { issuer: ISSUER, audience: "gateway" })),
  ],
  ["a token of an unknown key", "invalid_token", async () => signed({ keyId: "key-99" })],
  ["a token with another signature", "invalid_token", async () => bearer(`${(await sales()).slice(0, -8)}AAAAAAAA`)],
  ["a token without its signature", "invalid_token", async () => bearer((await sales()).replace(/[^.]*$/, ""))],
  [
    "a token whose payload was changed",
    "invalid_token",
    async () => bearer(changed(await sales(), 1, (claims) => Object.assign(claims, { team: "support" }))),
  ],
  [
    "a token that needs no signature",
    "invalid_token",
    async () =>
      bearer(changed(await sales(), 0, (header) => Object.assign(header, { alg: "none" })).replace(/[^.]*$/, "")),
  ],
  ["a token signed with the public key", "invalid_token", async () => bearer(confused(await sales()))],
  ["a token with something behind it", "invalid_token", async () => bearer(`${await sales()}=`)],
  ["a token behind a lower-case bearer", "invalid_token", async () => ({ authorization: `bearer ${await sales()}` })],
  ["a token with a space and more", "ambiguous_credentials", async () => bearer(`${await sales()} x`)],
  ["a token with a fourth part", "invalid_api_key", async () => bearer(`${await sales()}.x`)],
];

async function signed(options: Parameters<TokenIssuer["sign"]>[1], claims: object = {}): Promise<Headers> {
  return bearer(await issuer.sign({ sub: "ada", team: "sales", ...claims }, { audience: "gateway", ...options }));
}

describe("a caller who is not known is answered 401, with a record", () => {
  it.each(WRONG)("%s", async (_, code, headers) => {
    const sent = await headers();
    for (const answer of [await get(sent), await ask(sent)]) {
      expect(answer.status).toBe(401);
      expect(answer.headers).toMatchObject({ "content-type": "application/json", "www-authenticate": "Bearer" });
      const { error } = answer.json<{ error: Record<string, unknown> }>();
      expect(error).toEqual({
        message: expect.stringMatching(/^[\x20-\x7e]{5,200}$/),
        type: "authentication_error",
        param: null,
        code,
        decision_id: answer.headers["x-chancery-decision"],
        rule: null,
      });
      const record = await fleet.record(String(error.decision_id));
      expect(record).toMatchObject({ effect: "deny", status: 401, code, application: "", targets: [] });
      for (const value of Object.values(sent).flat()) {
        const secret = value.replace(/^\w+ /, "");
        if (secret.length > 6) expect(JSON.stringify([record, answer.text()])).not.toContain(secret);
      }
    }
    expect(web.stats().requests + chatServer.stats().requests).toBe(0);
  });

  it("a token in the query, in a cookie or in a body", async () => {
    const token = await sales();
    const answers = [
      await get({}, `/web/x?access_token=${token}`),
      await get({ cookie: `token=${token}; Authorization=${token}` }),
      await get({ "proxy-authorization": `Bearer ${token}` }),
    ];
    for (const answer of answers) expect([answer.status, codeOf(answer)]).toEqual([401, "missing_credentials"]);
    // What is in a query is in nobody's log.
    const output = [fleet.envoy.process, fleet.xds(), ...fleet.decisionServices()].map(
      (child) => child.stdout() + child.stderr(),
    );
    expect(output.join("")).not.toContain(token);
    expect(web.stats().requests).toBe(0);
  });

  it("a header that begins before its name ends", async () => {
    const answer = await rawRequest(port, ["GET /web/x HTTP/1.1", `authorization : Bearer ${KEY}`]);
    expect(answer.status).toBe(400);
    expect(web.stats().requests).toBe(0);
  });
});

describe("a token that was taken before", () => {
  it("lends its signature to no other payload", async () => {
    const token = await sales();
    const forged = changed(token, 1, (claims) => Object.assign(claims, { sub: "eve", team: "support" }));
    for (let round = 0; round < 3; round += 1) {
      const [taken, refused] = await Promise.all([get(bearer(token)), get(bearer(forged))]);
      expect([taken.status, refused.status]).toEqual([200, 401]);
      const { application, subject } = await fleet.record(String(taken.headers["x-chancery-decision"]));
      expect([application, subject.id]).toEqual(["sales", "ada"]);
    }
    expect(web.stats().requests).toBe(3);
  });

  it("is refused from its end on", async () => {
    // Envoy takes tokens for a minute longer than they say (clock skew): this one has a few seconds left.
    const token = await signed({ expiresInSeconds: -50 });
    expect((await get(token)).status).toBe(200);
    await waitFor(async () => (await get(token)).status === 401, DEADLINE_MS, "the end of the token");
    expect(codeOf(await get(token))).toBe("invalid_token");
  });

  it("is taken amid a flood of tokens with keys that nobody knows", async () => {
    const token = bearer(await sales());
    for (let round = 0; round < 10; round += 1) {
      const unknown = Array.from({ length: 20 }, (_, index) => signed({ keyId: `key-${round}-${index}-of-nobody` }));
      const [taken, ...refused] = await Promise.all([token, ...(await Promise.all(unknown))].map((sent) => get(sent)));
      expect(taken?.status).toBe(200);
      expect(new Set(refused.map((answer) => `${answer.status} ${codeOf(answer)}`))).toEqual(
        new Set(["401 invalid_token"]),
      );
    }
    expect(web.stats().requests).toBe(10);
  });
});

describe("a gRPC call", () => {
  it("passes with a key, and is refused with gRPC statuses", async () => {
    const client = createGrpcEchoClient(`127.0.0.1:${port}`);
    try {
      expect(await client.unary("hello", { authorization: `Bearer ${KEY}` })).toBe("hello");
      const calls = echo.stats().calls;
      const refused = [
        await failure(client.unary("hello")),
        await failure(client.unary("hello", { "x-api-key": "key-of-nobody" })),
        await failure(client.unary("hello", { "x-api-key": KEY, "x-forbidden": "1" })),
      ];
      expect(refused.map(({ code }) => code)).toEqual([16, 16, 7]);
      expect(refused.map(({ details }) => details.replace(/[0-9a-f-]{36}/, "ID"))).toEqual([
        expect.stringContaining("(missing_credentials, decision ID)"),
        expect.stringContaining("(invalid_api_key, decision ID)"),
        "Not this: 100 % sure (denied, decision ID)",
      ]);
      const id = /[0-9a-f-]{36}/.exec(refused[2]?.details ?? "")?.[0] ?? "";
      expect(await fleet.record(id)).toMatchObject({ code: "denied", application: "keyed", rule: "all/forbidden" });
      expect(echo.stats().calls).toBe(calls);
    } finally {
      client.close();
    }
  });

  it("is refused before a stream begins", async () => {
    const client = createGrpcEchoClient(`127.0.0.1:${port}`);
    try {
      const calls = echo.stats().calls;
      const chat = client.chat();
      chat.send("hello");
      const read = async (): Promise<void> => {
        for await (const _ of chat.answers);
      };
      expect((await failure(read())).code).toBe(16);
      expect(echo.stats().calls).toBe(calls);
    } finally {
      client.close();
    }
  });
});

async function failure(call: Promise<unknown>): Promise<{ code: number; details: string }> {
  return call.then(
    () => Promise.reject(new Error("the call was answered")),
    (error: { code: number; details: string }) => error,
  );
}

describe("a change of keys and applications", () => {
  const listeners = async () => {
    const stats = await fleet.envoy.stats("^listener_manager.listener_(added|modified|removed|create_success)$");
    return stats;
  };

  it("takes effect without a restart, changes no listener, and cuts no connection", async () => {
    const before = await listeners();
    const open = await openHttp(`${base}/web/events?count=10000&gapMs=20`, { headers: { "x-api-key": KEY } });
    const events = open.events();
    try {
      await events.next();
      const old = await sales();
      await issuer.rotate();
      const overlapping = await sales();
      expect((await get(bearer(overlapping))).status).toBe(401);
      await fleet.write("jwks.json", JSON.stringify(issuer.jwks()));
      await waitFor(async () => (await get(bearer(overlapping))).status === 200, DEADLINE_MS, "the new key");
      expect((await get(bearer(old))).status).toBe(200);

      await issuer.rotate({ forget: true });
      const newest = await sales();
      await fleet.write("jwks.json", JSON.stringify(issuer.jwks()));
      await waitFor(async () => (await get(bearer(newest))).status === 200, DEADLINE_MS, "the newest key alone");
      expect(codeOf(await get(bearer(old)))).toBe("invalid_token");
      expect(codeOf(await get(bearer(overlapping)))).toBe("invalid_token");

      await fleet.write("more.yaml", application("third", sha256("key-of-the-third")));
      await waitFor(async () => (await get(bearer("key-of-the-third"))).status === 200, DEADLINE_MS, "the new key");
      expect(await listeners()).toEqual(before);
      expect((await events.next()).done).toBe(false);
    } finally {
      open.close();
    }
  });

  it("lets in those without an identity once somebody takes them, and still nobody whose credential is wrong", async () => {
    await fleet.write("anonymous.yaml", anonymous());
    await waitFor(async () => (await get({})).status === 200, DEADLINE_MS, "anonymous requests");
    web.resetStats();
    const wrong = WRONG.filter(([, code]) => code !== "missing_credentials");
    for (const [what, code, headers] of wrong) {
      const answer = await get(await headers());
      expect([what, answer.status, codeOf(answer)]).toEqual([what, 401, code]);
    }
    expect(web.stats().requests).toBe(0);
  });
});
