import { createHash } from "node:crypto";
import { once } from "node:events";
import { request } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import WebSocket from "ws";
import { startWebServer, type WebServer } from "../../examples/quickstart/web-server.ts";
import type { DecisionRecord } from "../../ext-authz/index.ts";
import { type RunningControlPlane, startControlPlane } from "../support/control-plane.ts";
import { freePort } from "../support/free-port.ts";
import { createGrpcEchoClient, type GrpcEcho, startGrpcEcho } from "../support/grpc-echo.ts";
import { type HttpAnswer, http, keepAliveAgent, openHttp } from "../support/http-client.ts";
import { runLoad } from "../support/load.ts";
import {
  ALLOW_ALL,
  anonymous,
  application,
  gateway,
  plainRoute,
  policy,
  upstream,
  yaml,
} from "../support/resources.ts";
import { createTokenIssuer, type TokenIssuer } from "../support/tokens.ts";
import { waitFor } from "../support/wait-for.ts";

// Services that have nothing to do with models.

const KEY = "key-of-the-shop-app";
const ISSUER = "https://id.acme.example";
const DEADLINE_MS = 20_000;

let base: string;
let port: number;
let plane: RunningControlPlane;
let issuer: TokenIssuer;
let blue: WebServer;
let green: WebServer;
let own: WebServer;
let echo: GrpcEcho;

const weights = (blueWeight: number, greenWeight: number): string =>
  plainRoute("split", "/split", { blue: blueWeight, green: greenWeight });

/** A route with one rule, whose other fields are YAML of their own. */
const route = (name: string, prefix: string, rest: string, hostnames = "[]"): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ${name} }
spec:
  parentRefs: [{ name: edge }]
  hostnames: ${hostnames}
  rules:
    - matches: [{ path: { type: PathPrefix, value: ${prefix} } }]
      ${rest.trim().replaceAll("\n", "\n      ")}`;
const TO_BLUE = "backendRefs: [{ group: chancery.dev, kind: Upstream, name: blue }]";

beforeAll(async () => {
  port = await freePort();
  base = `http://127.0.0.1:${port}`;
  issuer = await createTokenIssuer(ISSUER);
  blue = await startWebServer({ name: "blue" });
  green = await startWebServer({ name: "green" });
  own = await startWebServer({ name: "own" });
  echo = await startGrpcEcho();
  plane = await startControlPlane({
    resources: {
      "jwks.json": JSON.stringify(issuer.jwks()),
      "all.yaml": yaml(
        gateway(port),
        ...[upstream("blue", blue.port), upstream("green", green.port)],
        upstream("own", own.port, "credential: { mode: passThrough }"),
        upstream("echo", echo.port, "protocol: http2"),
        ...[plainRoute("blue", "/blue", { blue: 1 }), plainRoute("own", "/own", { own: 1 })],
        plainRoute("echo", "/chancery.test.v1.Echo", { echo: 1 }),
        route(
          "rewrite",
          "/old",
          `filters: [{ type: URLRewrite, urlRewrite: { hostname: new.example, path: { type: ReplacePrefixMatch, replacePrefixMatch: /new } } }]\n${TO_BLUE}`,
        ),
        route(
          "full",
          "/full",
          `filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplaceFullPath, replaceFullPath: /100%/one } } }]\n${TO_BLUE}`,
        ),
        route(
          "moved",
          "/moved",
          "filters: [{ type: RequestRedirect, requestRedirect: { scheme: https, hostname: shop.example, port: 8443, path: { type: ReplacePrefixMatch, replacePrefixMatch: /here }, statusCode: 301 } }]",
        ),
        route("slow", "/slow", `timeouts: { request: 300ms }\n${TO_BLUE}`),
        route(
          "headers",
          "/headers",
          `
filters:
  - type: RequestHeaderModifier
    requestHeaderModifier: { set: [{ name: x-set, value: "100%REQ(x-api-key)%" }], add: [{ name: x-add, value: two }], remove: [x-gone] }
  - type: ResponseHeaderModifier
    responseHeaderModifier: { set: [{ name: x-served-by, value: somebody }], add: [{ name: x-more, value: more }], remove: [content-type] }
${TO_BLUE}`,
        ),
        route(
          "hosted",
          "/",
          "backendRefs: [{ group: chancery.dev, kind: Upstream, name: green }]",
          '["shop.example", "*.shop.example"]',
        ),
        application("shop", createHash("sha256").update(KEY).digest("hex")),
        `
apiVersion: chancery.dev/v1
kind: Application
metadata: { name: people }
spec:
  purpose: test
  riskTier: minimal
  jwt: [{ issuer: "${ISSUER}", audiences: [gateway], jwks: { file: jwks.json }, subject: { team: team } }]`,
        anonymous(),
        policy(
          "all",
          ALLOW_ALL,
          "{ id: paths, effect: deny, when: 'request.url_path.startsWith(\"/blue/private\")', reason: Private }",
          '{ id: teams, effect: deny, when: \'request.url_path.startsWith("/blue/finance") && !(subject.kind == "jwt" && has(subject.team) && subject.team == "finance")\', reason: For finance }',
        ),
      ),
      "split.yaml": weights(3, 1),
    },
  });
});

