import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { connect as connectHttp2 } from "node:http2";
import { join } from "node:path";
import { connect } from "node:tls";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startModelServer } from "../../examples/quickstart/model-server.ts";
import type { StandIn } from "../../examples/quickstart/stand-in.ts";
import { startWebServer } from "../../examples/quickstart/web-server.ts";
import { createCertificateAuthority, type KeyedCertificate } from "../support/certificates.ts";
import { type RunningControlPlane, startControlPlane } from "../support/control-plane.ts";
import { freePort } from "../support/free-port.ts";
import { http, openHttp } from "../support/http-client.ts";
import {
  ALLOW_ALL,
  anonymous,
  model,
  modelRoute,
  plainRoute,
  policy,
  upstream,
  version,
  yaml,
} from "../support/resources.ts";
import { startTlsFront, type TlsFront } from "../support/tls-front.ts";
import { waitFor } from "../support/wait-for.ts";

// Certificates, keys and credentials: from files, by SDS, and nowhere else.

const DEADLINE_MS = 20_000;
const OLD_SECRET = "sk-first-secret-of-the-provider-0123456789";
const NEW_SECRET = "sk-second-secret-of-the-provider-9876543210";
const OTHER_SECRET = "sk-secret-of-the-other-provider-5555555555";

const clientSide = createCertificateAuthority("Clients trust this");
const inside = createCertificateAuthority("Upstreams are signed by this");
const insideNext = createCertificateAuthority("Upstreams are signed by this later");
const shop = clientSide.issue(["shop.example"]);
const shopNext = clientSide.issue(["shop.example"]);
const api = clientSide.issue(["api.example"]);
const good = inside.issue(["good.internal"]);
const goodNext = insideNext.issue(["good.internal"]);

let port: number;
let plane: RunningControlPlane;
let web: StandIn;
let first: StandIn;
let second: StandIn;
let third: StandIn;
let webFront: TlsFront;
let wrongNameFront: TlsFront;
let cutNameFront: TlsFront;
let firstFront: TlsFront;
let secondFront: TlsFront;

const secret = (name: string, spec: string): string => `
apiVersion: chancery.dev/v1
kind: Secret
metadata: { name: ${name} }
spec: ${spec}`;

const withCa = (ca: string, name = "good.internal") => `tls: { sni: ${name}, ca: ${ca} }`;
const inject = (name: string, rest = "") => `credential: { mode: inject, secret: ${name}${rest} }`;

beforeAll(async () => {
  port = await freePort();
  web = await startWebServer({ name: "web" });
  first = await startModelServer({ name: "first" });
  second = await startModelServer({ name: "second" });
  third = await startModelServer({ name: "third" });
  webFront = await startTlsFront(web.port, good);
  wrongNameFront = await startTlsFront(first.port, inside.issue(["other.internal"]));
  // Whoever reads names up to the first NUL takes it for the right one.
  cutNameFront = await startTlsFront(web.port, inside.issue(["good.internal\0.evil.example"]));
  firstFront = await startTlsFront(first.port, good);
  secondFront = await startTlsFront(second.port, good);
  plane = await startControlPlane({
    resources: {
      "shop.crt": shop.certificate,
      "shop.key": shop.privateKey,
      "api.crt": api.certificate,
      "api.key": api.privateKey,
      "inside.pem": inside.certificate,
      "stranger.pem": createCertificateAuthority("Nobody").certificate,
      "provider.secret": `${OLD_SECRET}\n`,
      "other.secret": OTHER_SECRET,
      "all.yaml": yaml(
        `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  listeners:
    - { name: shop, port: ${port}, protocol: HTTPS, hostname: shop.example, tls: { certificateRefs: [{ name: shop }] } }
    - { name: api, port: ${port}, protocol: HTTPS, hostname: api.example, tls: { certificateRefs: [{ name: api }] } }`,
        secret("shop", "{ type: tls, certificateFile: shop.crt, privateKeyFile: shop.key }"),
        secret("api", "{ type: tls, certificateFile: api.crt, privateKeyFile: api.key }"),
        ...[secret("inside", "{ type: ca, certificateFile: inside.pem }")],
        ...[secret("stranger", "{ type: ca, certificateFile: stranger.pem }")],
        ...[secret("provider", "{ type: opaque, valueFile: provider.secret }")],
        ...[secret("other", "{ type: opaque, valueFile: other.secret }")],
        ...[upstream("web", webFront.port, withCa("inside")), plainRoute("web", "/web", { web: 1 })],
        ...[upstream("stranger", webFront.port, withCa("stranger")), plainRoute("no", "/stranger", { stranger: 1 })],
        ...[upstream("cut", cutNameFront.port, withCa("inside")), plainRoute("cut", "/cut", { cut: 1 })],
        // The newest version is asked first: it has the wrong name, the next one is asked with a credential of its own.
        ...[upstream("v9", wrongNameFront.port, `${withCa("inside")}, ${inject("other")}`)],
        ...[upstream("v8", firstFront.port, `${withCa("inside")}, ${inject("provider")}`)],
        ...[upstream("v7", secondFront.port, `${withCa("inside")}, ${inject("other", ", header: x-goog-api-key")}`)],
        upstream("v6", third.port),
        model("chat", "approval: notRequired, maxAttempts: 5"),
        ...[version("chat", "v9", "v9"), version("chat", "v8", "v8"), version("chat", "v7", "v7")],
        version("chat", "v6", "v6"),
        modelRoute("chat"),
        anonymous(),
        policy("all", ALLOW_ALL),
      ),
    },
  });
});

