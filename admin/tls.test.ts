import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { request } from "node:https";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { expect, onTestFinished, test } from "vitest";
import type { KeyPair } from "../envoy/index.ts";
import { AdminService } from "../protos/gen/chancery/admin/v1/admin_pb.ts";
import { createCertificateAuthority, type KeyedCertificate } from "../test/support/index.ts";
import { getStatus } from "./client.ts";
import { getPage } from "./client-transport.ts";
import { createRegistry } from "./metrics.ts";
import { type AdminServerOptions, startAdminServer } from "./server.ts";

const TOKEN = "a-token-of-this-test";
const authority = createCertificateAuthority();
const ca = Buffer.from(authority.certificate);
const status = () => ({ nodes: [], decisionServices: [], frozenScopes: [], restrictions: [] });

function pairOf({ certificate, privateKey }: KeyedCertificate): KeyPair {
  return { certificate: Buffer.from(certificate), privateKey: Buffer.from(privateKey) };
}

/** On every address of this machine, found on 127.0.0.1. */
async function serve(options: Partial<AdminServerOptions> = {}) {
  let tell: (next: KeyPair) => void = () => undefined;
  const server = await startAdminServer({
    ...{ host: "0.0.0.0", port: 0, notReady: () => [], metrics: createRegistry(), token: TOKEN, status },
    tls: {
      current: () => pairOf(authority.issue(["127.0.0.1"])),
      onChange: (listener) => {
        tell = listener;
        return () => undefined;
      },
    },
    ...options,
  });
  onTestFinished(() => server.close());
  const port = Number(server.address.split(":")[1]);
  const renew = (next: KeyedCertificate): void => tell(pairOf(next));
  return { server, port, renew, control: `https://127.0.0.1:${port}` };
}

/** Over HTTP/1.1. */
async function post(url: string): Promise<{ readonly status: number | undefined; readonly text: string }> {
  return await new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", authorization: `Bearer ${TOKEN}` };
    request(url, { method: "POST", ca, headers, agent: false }, (answer) => {
      let text = "";
      answer.setEncoding("utf8").on("data", (part: string) => {
        text += part;
      });
      answer.on("end", () => resolve({ status: answer.statusCode, text: `HTTP/${answer.httpVersion} ${text}` }));
    })
      .on("error", reject)
      .end("{}");
  });
}

test("answers JSON over HTTP/1.1, gRPC over HTTP/2, its own client and its pages on one port with TLS", async () => {
  const { control, server } = await serve();
  expect(server.url).toBe(`https://${server.address}`);
  expect(await post(`${control}/chancery.admin.v1.AdminService/GetStatus`)).toEqual({
    status: 200,
    text: 'HTTP/1.1 {"convergence":{}}',
  });
  const grpc = createClient(AdminService, createGrpcTransport({ baseUrl: control, nodeOptions: { ca } }));
  expect((await grpc.getStatus({}, { headers: { authorization: `Bearer ${TOKEN}` } })).nodes).toEqual([]);
  await expect(grpc.getStatus({})).rejects.toThrow("a bearer token is needed");
  expect((await getStatus({ control, ca, token: TOKEN })).nodes).toEqual([]);
  expect(await getPage({ control, ca }, "/healthz")).toMatchObject({ status: 200, text: '{"status":"ok"}' });
});

test("a client trusts the authority that it is given, and otherwise those of the system", async () => {
  const { control } = await serve();
  const stranger = Buffer.from(createCertificateAuthority().certificate);
  const untrusted = { code: "unavailable", message: expect.stringMatching(/certificate/) };
  await expect(getStatus({ control, token: TOKEN, ca: stranger })).rejects.toMatchObject(untrusted);
  await expect(getStatus({ control, token: TOKEN })).rejects.toMatchObject(untrusted);
  await expect(getPage({ control, token: TOKEN, ca: stranger }, "/healthz")).rejects.toMatchObject(untrusted);
  const elsewhere = { control: control.replace("127.0.0.1", "localhost"), token: TOKEN, ca };
  await expect(getStatus(elsewhere)).rejects.toThrow(/localhost/);
});