afterAll(async () => {
  await plane?.close();
  await Promise.all([blue, green, own, echo].map((server) => server?.close()));
});

beforeEach(() => {
  for (const server of [blue, green, own]) {
    server.resetStats();
    server.setBehaviour({});
  }
});

const reached = () => ({
  blue: blue.stats().requests,
  green: green.stats().requests,
  own: own.stats().requests,
});
/** The record of the decision that an answer names. */
const record = (answer: HttpAnswer): Promise<DecisionRecord> =>
  waitFor(
    async () => (await plane.records()).find(({ id }) => id === answer.headers["x-chancery-decision"]),
    DEADLINE_MS,
    "the record of the decision",
  );
const NOBODY = { blue: 0, green: 0, own: 0 };

describe("what is not a request and an answer", () => {
  it("carries a WebSocket both ways", async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/blue/socket`, { headers: { "x-api-key": KEY } });
    await once(socket, "open");
    for (const message of ["one", "two", "x".repeat(100_000)]) {
      const answered = once(socket, "message");
      socket.send(message);
      expect(String((await answered)[0])).toBe(message);
    }
    const closed = once(socket, "close");
    socket.close();
    await closed;
    expect(reached()).toEqual({ ...NOBODY, blue: 1 });
    expect(blue.stats().last[0]?.headers).not.toHaveProperty("x-api-key");
  });

  it("refuses a WebSocket that a rule denies", async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/blue/private`);
    const [error] = (await once(socket, "error").catch((thrown: Error) => [thrown])) as [Error];
    expect(error.message).toBe("Unexpected server response: 403");
    expect(reached()).toEqual(NOBODY);
  });

  it("carries a gRPC stream both ways, message by message", async () => {
    const client = createGrpcEchoClient(`127.0.0.1:${port}`);
    try {
      const chat = client.chat();
      const answers = chat.answers[Symbol.asyncIterator]();
      for (const message of ["one", "two", "three"]) {
        chat.send(message);
        expect(String((await answers.next()).value)).toBe(message);
      }
      expect(echo.stats()).toMatchObject({ open: 1, messages: 3 });
      chat.end();
      expect((await answers.next()).done).toBe(true);
      expect(await client.unary("four")).toBe("four");
    } finally {
      client.close();
    }
  });

  it("carries the first byte of an upload before its last", async () => {
    const { upload, answered } = openUpload("/blue/upload");
    upload.write("first");
    await waitFor(() => blue.uploads().at(-1)?.firstByteAt !== undefined, DEADLINE_MS, "the first byte upstream");
    expect(blue.uploads().at(-1)).toMatchObject({ bytes: 5 });
    expect(blue.uploads().at(-1)).not.toHaveProperty("endedAt");
    upload.end("last");
    expect(await answered).toBe(200);
    expect(blue.uploads().at(-1)).toMatchObject({ bytes: 9, endedAt: expect.any(Number) });
  });

  it("carries events as they come", async () => {
    const open = await openHttp(`${base}/blue/events?count=3&gapMs=0`);
    const events: string[] = [];
    for await (const event of open.events()) events.push(event);
    expect(events.map((event) => JSON.parse(event).number)).toEqual([0, 1, 2]);
    const endless = await openHttp(`${base}/blue/events?count=10&gapMs=600000`);
    const first = await endless.events().next();
    expect(JSON.parse(String(first.value))).toEqual({ number: 0, served_by: "blue" });
    endless.close();
  });
});

/** A POST in chunks, without a length. */
function openUpload(path: string) {
  const upload = request(`${base}${path}`, { method: "POST", agent: false });
  const answered = once(upload, "response").then(([answer]) => {
    answer.resume();
    return Number(answer.statusCode);
  });
  return { upload, answered };
}