afterAll(async () => {
  await plane?.close();
  const fronts = [webFront, wrongNameFront, cutNameFront, firstFront, secondFront];
  await Promise.all([...fronts, web, first, second, third].map((server) => server?.close()));
});

beforeEach(() => {
  for (const standIn of [web, first, second, third]) {
    standIn.resetStats();
    standIn.setBehaviour({});
  }
});

const secure = (servername: string, host = servername) => ({
  ca: clientSide.certificate,
  servername,
  headers: { host },
});
const url = (path: string) => `https://127.0.0.1:${port}${path}`;
const chat = () =>
  http(url("/v1/chat/completions"), { ...secure("api.example"), body: { model: "chat", messages: [] } });

/** SHA-256 of the certificate that a new handshake shows. */
async function shown(servername: string): Promise<string> {
  const socket = connect({ port, host: "127.0.0.1", servername, ca: clientSide.certificate });
  try {
    await once(socket, "secureConnect");
    return socket.getPeerCertificate().fingerprint256;
  } finally {
    socket.destroy();
  }
}
const fingerprint = ({ certificate }: KeyedCertificate) => new X509Certificate(certificate).fingerprint256;
const listenerChanges = () =>
  plane.envoyStats("^listener_manager.listener_(added|modified|removed|in_place_updated|create_success)$");