test("a renewed certificate reaches new connections, and those that are open stay", async () => {
  const { control, port, renew } = await serve();
  const session = connectHttp2(control, { ca });
  onTestFinished(() => session.destroy());
  const ask = async (): Promise<unknown> => {
    const stream = session.request({ ":path": "/healthz" });
    const [answer] = await once(stream, "response");
    stream.resume();
    return answer[":status"];
  };
  expect(await ask()).toBe(200);
  renew(authority.issue(["127.0.0.1", "spiffe://test/renewed"]));
  const socket = connectTls({ host: "127.0.0.1", port, ca });
  onTestFinished(() => void socket.destroy());
  await once(socket, "secureConnect");
  expect(socket.getPeerCertificate().subjectaltname).toContain("spiffe://test/renewed");
  expect(await ask()).toBe(200);
});

test("off loopback nothing is served without TLS, and no API without a token", async () => {
  const bare = { host: "0.0.0.0", port: 0, notReady: () => [], metrics: createRegistry() };
  const refused = { code: "invalid-argument", message: expect.stringContaining("without TLS") };
  await expect(startAdminServer(bare)).rejects.toMatchObject(refused);
  await expect(startAdminServer({ ...bare, token: TOKEN, status })).rejects.toMatchObject(refused);
  const tls = { current: () => pairOf(authority.issue(["127.0.0.1"])), onChange: () => () => undefined };
  await expect(startAdminServer({ ...bare, tls, status })).rejects.toThrow("needs a token");
});

test("says nothing to who speaks without TLS", async () => {
  const { port } = await serve();
  const socket = connect(port, "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  let answer = "";
  socket.setEncoding("latin1").on("data", (text: string) => {
    answer += text;
  });
  socket.on("error", () => undefined).write("GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
  await once(socket, "close");
  expect(answer).not.toContain("HTTP/1.1 200");
});

test.each(["HTTP/1.1\r\nhost: no name", "HTTP/1.0"])(
  "survives a host name of which no URL can be made: %j",
  async (rest) => {
    const { control, port } = await serve();
    const socket = connectTls({ host: "127.0.0.1", port, ca });
    onTestFinished(() => void socket.destroy());
    const method = "/chancery.admin.v1.AdminService/GetStatus";
    socket.write(`POST ${method} ${rest}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
    expect(String(await once(socket, "data"))).toMatch(/^HTTP\/1.1 400 /);
    expect((await getStatus({ control, ca, token: TOKEN })).nodes).toEqual([]);
  },
);

test("closes with connections of every kind open", async () => {
  const { control, port, server } = await serve();
  const session = connectHttp2(control, { ca });
  const [handshaking, silent] = [connect(port, "127.0.0.1"), connectTls({ host: "127.0.0.1", port, ca })];
  await Promise.all([once(session, "remoteSettings"), once(handshaking, "connect"), once(silent, "secureConnect")]);
  const gone = [session, handshaking, silent].map((connection) => {
    connection.on("error", () => undefined);
    return new Promise((resolve) => connection.once("close", resolve));
  });
  await server.close();
  await Promise.all(gone);
  expect([session.destroyed, handshaking.destroyed, silent.destroyed]).toEqual([true, true, true]);
});

test.each([
  [
    { control: "10.0.0.5:7070", token: TOKEN },
    "the token would go to 10.0.0.5:7070 in clear: write https://10.0.0.5:7070",
  ],
  [
    { control: "http://control:7070", token: TOKEN },
    "the token would go to control:7070 in clear: write https://control:7070",
  ],
  [{ control: "127.0.0.1:1", ca }, "a CA is for https addresses, and 127.0.0.1:1 is none: write https://127.0.0.1:1"],
])("the client does not ask %s", async (options, message) => {
  await expect(getStatus(options)).rejects.toMatchObject({ code: "invalid-argument", message });
  await expect(getPage(options, "/")).rejects.toMatchObject({ code: "invalid-argument", message });
});
