import { createHash } from "node:crypto";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type ChannelOptions, Client, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { expect, onTestFinished, test } from "vitest";
import { AdminService } from "../protos/gen/chancery/admin/v1/admin_pb.ts";
import { ApprovalService } from "../protos/gen/chancery/admin/v1/approvals_pb.ts";
import { EndpointService } from "../protos/gen/chancery/admin/v1/endpoints_pb.ts";
import { RestrictionService } from "../protos/gen/chancery/admin/v1/restrictions_pb.ts";
import { ChanceryError } from "../resources/index.ts";
import { getStatus } from "./client.ts";
import { createRegistry } from "./metrics.ts";
import { parsePrincipals } from "./principals-file.ts";
import { type AdminServerOptions, startAdminServer } from "./server.ts";

const TOKEN = "a-token-of-this-test";
const EVE = "a-token-of-eve-here";
const HOUR = 3_600_000;

async function serve(options: Partial<AdminServerOptions> = {}) {
  const given: unknown[] = [];
  const offered: unknown[] = [];
  const defects: unknown[] = [];
  const refusal = () => Promise.reject(new ChanceryError("conflict", "somebody was faster — once"));
  const server = await startAdminServer({
    ...{ host: "127.0.0.1", port: 0, notReady: () => [], metrics: createRegistry() },
    status: () => ({ nodes: [], decisionServices: [], frozenScopes: [], restrictions: [] }),
    restrictions: {
      restrictions: {
        give: async (bytes) => {
          given.push(bytes);
          return { spread: true };
        },
        states: () => [],
        refused: () => 3,
      },
      sign: (statement) => Buffer.from(JSON.stringify(statement)),
      now: () => Date.parse("2026-05-01T00:00:00Z"),
      newId: () => "q-0000000000000001",
    },
    approvals: {
      log: { append: refusal, approvals: new Map(), refused: () => 0 },
      version: () => undefined,
      others: () => [],
      names: () => new Set(["team/atlas-v2", "team/assistant"]),
      now: () => Date.parse("2026-05-01T00:00:00Z"),
      newId: () => "a-0000000000000001",
    },
    endpoints: {
      offer: (source, update) => {
        offered.push([source, update]);
        return { outcome: "applied", message: "" };
      },
    },
    onDefect: (error) => defects.push(error),
    ...options,
  });
  onTestFinished(() => server.close());
  return { address: server.address, server, given, offered, defects };
}

type Call = { readonly token?: string; readonly channel?: ChannelOptions };

/** One unary call with a client of its own. */
async function call<I extends DescMessage, O extends DescMessage>(
  address: string,
  method: DescMethodUnary<I, O>,
  request: MessageInitShape<I>,
  { token, channel = {} }: Call = {},
): Promise<MessageShape<O>> {
  const client = new Client(address, credentials.createInsecure(), channel);
  const metadata = new Metadata();
  if (token !== undefined) metadata.set("authorization", `Bearer ${token}`);
  try {
    return await new Promise((resolve, reject) => {
      client.makeUnaryRequest<MessageShape<I>, MessageShape<O>>(
        `/${method.parent.typeName}/${method.name}`,
        (message) => Buffer.from(toBinary(method.input, message)),
        (bytes) => fromBinary(method.output, bytes),
        create(method.input, request),
        metadata,
        { deadline: Date.now() + 10_000 },
        (error, answer) => (error === null && answer !== undefined ? resolve(answer) : reject(error)),
      );
    });
  } finally {
    client.close();
  }
}

async function refused(answer: Promise<unknown>): Promise<{ code: number; details: string; own: unknown }> {
  try {
    await answer;
  } catch (error) {
    const { code, details, metadata } = error as ServiceError;
    // Our server escapes ":" in a message, too, as it may; this client leaves such as they come.
    return { code, details: decodeURIComponent(details), own: metadata.get("chancery-error")[0] };
  }
  throw new Error("it was not refused");
}

