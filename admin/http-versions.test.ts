import { once } from "node:events";
import { createServer, type ServerOptions } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import { createCertificateAuthority } from "../test/support/index.ts";
import { acceptHttp2, type Http2Limits } from "./http-versions.ts";

const LONG = { firstBytesMs: 60_000, requestMs: 60_000, idleMs: 60_000, streams: 4 };

async function serve(limits: Partial<Http2Limits>, options: ServerOptions = {}): Promise<number> {
  return await listen(createServer(options), { ...LONG, ...limits });
}

async function listen(server: Parameters<typeof acceptHttp2>[0], limits: Http2Limits): Promise<number> {
  const http2 = acceptHttp2(
    server,
    (request, response) => {
      request.resume().once("end", () => response.end("whole"));
    },
    limits,
  );
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(async () => {
    http2.closeAll();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

function clientOf(port: number) {
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  onTestFinished(() => session.destroy());
  return session;
}

test.each([[""], ["PRI * HTTP/2.0\r\n"]])("drops a connection that says no more than %j", async (said) => {
  const socket = connect(await serve({ firstBytesMs: 20 }), "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  socket.write(said);
  socket.resume();
  await once(socket, "close");
  expect(socket.bytesRead).toBe(0);
});

test("leaves the server its own deadlines", async () => {
  const socket = connect(await serve({}, { connectionsCheckingInterval: 10, headersTimeout: 20 }), "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  socket.write("GET / HTTP/1.1\r\n");
  expect(String(await once(socket, "data"))).toMatch(/^HTTP\/1.1 408 /);
});

test("leaves a TLS server its own deadlines, for handshakes and requests", async () => {
  const authority = createCertificateAuthority();
  const { certificate, privateKey } = authority.issue(["127.0.0.1"]);
  const deadlines = { connectionsCheckingInterval: 10, headersTimeout: 20, handshakeTimeout: 200 };
  const server = createTlsServer({
    cert: certificate,
    key: privateKey,
    ALPNProtocols: ["h2", "http/1.1"],
    ...deadlines,
  });
  const port = await listen(server, LONG);
  const silent = connect(port, "127.0.0.1").resume();
  const slow = connectTls({ host: "127.0.0.1", port, ca: authority.certificate, ALPNProtocols: ["http/1.1"] });
  onTestFinished(() => [silent, slow].forEach((socket) => void socket.destroy()));
  slow.write("GET / HTTP/1.1\r\n");
  expect(String(await once(slow, "data"))).toMatch(/^HTTP\/1.1 408 /);
  await once(silent, "close");
  expect(silent.bytesRead).toBe(0);
});

test("a client that breaks HTTP/2 breaks its own connection alone", async () => {
  const port = await serve({});
  const socket = connect(port, "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  const closed = new Promise((resolve) => socket.on("error", () => undefined).once("close", resolve));
  socket.write(`PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${"x".repeat(200)}`);
  socket.resume();
  await closed;
  expect(String(await once(clientOf(port).request({ ":path": "/" }), "data"))).toBe("whole");
});

test("cancels a request that does not end in time, and no other", async () => {
  const session = clientOf(await serve({ requestMs: 20 }));
  const endless = session.request({ ":method": "POST", ":path": "/" });
  endless.write("a part");
  await once(endless, "close");
  expect(endless.rstCode).toBe(8);
  const whole = session.request({ ":path": "/" });
  expect(String(await once(whole, "data"))).toBe("whole");
});

test("drops a connection on which nothing moves", async () => {
  const session = clientOf(await serve({ idleMs: 20 }));
  await once(session, "close");
  expect(session.destroyed).toBe(true);
});

test("tells how many requests a connection may have open", async () => {
  const session = clientOf(await serve({ streams: 3 }));
  const [settings] = await once(session, "remoteSettings");
  expect(settings.maxConcurrentStreams).toBe(3);
});