describe("retries", () => {
  it.each([500, 502, 503, 429])("sends a POST once that is answered %i", async (status) => {
    blue.setBehaviour({ status });
    const answer = await http(`${base}/blue/orders`, { body: { order: 1 } });
    expect(answer.status).toBe(status);
    expect(answer.json()).toMatchObject({ served_by: "blue" });
    expect(reached()).toEqual({ ...NOBODY, blue: 1 });
  });

  it("sends a POST once whose connection is reset", async () => {
    blue.setBehaviour({ reset: true });
    expect((await http(`${base}/blue/orders`, { body: { order: 1 } })).status).toBe(503);
    expect(reached()).toEqual({ ...NOBODY, blue: 1 });
  });
});

describe("credentials", () => {
  const foreign = "Bearer token-of-the-services-own";

  it("passes the client's own Authorization on where the upstream takes it", async () => {
    expect((await http(`${base}/own/x`, { headers: { authorization: foreign } })).status).toBe(200);
    expect((await http(`${base}/own/x`, { headers: { authorization: foreign, "x-api-key": KEY } })).status).toBe(200);
    const basic = "Basic dXNlcjpwYXNzd29yZA==";
    expect((await http(`${base}/own/x`, { headers: { authorization: basic } })).status).toBe(200);
    const received = own.stats().last.map(({ headers }) => headers);
    expect(received.map((headers) => headers.authorization)).toEqual([foreign, foreign, basic]);
    for (const headers of received) expect(headers).not.toHaveProperty("x-api-key");
  });

  it("never passes our API key on, wherever it stands", async () => {
    const sent = [{ authorization: `Bearer ${KEY}` }, { "x-api-key": KEY }, { "api-key": KEY }];
    for (const path of ["/own/x", "/blue/x", "/shop"]) {
      for (const headers of sent) {
        const host = path === "/shop" ? { host: "shop.example" } : {};
        const answer = await http(`${base}${path}`, { headers: { ...headers, ...host } });
        expect([path, answer.status]).toEqual([path, 200]);
        expect(await record(answer)).toMatchObject({
          application: "shop",
        });
      }
    }
    expect(reached()).toEqual({ own: 3, blue: 3, green: 3 });
    expect(JSON.stringify([own, blue, green].map((server) => server.stats().last))).not.toContain(KEY);
  });

  it("passes our issuer's token on where the upstream takes it, and nowhere else", async () => {
    const token = await issuer.sign({ sub: "ada", team: "finance" }, { audience: "gateway" });
    const headers = { authorization: `Bearer ${token}` };
    expect((await http(`${base}/own/x`, { headers })).status).toBe(200);
    expect((await http(`${base}/blue/x`, { headers })).status).toBe(200);
    expect(own.stats().last[0]?.headers.authorization).toBe(`Bearer ${token}`);
    expect(blue.stats().last[0]?.headers).not.toHaveProperty("authorization");
  });
});

describe("rules", () => {
  it("deny by path", async () => {
    const answer = await http(`${base}/blue/private/x`, { headers: { "x-api-key": KEY } });
    expect([answer.status, reached()]).toEqual([403, NOBODY]);
    expect(answer.json()).toMatchObject({ error: { message: "Private", rule: "all/paths" } });
  });

  it("allow and deny by a claim of the token", async () => {
    const as = async (claims: object) => {
      const token = await issuer.sign({ sub: "ada", ...claims }, { audience: "gateway" });
      const answer = await http(`${base}/blue/finance`, { headers: { authorization: `Bearer ${token}` } });
      return answer.status;
    };
    expect(await as({ team: "finance" })).toBe(200);
    expect(await as({ team: "sales" })).toBe(403);
    expect(await as({})).toBe(403);
    expect((await http(`${base}/blue/finance`, { headers: { "x-api-key": KEY } })).status).toBe(403);
    expect(reached()).toEqual({ ...NOBODY, blue: 1 });
  });
});