describe("a TLS listener", () => {
  it("shows the certificate of the name that is asked for, and serves behind it", async () => {
    expect(await shown("shop.example")).toBe(fingerprint(shop));
    expect(await shown("api.example")).toBe(fingerprint(api));
    expect((await http(url("/web/x"), secure("shop.example"))).json()).toMatchObject({ served_by: "web" });
    expect(webFront.serverNames().at(-1)).toBe("good.internal");
    expect(web.stats().last[0]?.headers["x-forwarded-proto"]).toBe("https");
  });

  it("has nothing for a name that it does not have, and nothing without TLS", async () => {
    await expect(shown("nobody.example")).rejects.toThrow();
    await expect(http(`http://127.0.0.1:${port}/web/x`)).rejects.toThrow();
    expect(web.stats().requests).toBe(0);
  });

  it("does not serve one host under the certificate of another", async () => {
    const answer = await http(url("/web/x"), secure("shop.example", "api.example"));
    expect(answer.status).toBe(404);
    expect(web.stats().requests).toBe(0);
  });

  it("speaks HTTP/2", async () => {
    const session = connectHttp2(`https://shop.example:${port}`, {
      ca: clientSide.certificate,
      createConnection: () =>
        connect({
          port,
          host: "127.0.0.1",
          servername: "shop.example",
          ca: clientSide.certificate,
          ALPNProtocols: ["h2"],
        }),
    });
    const stream = session.request({ ":path": "/web/x" });
    const [headers] = await once(stream, "response");
    expect(headers[":status"]).toBe(200);
    session.destroy();
  });

  it("takes a new certificate from its files, without a restart and without cutting a connection", async () => {
    const before = await listenerChanges();
    const open = await openHttp(url("/web/events?count=10000&gapMs=20"), secure("shop.example"));
    const events = open.events();
    try {
      await events.next();
      // The pair does not fit for a moment: the last good one stays.
      await plane.write("shop.key", shopNext.privateKey);
      await waitFor(() => plane.process().stderr().includes("does not belong to"), DEADLINE_MS, "the report of it");
      expect(await shown("shop.example")).toBe(fingerprint(shop));
      await plane.write("shop.crt", shopNext.certificate);
      await waitFor(async () => (await shown("shop.example")) === fingerprint(shopNext), DEADLINE_MS, "the new one");
      expect(await shown("api.example")).toBe(fingerprint(api));

      await plane.write("shop.crt", "-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n");
      await waitFor(() => plane.process().stderr().includes("cannot be read"), DEADLINE_MS, "the report of it");
      expect(await shown("shop.example")).toBe(fingerprint(shopNext));
      await plane.write("shop.crt", shopNext.certificate);

      expect(await listenerChanges()).toEqual(before);
      const seen = JSON.parse(String((await events.next()).value)).number;
      await waitFor(
        async () => JSON.parse(String((await events.next()).value)).number > seen + 10,
        DEADLINE_MS,
        "more events on the open connection",
      );
    } finally {
      open.close();
    }
  });
});

describe("TLS to an upstream", () => {
  it("is refused where the CA is another one", async () => {
    const answer = await http(url("/stranger/x"), secure("shop.example"));
    expect(answer.status).toBe(503);
    expect(answer.json()).toMatchObject({ error: { code: "unavailable" } });
    expect(web.stats().requests).toBe(0);
  });

  it("is refused where the name goes on behind a NUL", async () => {
    expect((await http(url("/cut/x"), secure("shop.example"))).status).toBe(503);
    expect([cutNameFront.handshakes(), web.stats().requests]).toEqual([0, 0]);
  });

  it("falls to the next hop where the certificate has another name", async () => {
    const answer = await chat();
    expect(answer.json()).toMatchObject({ served_by: { name: "first", model: "wire-chat-v8" } });
    expect(wrongNameFront.handshakes()).toBe(0);
    expect(first.stats().requests).toBe(1);
    expect(answer.headers["x-envoy-attempt-count"]).toBe("2");
  });

  it("follows the CA file to another CA, the old one beside it first", async () => {
    const works = async (): Promise<boolean> => {
      webFront.disconnect();
      return (await http(url("/web/x"), secure("shop.example"))).status === 200;
    };
    const updates = async () =>
      (await plane.envoyStats("^cluster.upstream/web.client_ssl_socket_factory.ssl_context_update_by_sds$"))[
        "cluster.upstream/web.client_ssl_socket_factory.ssl_context_update_by_sds"
      ] ?? 0;
    const before = await updates();
    await plane.write("inside.pem", inside.certificate + insideNext.certificate);
    await waitFor(async () => (await updates()) > before, DEADLINE_MS, "the new bundle in Envoy");
    expect(await works()).toBe(true);
    webFront.setCertificate(goodNext);
    expect(await works()).toBe(true);
    await plane.write("inside.pem", insideNext.certificate);
    webFront.setCertificate(good);
    await waitFor(async () => !(await works()), DEADLINE_MS, "the end of the old CA");
    webFront.setCertificate(goodNext);
    expect(await works()).toBe(true);
    await plane.write("inside.pem", inside.certificate + insideNext.certificate);
    webFront.setCertificate(good);
    await waitFor(works, DEADLINE_MS, "both again");
  });
});

