import { once } from "node:events";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  createServer,
  type IncomingHttpHeaders,
} from "node:http2";
import { type AddressInfo, createConnection } from "node:net";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { waitFor } from "../test/support/index.ts";
import { GRPC_STATUS, GrpcCall, refuseCall } from "./grpc-call.ts";
import { createGrpcServer, type GrpcServer, type GrpcServerSettings } from "./grpc-server.ts";

const PATH = "/test.Service/Method";
const SETTINGS: GrpcServerSettings = { maxMessageBytes: 1_000, keepaliveMs: 30_000, keepaliveTimeoutMs: 10_000 };

interface Served {
  readonly server: GrpcServer;
  readonly port: number;
  /** Of the call that came last. */
  readonly received: string[];
  readonly calls: GrpcCall[];
}

async function serve(settings: Partial<GrpcServerSettings> = {}): Promise<Served> {
  const received: string[] = [];
  const calls: GrpcCall[] = [];
  const take = (call: GrpcCall) => {
    received.length = 0;
    calls.push(call);
    call.start({ message: (bytes) => received.push(bytes.toString()), ended: () => call.end() });
  };
  const methods = new Map([[PATH, take]]);
  const server = createGrpcServer({ settings: { ...SETTINGS, ...settings }, tls: undefined, methods });
  const port = await server.listen("127.0.0.1:0");
  onTestFinished(async () => {
    server.destroy();
    await server.close();
  });
  return { server, port, received, calls };
}

function openSession(port: number): ClientHttp2Session {
  const session = connect(`http://127.0.0.1:${port}`);
  onTestFinished(() => session.destroy());
  session.on("error", () => {});
  return session;
}

class Client {
  readonly session: ClientHttp2Session;
  readonly call: ClientHttp2Stream;
  answer: IncomingHttpHeaders = {};
  body = Buffer.alloc(0);

  constructor(port: number, headers: Record<string, string> = {}, session = openSession(port)) {
    this.session = session;
    const usual = { ":method": "POST", ":path": PATH, "content-type": "application/grpc" };
    this.call = this.session.request({ ...usual, ...headers });
    this.call.on("response", (answer) => Object.assign(this.answer, answer));
    this.call.on("trailers", (trailers) => Object.assign(this.answer, trailers));
    this.call.on("error", () => {});
    this.call.on("data", (chunk: Buffer) => {
      this.body = Buffer.concat([this.body, chunk]);
    });
  }

  status(): Promise<string> {
    return waitFor(() => this.answer["grpc-status"]?.toString(), 5_000, "a status");
  }
}

function framed(message: string | Buffer, compressed = false): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = compressed ? 1 : 0;
  const bytes = Buffer.from(message);
  prefix.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([prefix, bytes]);
}

test("messages arrive whole and in order, however they are cut on their way", async () => {
  const { port, received } = await serve();
  const texts = fc.array(fc.string({ minLength: 0, maxLength: 300 }), { minLength: 1, maxLength: 6 });
  const session = openSession(port);
  await fc.assert(
    fc.asyncProperty(texts, fc.array(fc.nat(400), { maxLength: 6 }), async (messages, cuts) => {
      const client = new Client(port, {}, session);
      const bytes = Buffer.concat(messages.map((message) => framed(message)));
      const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
      for (let at = 1; at < places.length; at++) {
        const chunk = bytes.subarray(places[at - 1], places[at]);
        await new Promise((resolve) => client.call.write(chunk, resolve));
      }
      client.call.end();
      expect(await client.status()).toBe("0");
      expect(received).toEqual(messages);
    }),
    { numRuns: 25 },
  );
});

test("a call that is paused takes no message until it goes on, also of those that came together", async () => {
  const { port, received, calls } = await serve();
  const client = new Client(port);
  client.call.write(framed("first"));
  await waitFor(() => received.length === 1, 5_000, "the first message");
  calls[0]?.pause();
  client.call.write(Buffer.concat([framed("second"), framed("third")]));
  // A ping is answered after what was sent before it has been read.
  await new Promise((resolve) => client.session.ping(resolve));
  expect(received).toEqual(["first"]);
  calls[0]?.resume();
  await waitFor(() => received.length === 3, 5_000, "the other messages");
  expect(received).toEqual(["first", "second", "third"]);
});

test("pausing in the middle of what came together leaves the rest for later", async () => {
  const received: string[] = [];
  const calls: GrpcCall[] = [];
  const take = (call: GrpcCall) => {
    calls.push(call);
    const message = (bytes: Buffer) => {
      received.push(bytes.toString());
      call.pause();
    };
    call.start({ message, ended: () => call.end() });
  };
  const server = createGrpcServer({ settings: SETTINGS, tls: undefined, methods: new Map([[PATH, take]]) });
  onTestFinished(() => server.destroy());
  const client = new Client(await server.listen("127.0.0.1:0"));
  client.call.end(Buffer.concat([framed("a"), framed("b"), framed("c")]));
  for (const count of [1, 2, 3]) {
    await waitFor(() => received.length >= count, 5_000, "the next message");
    expect(received).toHaveLength(count);
    calls[0]?.resume();
  }
  expect(received).toEqual(["a", "b", "c"]);
});

