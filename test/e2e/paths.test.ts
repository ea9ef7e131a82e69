import { connect } from "node:http2";
import * as fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startWebServer, type WebServer } from "../../examples/quickstart/web-server.ts";
import { type Fleet, startFleet } from "../support/fleet.ts";
import { freePort } from "../support/free-port.ts";
import { http } from "../support/http-client.ts";
import { rawRequest } from "../support/raw-answer.ts";
import { ALLOW_ALL, anonymous, gateway, plainRoute, policy, upstream, yaml } from "../support/resources.ts";

// Whatever a path is written like: /admin is denied, and what reaches the service behind "/" is not /admin in any
// reading of a server that decodes once, cuts path parameters, takes a backslash for a slash or resolves dots.

let port: number;
let everything: WebServer;
let admin: WebServer;
let fleet: Fleet;

const DENY_ADMIN =
  '{ id: no-admin, effect: deny, when: \'request.url_path == "/admin" || request.url_path.startsWith("/admin/")\', reason: Closed }';

beforeAll(async () => {
  port = await freePort();
  everything = await startWebServer({ name: "everything", keep: 2_000 });
  admin = await startWebServer({ name: "admin" });
  fleet = await startFleet({
    decisionServices: 1,
    resources: {
      "all.yaml": yaml(
        gateway(port),
        upstream("everything", everything.port),
        upstream("admin", admin.port),
        plainRoute("everything", "/", { everything: 1 }),
        plainRoute("admin", "/admin", { admin: 1 }),
        anonymous(),
        policy("all", ALLOW_ALL, DENY_ADMIN),
      ),
    },
  });
});

afterAll(async () => {
  await fleet?.close();
  await everything?.close();
  await admin?.close();
});

afterEach(() => {
  everything.resetStats();
  admin.resetStats();
});

const get = (path: string): ReturnType<typeof rawRequest> => rawRequest(port, [`GET ${path} HTTP/1.1`]);

it("serves what is allowed and denies what is not", async () => {
  expect((await get("/public/x?admin=1")).status).toBe(200);
  expect((await get("/administration")).status).toBe(200);
  expect(everything.stats().requests).toBe(2);
  const denied = await http(`http://127.0.0.1:${port}/admin/x`);
  expect(denied.status).toBe(403);
  expect(denied.json()).toMatchObject({ error: { code: "denied", rule: "all/no-admin", message: "Closed" } });
  expect(admin.stats().requests).toBe(0);
});

it.each([
  // Envoy merges and resolves these: they are /admin.
  ["//admin", 403],
  ["///admin/x", 403],
  ["/public/../admin", 403],
  ["/public/%2e%2e/admin", 403],
  ["/public/.%2e/admin", 403],
  ["/./admin", 403],
  ["/..;/admin", 403],
  ["/%2e/admin", 403],
  ["/admin/.", 403],
  ["/admin/", 403],
  ["/%61dmin", 403],
  ["/admi%6E/x", 403],
  ["/admin?x=/public", 403],
  ["/admin?%61dmin=1;a=b", 403],
  // Separators that are hidden in an escape.
  ["/admin%2Fsecret", 400],
  ["/admin%2fsecret", 400],
  ["/public%2f..%2fadmin", 400],
  ["/admin%5csecret", 400],
  ["/admin%5Csecret", 400],
  // Overlong UTF-8, and what is no UTF-8.
  ["/%c0%ae%c0%ae/admin", 400],
  ["/%c0%2fadmin", 400],
  ["/%ff", 400],
  // Path parameters.
  ["/admin;a=b", 400],
  ["/;/admin", 400],
  ["/public/..%3b/admin", 400],
  ["/a/%2e%2e;/admin", 400],
  // NUL, control characters, bad escapes.
  ["/admin%00", 400],
  ["/%00admin", 400],
  ["/x%0d%0aadmin", 400],
  ["/%zz", 400],
  ["/admin%", 400],
  ["/admin%2", 400],
  ["/admin#x", 400],
  ["/public#/../admin", 400],
])("refuses GET %s with %i", async (path, status) => {
  expect((await get(path)).status).toBe(status);
  expect(everything.stats().requests + admin.stats().requests).toBe(0);
});

it.each([
  // Envoy makes slashes of backslashes before it routes.
  "/app\\..\\admin",
  "\\admin",
  "/\\admin",
  "/public/..\\admin",
])("never serves GET %s", async (path) => {
  expect([400, 403]).toContain((await get(path)).status);
  expect(everything.stats().requests + admin.stats().requests).toBe(0);
});

it.each([
  // Other paths than /admin: rule and service both see them as they are.
  ["/app/\\/\\../\\../admin", "/app/admin"],
  ["/Admin", "/Admin"],
  ["/admin.", "/admin."],
  ["/%252e%252e%252fadmin", "/%252e%252e%252fadmin"],
  ["/admin%20", "/admin%20"],
  ["/caf%C3%A9", "/caf%C3%A9"],
])("GET %s is another path than /admin, for the rule and for the service", async (path, received) => {
  const answer = await get(path);
  expect(answer.status).toBe(200);
  expect(everything.stats().byPath).toEqual({ [received]: 1 });
  const { request } = await fleet.record(answer.headers["x-chancery-decision"] ?? "");
  expect(request.path).toBe(decodeURIComponent(received));
});