describe("routes", () => {
  it("answers 404 without a match, and asks nobody", async () => {
    const asked = await plane.envoyStats("ext_authz.(ok|denied|error)$");
    const answer = await http(`${base}/nowhere`, { headers: { "x-api-key": KEY } });
    expect(answer.status).toBe(404);
    expect(answer.headers["content-type"]).toBe("application/json");
    expect(answer.json()).toMatchObject({ error: { code: "not_found" } });
    expect((await http(`${base}/bluebird`)).status).toBe(404);
    expect(await plane.envoyStats("ext_authz.(ok|denied|error)$")).toEqual(asked);
    expect(reached()).toEqual(NOBODY);
    // The same counters do see a request with a match.
    await http(`${base}/blue/x`);
    expect(await plane.envoyStats("ext_authz.(ok|denied|error)$")).not.toEqual(asked);
  });

  it("answers a gRPC call without a match in gRPC's way", async () => {
    const answer = await http(`${base}/nowhere`, { headers: { "content-type": "application/grpc" }, method: "POST" });
    expect(answer.status).toBe(200);
    expect(answer.headers).toMatchObject({
      "grpc-status": "12",
      "grpc-message": "No route of this gateway matches the request.",
    });
  });

  it("redirects, with a decision on record and nothing upstream", async () => {
    const answer = await http(`${base}/moved/a/b?c=d`);
    expect(answer.status).toBe(301);
    expect(answer.headers.location).toBe("https://shop.example:8443/here/a/b?c=d");
    expect(await record(answer)).toMatchObject({ route: "moved/0/0", effect: "allow", targets: [] });
    expect(reached()).toEqual(NOBODY);
  });

  it("rewrites path and host; the rules saw the path that was asked for", async () => {
    const answer = await http(`${base}/old/a?b=c`);
    expect(answer.json()).toMatchObject({ path: "/new/a?b=c", headers: { host: "new.example" } });
    expect((await record(answer)).request.path).toBe("/old/a");
    expect((await http(`${base}/full/a?b=c`)).json()).toMatchObject({ path: "/100%/one?b=c" });
  });

  it("changes headers as written, whatever Envoy would make of them", async () => {
    const answer = await http(`${base}/headers`, {
      headers: { "x-api-key": KEY, "x-set": "no", "x-add": "one", "x-gone": "here" },
    });
    const { headers } = answer.json<{ headers: Record<string, string> }>();
    expect(headers).toMatchObject({ "x-set": "100%REQ(x-api-key)%", "x-add": "one, two" });
    expect(headers).not.toHaveProperty("x-gone");
    expect(answer.headers).toMatchObject({ "x-served-by": "somebody", "x-more": "more" });
    expect(answer.headers).not.toHaveProperty("content-type");
  });

  it("gives up in time, and says so in JSON", async () => {
    blue.setBehaviour({ delayMs: 60_000 });
    const answer = await http(`${base}/slow`);
    expect(answer.status).toBe(504);
    expect(answer.headers["content-type"]).toBe("application/json");
    expect(answer.json()).toMatchObject({ error: { code: "upstream_timeout" } });
    expect(reached()).toEqual({ ...NOBODY, blue: 1 });
  });

  it.each([
    ["shop.example", 200],
    ["SHOP.example", 200],
    ["shop.example.", 200],
    [`shop.example:8080`, 200],
    ["a.b.shop.example", 200],
    ["workshop.example", 404],
    ["example", 404],
  ])("belongs to its host name: %s", async (host, status) => {
    const answer = await http(`${base}/`, { headers: { host } });
    expect(answer.status).toBe(status);
    expect(reached()).toEqual({ ...NOBODY, green: status === 200 ? 1 : 0 });
  });
});

describe("weights", () => {
  const N = 2_000;
  /** Five standard deviations of a binomial count. */
  const bound = (share: number) => 5 * Math.sqrt(N * share * (1 - share));

  async function split(count: number, rps: number): Promise<number[]> {
    const agent = keepAliveAgent(16);
    try {
      const answers = await runLoad({
        rps,
        count,
        request: async () => (await http(`${base}/split`, { agent, timeoutMs: DEADLINE_MS })).status,
      });
      return answers.map((answer) => answer.value ?? 0);
    } finally {
      agent.destroy();
    }
  }

  it("share requests as written", async () => {
    expect(new Set(await split(N, 500))).toEqual(new Set([200]));
    const { blue: toBlue, green: toGreen } = reached();
    expect(toBlue + toGreen).toBe(N);
    expect(Math.abs(toBlue - N * 0.75)).toBeLessThan(bound(0.75));
  });

  it("change under load without a lost request", async () => {
    const load = split(1_200, 200);
    await waitFor(() => reached().green > 20, DEADLINE_MS, "requests before the change");
    await plane.write("split.yaml", weights(0, 1));
    const before = reached().blue;
    expect(new Set(await load)).toEqual(new Set([200]));
    expect(before).toBeGreaterThan(0);
    await waitFor(
      async () => {
        blue.resetStats();
        await split(40, 400);
        return reached().blue === 0;
      },
      DEADLINE_MS,
      "no more requests for a weight of 0",
    );
    expect(green.stats().requests).toBeGreaterThan(0);
  });
});