test("a message that is too large is refused, also one that is so only when decompressed", async () => {
  const { port } = await serve();
  const large = new Client(port);
  large.call.write(framed(Buffer.alloc(1_001)));
  expect(await large.status()).toBe(String(GRPC_STATUS.resourceExhausted));
  const bomb = new Client(port, { "grpc-encoding": "gzip" });
  bomb.call.write(framed(gzipSync(Buffer.alloc(100_000)), true));
  expect(await bomb.status()).toBe(String(GRPC_STATUS.resourceExhausted));
});

test("compressed messages are read as far as they can be", async () => {
  const { port, received } = await serve();
  const client = new Client(port, { "grpc-encoding": "gzip" });
  client.call.end(Buffer.concat([framed(gzipSync("small"), true), framed("as it is")]));
  expect(await client.status()).toBe("0");
  expect(received).toEqual(["small", "as it is"]);
  const broken = new Client(port, { "grpc-encoding": "gzip" });
  broken.call.write(framed("not gzip", true));
  expect(await broken.status()).toBe(String(GRPC_STATUS.invalidArgument));
  const unknown = new Client(port, { "grpc-encoding": "snappy" });
  unknown.call.write(framed("?", true));
  expect(await unknown.status()).toBe(String(GRPC_STATUS.unimplemented));
});

test("what is no call of a known method is told so", async () => {
  const { port } = await serve();
  expect(await new Client(port, { ":path": "/test.Service/Other" }).status()).toBe(String(GRPC_STATUS.unimplemented));
  const page = new Client(port, { ":method": "GET" });
  await waitFor(() => Number(page.answer[":status"]) === 405, 5_000, "the answer to a GET");
  const json = new Client(port, { "content-type": "application/json" });
  await waitFor(() => Number(json.answer[":status"]) === 415, 5_000, "the answer to JSON");
});

test("a call ends at the deadline that its client gave", async () => {
  const { port } = await serve();
  expect(await new Client(port, { "grpc-timeout": "20m" }).status()).toBe(String(GRPC_STATUS.deadlineExceeded));
  expect(await new Client(port, { "grpc-timeout": "soon" }).status()).toBe(String(GRPC_STATUS.invalidArgument));
});

test("a large message goes out in parts, and is taken when its reader has room for all of it", async () => {
  const { port, calls } = await serve();
  const client = new Client(port);
  client.call.pause();
  const call = await waitFor(() => calls[0], 5_000, "the call");
  const parts = [Buffer.alloc(300_000, "a"), Buffer.alloc(300_000, "b"), Buffer.from("c")];
  let taken = false;
  call.write(parts, () => {
    taken = true;
  });
  await waitFor(() => Number(client.answer[":status"]) === 200, 5_000, "headers");
  await new Promise((resolve) => client.session.ping(resolve));
  expect(taken).toBe(false);
  client.call.resume();
  await waitFor(() => taken, 5_000, "the message to be taken");
  const whole = framed(Buffer.concat(parts));
  await waitFor(() => client.body.length === whole.length, 5_000, "the message");
  expect(client.body.equals(whole)).toBe(true);
});

test("a call is over once, when its client goes away", async () => {
  const { port, calls } = await serve();
  const client = new Client(port);
  const call = await waitFor(() => calls[0], 5_000, "the call");
  let over = 0;
  call.onOver(() => {
    over += 1;
  });
  client.session.destroy();
  await waitFor(() => over > 0, 5_000, "the end of the call");
  call.end();
  call.write([Buffer.from("for nobody")], () => expect.unreachable());
  expect(over).toBe(1);
});

test("nothing is thrown where a connection has just gone and its calls do not know it yet", async () => {
  const server = createServer();
  onTestFinished(() => void server.close());
  const done = new Promise<unknown>((resolve) => {
    server.on("stream", (stream, headers) => {
      const call = new GrpcCall(stream, headers, SETTINGS.maxMessageBytes);
      stream.session?.destroy();
      try {
        call.write([Buffer.from("late")], () => {});
        refuseCall(stream, { code: GRPC_STATUS.unavailable, details: "late" });
        call.end();
        resolve(undefined);
      } catch (error) {
        resolve(error);
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  new Client((server.address() as AddressInfo).port);
  expect(await done).toBe(undefined);
});

test("a connection that answers no ping is ended", async () => {
  const { port } = await serve({ keepaliveMs: 20, keepaliveTimeoutMs: 20 });
  const socket = createConnection(port, "127.0.0.1");
  onTestFinished(() => void socket.destroy());
  // The preface and empty settings, and no word more.
  socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
  socket.resume();
  await waitFor(() => socket.destroyed || socket.readableEnded, 5_000, "the end of the connection");
});

test("closing waits for the calls that are open, and takes no new ones", async () => {
  const { server, port, calls } = await serve();
  const client = new Client(port);
  const call = await waitFor(() => calls[0], 5_000, "the call");
  let closed = false;
  const closing = server.close().then(() => {
    closed = true;
  });
  await new Promise((resolve) => client.session.once("goaway", resolve));
  expect(closed).toBe(false);
  await expect(
    new Promise((_, reject) => connect(`http://127.0.0.1:${port}`).once("error", reject)),
  ).rejects.toMatchObject({ code: "ECONNREFUSED" });
  client.call.end();
  call.end();
  await closing;
});