/** Sends text as it is and reads until the server ends the connection. */
async function sendRaw(address: string, ...pieces: readonly string[]): Promise<string> {
  const socket = connectTo(address);
  let answer = "";
  socket.setEncoding("latin1").on("data", (text: string) => {
    answer += text;
  });
  const closed = once(socket, "close");
  for (const piece of pieces) await new Promise((resolve) => socket.write(piece, resolve));
  await closed;
  return answer;
}

function connectTo(address: string): Socket {
  const [host, port] = address.split(":");
  const socket = connect({ host: host ?? "", port: Number(port), noDelay: true });
  onTestFinished(() => void socket.destroy());
  return socket;
}

const restriction = {
  ...{ kind: "region", value: "eu-1", reason: "flood" },
  until: timestampFromMs(Date.parse("2026-05-01T00:00:00Z") + HOUR),
};

test("answers gRPC, Connect and JSON on one port", async () => {
  const { address, given, offered } = await serve();
  expect((await call(address, AdminService.method.getStatus, {})).nodes).toEqual([]);
  expect(await call(address, RestrictionService.method.giveRestriction, restriction)).toMatchObject({
    ...{ id: "q-0000000000000001", spread: true },
  });
  expect(given).toHaveLength(1);
  expect((await call(address, RestrictionService.method.listRestrictions, {})).refused).toBe(3);
  expect((await call(address, ApprovalService.method.listApprovals, {})).approvals).toEqual([]);
  const update = { upstream: "shop", endpoints: [{ address: "10.0.0.7", port: 80 }] };
  expect((await call(address, EndpointService.method.setEndpoints, update)).outcome).toBe("applied");
  expect(offered).toMatchObject([["api", { upstream: "shop", endpoints: [{ address: "10.0.0.7", port: 80 }] }]]);
  expect((await getStatus({ control: address })).nodes).toEqual([]);
  const json = await fetch(`http://${address}/chancery.admin.v1.RestrictionService/ListRestrictions`, {
    ...{ method: "POST", headers: { "content-type": "application/json" }, body: "{}" },
  });
  expect(await json.json()).toEqual({ refused: 3 });
});

test("tells a gRPC client what is wrong, with our own code", async () => {
  const { address, defects } = await serve();
  const unknown = { ...restriction, kind: "planet" };
  expect(await refused(call(address, RestrictionService.method.giveRestriction, unknown))).toMatchObject({
    ...{ code: status.INVALID_ARGUMENT, own: "invalid-argument", details: expect.stringContaining("planet") },
  });
  const request = { version: "team/atlas-v2", application: "team/assistant", reason: "reviewed" };
  expect(await refused(call(address, ApprovalService.method.requestApproval, request))).toEqual({
    ...{ code: status.ALREADY_EXISTS, own: "conflict", details: "somebody was faster — once" },
  });
  expect(defects).toEqual([]);
});

test("keeps a defect from a gRPC client", async () => {
  const { address, defects } = await serve({
    status: () => {
      throw new TypeError("secret of the house");
    },
  });
  expect(await refused(call(address, AdminService.method.getStatus, {}))).toMatchObject({
    ...{ code: status.INTERNAL, details: "the server failed: its log says how" },
  });
  expect(defects).toHaveLength(1);
});

test("lets nobody in over gRPC without a token, nor beyond the roles", async () => {
  const people = JSON.stringify([
    { name: "eve", roles: [], tokenSha256: createHash("sha256").update(EVE).digest("hex") },
  ]);
  const principals = parsePrincipals(people, "people");
  const { address, given } = await serve({ token: TOKEN, principals: () => principals });
  const give = (options: Call) => call(address, RestrictionService.method.giveRestriction, restriction, options);
  const nobody = { code: status.UNAUTHENTICATED, details: "a bearer token is needed" };
  expect(await refused(give({}))).toMatchObject(nobody);
  expect(await refused(give({ token: "wrong" }))).toMatchObject(nobody);
  expect(await refused(call(address, AdminService.method.getStatus, {}))).toMatchObject(nobody);
  expect(await refused(give({ token: EVE }))).toMatchObject({ code: status.PERMISSION_DENIED, own: "forbidden" });
  expect(given).toEqual([]);
  expect((await give({ token: TOKEN })).id).toBe("q-0000000000000001");
});