describe("forms of the request line and of the host", () => {
  it.each([
    ["an absolute form", ["GET http://evil.example/admin HTTP/1.1"], 403],
    ["an absolute form with another Host", ["GET http://evil.example/admin HTTP/1.1", "host: good.example"], 403],
    ["an absolute form with user information", ["GET http://good@evil.example/admin HTTP/1.1"], 403],
    ["two Host headers", ["GET /public HTTP/1.1", "host: a.example", "host: b.example"], 400],
    ["no slash at the start", ["GET admin HTTP/1.1"], 400],
    ["OPTIONS *", ["OPTIONS * HTTP/1.1"], 404],
    ["CONNECT", ["CONNECT 127.0.0.1:80 HTTP/1.1", "host: 127.0.0.1:80"], 404],
    ["a method in lower case", ["get /public HTTP/1.1"], 400],
    ["a method with odd letters", ["GE!T /public HTTP/1.1"], 400],
    ["a Host with user information", ["GET /public HTTP/1.1", "host: user@a.example"], 400],
    ["a Host with a path", ["GET /public HTTP/1.1", "host: a.example/admin"], 400],
    ["a header with an underscore", ["GET /public HTTP/1.1", "x_role: admin"], 400],
    ["a NUL in a header", ["GET /public HTTP/1.1", "x-role: a\0b"], 400],
    ["a space before the colon", ["GET /public HTTP/1.1", "x-role : admin"], 400],
    ["an upgrade to HTTP/2", ["GET /admin HTTP/1.1", "connection: upgrade, http2-settings", "upgrade: h2c"], 403],
    ["a WebSocket", ["GET /admin HTTP/1.1", "connection: upgrade", "upgrade: websocket"], 403],
  ])("%s is never served", async (_, lines, status) => {
    expect((await rawRequest(port, lines as string[])).status).toBe(status);
    expect(everything.stats().requests + admin.stats().requests).toBe(0);
  });
});

describe("forms of HTTP/2 pseudo headers", () => {
  /** Status (0 where the stream is reset) and decision of a request over HTTP/2. */
  async function overHttp2(headers: Record<string, string>): Promise<{ status: number; decision: string }> {
    const session = connect(`http://127.0.0.1:${port}`);
    try {
      return await new Promise((resolve, reject) => {
        session.on("error", reject);
        const stream = session.request(headers);
        stream.on("response", (answer) =>
          resolve({ status: Number(answer[":status"]), decision: String(answer["x-chancery-decision"]) }),
        );
        const reset = { status: 0, decision: "" };
        stream.on("error", () => resolve(reset));
        stream.on("close", () => resolve(reset));
        stream.resume();
      });
    } finally {
      session.destroy();
    }
  }

  it.each<[Record<string, string>, readonly number[]]>([
    [{ ":path": "/public/../admin" }, [403]],
    [{ ":path": "//admin" }, [403]],
    [{ ":path": "/admin", ":scheme": "HtTpS" }, [400, 403]],
    [{ ":path": "/admin", ":scheme": "file" }, [400, 403]],
    [{ ":path": "admin" }, [0, 400]],
    [{ ":path": "*", ":method": "OPTIONS" }, [404]],
    [{ ":path": "http://evil.example/admin" }, [0, 400]],
    [{ ":path": "/admin;x" }, [400]],
    [{ ":path": "/public", ":method": "get" }, [0, 400]],
    [{ ":path": "/public", ":authority": "user@a.example" }, [0, 400]],
    [{ ":method": "CONNECT", ":authority": "127.0.0.1:80" }, [404]],
    [{ ":path": "/admin", ":method": "CONNECT", ":protocol": "websocket", ":scheme": "http" }, [0, 403, 404]],
  ])("%j is never served", async (headers, statuses) => {
    expect(statuses).toContain((await overHttp2(headers)).status);
    expect(everything.stats().requests + admin.stats().requests).toBe(0);
  });

  it("decides on the host that the service is told", async () => {
    const answer = await overHttp2({ ":path": "/public", ":authority": "Good.example:81", host: "evil.example" });
    expect(answer.status).toBe(200);
    expect((await fleet.record(answer.decision)).request.host).toBe("good.example");
    expect(everything.stats().last[0]?.headers.host).toBe("Good.example:81");
  });
});

it("holds for every path that is put together of such parts", async () => {
  const part = fc.constantFrom(
    ...["admin", "public", "x", "..", ".", "%2e", "%2e%2e", ".%2e", "..;", ";", ";a=b", "%3b", "/", "//", "%2f", "%5c"],
    ...["\\", "%00", "%c0%ae", "%zz", "%61dmin", "%25", "%252f", "?", "#", "&", "=", "%09", "\xff", "%C3%A9", "~", "*"],
  );
  const path = fc.array(part, { minLength: 1, maxLength: 8 }).map((parts) => `/${parts.join("")}`);
  await fc.assert(
    fc.asyncProperty(path, async (target) => {
      const answer = await get(target);
      expect([200, 400, 403]).toContain(answer.status);
      expect(admin.stats().requests).toBe(0);
      const { last } = everything.stats();
      everything.resetStats();
      expect(last.length).toBe(answer.status === 200 ? 1 : 0);
      for (const received of last) expect(readings(received.path)).not.toContain("admin");
    }),
    { numRuns: 200 },
  );
});

/** First segments that a lenient server may see in a path. */
function readings(path: string): string[] {
  const [raw = ""] = path.split(/[?#]/);
  let decoded: string;
  try {
    decoded = decodeURIComponent(raw);
  } catch {
    throw new Error(`a path that cannot be decoded reached a service: ${path}`);
  }
  return [raw, decoded].flatMap((text) =>
    [text, text.replace(/;[^/]*/g, ""), text.replaceAll("\\", "/").replace(/;[^/]*/g, "")].map((read) => {
      const segments: string[] = [];
      for (const segment of read.split("/")) {
        if (segment === "..") segments.pop();
        else if (segment !== "" && segment !== ".") segments.push(segment);
      }
      return segments[0] ?? "";
    }),
  );
}