describe("an injected credential", () => {
  const credentials = (standIn: StandIn) =>
    standIn.stats().last.map(({ headers }) => [headers.authorization, headers["x-goog-api-key"]]);

  it("arrives at its own upstream, and at no other one of the chain", async () => {
    first.setBehaviour({ status: 503 });
    second.setBehaviour({ status: 429 });
    const answer = await http(url("/v1/chat/completions"), {
      ...secure("api.example"),
      headers: { host: "api.example", "x-goog-api-key": "of-the-client", "proxy-authorization": "of-the-client" },
      body: { model: "chat", messages: [] },
    });
    expect(answer.json()).toMatchObject({ served_by: { name: "third" } });
    expect(credentials(first)).toEqual([[`Bearer ${OLD_SECRET}`, undefined]]);
    expect(credentials(second)).toEqual([[undefined, OTHER_SECRET]]);
    expect(credentials(third)).toEqual([[undefined, undefined]]);
    expect(third.stats().last[0]?.headers).not.toHaveProperty("proxy-authorization");
    expect(JSON.stringify([third.stats().last, answer.text()])).not.toMatch(/sk-|of-the-client/);
  });

  it("changes with its file, without a restart", async () => {
    const updates = await plane.envoyStats("^listener_manager.listener_|^cluster_manager.cluster_(added|modified)");
    await plane.write("provider.secret", NEW_SECRET);
    await waitFor(
      async () => {
        first.resetStats();
        expect((await chat()).status).toBe(200);
        return first.stats().last[0]?.headers.authorization === `Bearer ${NEW_SECRET}`;
      },
      DEADLINE_MS,
      "the new credential",
    );
    expect(await plane.envoyStats("^listener_manager.listener_|^cluster_manager.cluster_(added|modified)")).toEqual(
      updates,
    );
    expect(second.stats().requests + third.stats().requests).toBe(0);
  });
});

it("keeps every key and credential out of revisions, records, logs and dumps", async () => {
  const keys = [shop, shopNext, api].flatMap(({ privateKey }) =>
    privateKey.split("\n").filter((line) => line.length >= 32 && !line.startsWith("-----")),
  );
  const secrets = [...keys, OLD_SECRET, NEW_SECRET, OTHER_SECRET];
  const needles = secrets.flatMap((text) => [text, ...base64Forms(text)]);
  const found = (bytes: Buffer) => needles.filter((needle) => bytes.includes(needle));

  // The search itself works: it finds each secret of now where it belongs.
  const tree = Buffer.concat(await filesOf(plane.directory));
  for (const text of [NEW_SECRET, OTHER_SECRET]) expect(found(tree)).toContain(text);
  expect(found(tree)).toEqual(expect.arrayContaining(shopNext.privateKey.split("\n").slice(1, 3)));
  expect(found(Buffer.from(`{"secret":"${Buffer.from(`key: ${NEW_SECRET}.`).toString("base64")}"}`))).toHaveLength(1);

  const kept = await filesOf(plane.state);
  expect(kept.length).toBeGreaterThan(5);
  for (const file of kept) expect(found(file)).toEqual([]);
  const pages = ["/config_dump?include_eds", "/certs", "/clusters", "/listeners", "/stats", "/server_info"];
  for (const page of pages) expect(found(Buffer.from(await plane.envoyAdmin(page)))).toEqual([]);
  // The dump is whole: it holds the certificate, and says that there is a key.
  const dump = await plane.envoyAdmin("/config_dump");
  expect(dump).toContain("secret/provider");
  expect(dump).toContain("[redacted]");
  const output = plane.process();
  expect(found(Buffer.from(output.stdout() + output.stderr() + (await plane.status())))).toEqual([]);
});

/** How text looks inside of a longer text in base64, at each of the three places where it can begin. */
function base64Forms(text: string): string[] {
  return [0, 1, 2].map((shift) => {
    const encoded = Buffer.from(`${"_".repeat(shift)}${text}`)
      .toString("base64")
      .replace(/=+$/, "");
    // The first and the last characters mix with what stands beside it.
    return encoded.slice(shift === 0 ? 0 : 4, encoded.length - 4);
  });
}

async function filesOf(directory: string): Promise<Buffer[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return Promise.all(
    entries.filter((entry) => entry.isFile()).map((entry) => readFile(join(entry.parentPath, entry.name))),
  );
}