test("refuses a gRPC call that was led here under another name", async () => {
  const { address } = await serve();
  const channel = { "grpc.default_authority": "evil.example:7070" };
  const answer = await refused(call(address, AdminService.method.getStatus, {}, { channel }));
  expect(answer.code).toBe(status.PERMISSION_DENIED);
});

test("both names of a request over HTTP/2 count", async () => {
  const { address } = await serve();
  const session = connectHttp2(`http://${address}`);
  onTestFinished(() => session.destroy());
  const ask = async (headers: Readonly<Record<string, string>>): Promise<unknown> => {
    const stream = session.request({ ":path": "/healthz", ...headers });
    const [answer] = await once(stream, "response");
    stream.resume();
    return answer[":status"];
  };
  expect(await ask({})).toBe(200);
  expect(await ask({ host: "evil.example" })).toBe(403);
  expect(await ask({ ":authority": "evil.example", host: "127.0.0.1" })).toBe(403);
});

test("takes no gRPC message above the limit", async () => {
  const { address, given } = await serve();
  const signed = new Uint8Array(1024 * 1024 + 1);
  const answer = await refused(call(address, RestrictionService.method.giveRestriction, { signed }));
  expect(answer.code).toBe(status.RESOURCE_EXHAUSTED);
  const zeros = { channel: { "grpc.default_compression_algorithm": 2 } };
  const packed = await refused(call(address, RestrictionService.method.giveRestriction, { signed }, zeros));
  expect(packed.code).toBe(status.RESOURCE_EXHAUSTED);
  expect(given).toEqual([]);
});

test("has no gRPC service where there is nothing to say", async () => {
  const { address } = await serve({ token: TOKEN });
  const client = call(address, { ...AdminService.method.getStatus, name: "Nothing" }, {}, { token: TOKEN });
  expect((await refused(client)).code).toBe(status.UNIMPLEMENTED);
});

test("survives a host name of which no URL can be made", async () => {
  const { address } = await serve({ token: TOKEN });
  const head = `POST /chancery.admin.v1.AdminService/GetStatus HTTP/1.1\r\nhost: 127.0.0.1:99999\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`;
  expect(await sendRaw(address, head)).toMatch(/^HTTP\/1.1 400 /);
  expect((await getStatus({ control: address, token: TOKEN })).nodes).toEqual([]);
});

test("takes a request that comes byte by byte, and one whose sender has finished", async () => {
  const { address } = await serve();
  const head = "GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
  expect(await sendRaw(address, ...head)).toMatch(/^HTTP\/1.1 200 /);
  // As the preface of HTTP/2 up to its third byte.
  const alike = head.replace("GET", "PROPFIND");
  expect(await sendRaw(address, ...alike)).toMatch(/^HTTP\/1.1 404 /);
  const socket = connectTo(address);
  const answer = once(socket.setEncoding("latin1"), "data");
  socket.end(head);
  expect((await answer)[0]).toMatch(/^HTTP\/1.1 200 /);
});

test("closes with connections of every kind open", async () => {
  const { address, server } = await serve();
  const session = connectHttp2(`http://${address}`);
  const [silent, undecided] = [connectTo(address), connectTo(address)];
  await Promise.all([once(session, "remoteSettings"), once(silent, "connect"), once(undecided, "connect")]);
  await new Promise((resolve) => undecided.write("PRI * HT", resolve));
  const gone = [session, silent, undecided].map((connection) => {
    // Some are reset with what they sent unread.
    connection.on("error", () => undefined);
    return new Promise((resolve) => connection.once("close", resolve));
  });
  await server.close();
  await Promise.all(gone);
  expect([session.destroyed, silent.destroyed, undecided.destroyed]).toEqual([true, true, true]);
});
