import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { type AddressInfo, createConnection, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { create } from "@bufbuild/protobuf";
import { type ChannelCredentials, Client, credentials, type ServiceError, status } from "@grpc/grpc-js";
import { Registry } from "prom-client";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  fixedCertificate,
  type ServerCertificate,
  type ServerCertificates,
  serviceDefinition,
} from "../envoy/index.ts";
import { compilePolicy } from "../policy/index.ts";
import {
  Health,
  HealthCheckRequestSchema,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../protos/gen/grpc/health/v1/health_pb.ts";
import { closeAtEnd, createCertificateAuthority, type KeyedCertificate, waitFor } from "../test/support/index.ts";
import { CHAT_KEY, checkBytes, decodeAnswer, NOW, revision } from "./fixtures.ts";
import type { JournalRecord } from "./record.ts";
import { type DecisionServerOptions, serveDecisions } from "./server.ts";
import { createDecisionService } from "./service.ts";

const HEALTH = serviceDefinition(Health);
const CHECK = "/envoy.service.auth.v3.Authorization/Check";

function newService(appendRecord: (record: JournalRecord) => Promise<void> = async () => undefined) {
  let ids = 0;
  const quiet = () => undefined;
  return closeAtEnd(
    createDecisionService({
      serviceName: "authz-1",
      compilePolicy,
      appendRecord,
      clock: () => NOW,
      monotonic: () => performance.now(),
      random: () => 0.5,
      newId: () => `d${++ids}`,
      log: { info: quiet, warn: quiet, error: quiet },
      metrics: new Registry(),
    }),
  );
}

const serve = async (options: Partial<DecisionServerOptions> & Pick<DecisionServerOptions, "service">) =>
  closeAtEnd(await serveDecisions({ listen: "127.0.0.1:0", drainMs: 200, ...options }));

function connect(address: string, channel: ChannelCredentials = credentials.createInsecure()) {
  const client = closeAtEnd(new Client(address, channel));
  const unary = <Answer>(path: string, bytes: Uint8Array, decode: (answer: Buffer) => Answer): Promise<Answer> =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        path,
        (request: Buffer) => request,
        decode,
        Buffer.from(bytes),
        (error, answer) => {
          if (error !== null) reject(error);
          else if (answer !== undefined) resolve(answer);
        },
      );
    });
  const service = (name: string) => create(HealthCheckRequestSchema, { service: name });
  return {
    client,
    check: (bytes: Uint8Array) => unary(CHECK, bytes, decodeAnswer),
    health: async (name = "") => {
      const { requestSerialize, responseDeserialize } = HEALTH.check;
      return (await unary(HEALTH.check.path, requestSerialize(service(name)), responseDeserialize)).status;
    },
    watch: (name: string) => {
      const { path, requestSerialize, responseDeserialize } = HEALTH.watch;
      const seen: HealthCheckResponse["status"][] = [];
      const stream = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, service(name));
      stream.on("data", (answer: HealthCheckResponse) => seen.push(answer.status)).on("error", () => undefined);
      const ended = new Promise((resolve) => stream.on("end", resolve));
      return { seen, ended };
    },
  };
}

const chat = () =>
  checkBytes({
    body: '{"model":"chat"}',
    headers: [
      ["content-type", "application/json"],
      ["x-api-key", CHAT_KEY],
    ],
  });

describe("Check over gRPC", () => {
  it("answers with a decision", async () => {
    const service = newService();
    service.activate(revision());
    const { check } = connect((await serve({ service })).address);
    const answer = await check(chat());
    expect(answer).toMatchObject({ status: { code: 0 }, dynamicMetadata: { decision: "allow", decision_id: "d1" } });
  });

  it("refuses with an answer, not a gRPC error, while there is no revision", async () => {
    const { check } = connect((await serve({ service: newService() })).address);
    expect(await check(chat())).toMatchObject({ status: { code: 14 }, httpResponse: { case: "errorResponse" } });
  });

  it("takes a body of 4 MiB and nothing over its bound", async () => {
    const service = newService();
    service.activate(revision());
    const { check } = connect((await serve({ service })).address);
    const headers = [
      ["content-type", "application/json"],
      ["x-api-key", CHAT_KEY],
    ] as const;
    const big = (size: number) => checkBytes({ headers, body: JSON.stringify({ model: "chat", x: "y".repeat(size) }) });
    expect(await check(big(4 * 1024 * 1024 - 30))).toMatchObject({ status: { code: 0 } });
    await expect(check(big(4 * 1024 * 1024 + 70_000))).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
  });

  it("records a decision whose caller is gone", async () => {
    const records: JournalRecord[] = [];
    let arrived = 0;
    let durable: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      durable = resolve;
    });
    const service = newService(async (record) => {
      arrived++;
      await held;
      records.push(record);
    });
    service.activate(revision());
    const { client } = connect((await serve({ service })).address);
    const failed = new Promise<ServiceError | null>((resolve) => {
      const call = client.makeUnaryRequest(CHECK, (bytes: Buffer) => bytes, decodeAnswer, Buffer.from(chat()), resolve);
      void waitFor(() => arrived === 1, 5_000, "the record").then(() => call.cancel());
    });
    expect(await failed).toMatchObject({ code: status.CANCELLED });
    durable();
    await waitFor(() => records.length === 1, 5_000, "the record of the cancelled call");
    expect(records[0]).toMatchObject({ effect: "allow", application: "acme/chat" });
  });
});

/** A link that holds what the client sends until it is let go, all at once: what a backlog looks like to the server. */
async function holdingLink(target: string) {
  const [host, port] = target.split(":");
  let held: Buffer[] | undefined;
  let upstream: Socket | undefined;
  const server = createServer((socket) => {
    const onward = createConnection(Number(port), host);
    upstream = onward;
    socket.on("data", (bytes: Buffer) => (held === undefined ? onward.write(bytes) : held.push(bytes)));
    onward.pipe(socket);
    socket.on("close", () => onward.destroy());
    onward.on("close", () => socket.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closeAtEnd(server);
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    hold: () => {
      held = [];
    },
    heldBytes: () => held?.reduce((sum, bytes) => sum + bytes.length, 0) ?? 0,
    letGo: () => {
      upstream?.write(Buffer.concat(held ?? []));
      held = undefined;
    },
  };
}

describe("a backlog", () => {
  it("costs no decisions for calls that were given up while they waited in it", async () => {
    const records: JournalRecord[] = [];
    const service = newService(async (record) => {
      records.push(record);
    });
    service.activate(revision());
    const link = await holdingLink((await serve({ service })).address);
    const { client, check } = connect(link.address);
    await check(chat());
    expect(records).toHaveLength(1);

    link.hold();
    const calls = Array.from({ length: 20 }, () => {
      const call = { cancel: () => {}, ended: Promise.resolve<ServiceError | null>(null) };
      call.ended = new Promise((resolve) => {
        const begun = client.makeUnaryRequest(CHECK, (b: Buffer) => b, decodeAnswer, Buffer.from(chat()), resolve);
        call.cancel = () => begun.cancel();
      });
      return call;
    });
    await waitFor(() => link.heldBytes() > 20 * chat().length, 5_000, "the requests to be sent");
    const sent = link.heldBytes();
    for (const call of calls) call.cancel();
    for (const call of calls) expect(await call.ended).toMatchObject({ code: status.CANCELLED });
    // A RST_STREAM frame has 13 bytes (RFC 9113 section 6.4).
    await waitFor(() => link.heldBytes() >= sent + 20 * 13, 5_000, "the cancellations to be sent");
    link.letGo();
    expect(await check(chat())).toMatchObject({ status: { code: 0 } });
    expect(records).toHaveLength(2);
  });
});

describe("health", () => {
  it("is SERVING only with an active revision, and NOT_SERVING before the server ends", async () => {
    const service = newService();
    const server = await serve({ service });
    const { health, watch } = connect(server.address);
    expect(await health()).toBe(ServingStatus.NOT_SERVING);
    const whole = watch("");
    const authorization = watch("envoy.service.auth.v3.Authorization");
    const unknown = watch("nobody");
    await waitFor(() => [whole, authorization, unknown].every(({ seen }) => seen.length === 1), 5_000, "first states");
    service.activate(revision());
    expect(await health("envoy.service.auth.v3.Authorization")).toBe(ServingStatus.SERVING);
    await expect(health("nobody")).rejects.toMatchObject({ code: status.NOT_FOUND });
    await server.close();
    await whole.ended;
    expect(whole.seen).toEqual([ServingStatus.NOT_SERVING, ServingStatus.SERVING, ServingStatus.NOT_SERVING]);
    expect(authorization.seen).toEqual(whole.seen);
    expect(new Set(unknown.seen)).toEqual(new Set([ServingStatus.SERVICE_UNKNOWN]));
    await server.close();
  });

  it("lets running checks finish when it stops", async () => {
    let durable: () => void = () => undefined;
    let arrived = false;
    const service = newService(() => {
      arrived = true;
      return new Promise((resolve) => {
        durable = resolve;
      });
    });
    service.activate(revision());
    const server = await serve({ service, drainMs: 5_000 });
    const running = connect(server.address).check(chat());
    await waitFor(() => arrived, 5_000, "a running check");
    const closed = server.close();
    durable();
    expect(await running).toMatchObject({ status: { code: 0 } });
    await closed;
  });
});

describe("where it listens", () => {
  it.each(["0.0.0.0:0", "192.0.2.1:9191", "[::]:0", "authz.example:9191"])("refuses %s without TLS", async (listen) => {
    await expect(serveDecisions({ service: newService(), listen })).rejects.toMatchObject({ code: "invalid-argument" });
  });

  it.each(["9191", ":9191", "127.0.0.1", "127.0.0.1:http"])("refuses the address %s", async (listen) => {
    await expect(serveDecisions({ service: newService(), listen })).rejects.toMatchObject({ code: "invalid-argument" });
  });

  it("says why an address cannot be taken", async () => {
    const first = await serve({ service: newService() });
    await expect(serveDecisions({ service: newService(), listen: first.address })).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining(first.address),
    });
  });

  it("takes over the Unix socket of a process that died, but none that answers and no file", async () => {
    const directory = await mkdtemp(join(tmpdir(), "chancery-authz-"));
    onTestFinished(() => rm(directory, { recursive: true }));
    const listen = `unix:${join(directory, "authz.sock")}`;
    const script = `require("net").createServer().listen(process.argv[1], () => console.log("up"))`;
    const dead = spawn(process.execPath, ["-e", script, join(directory, "authz.sock")]);
    await once(dead.stdout, "data");
    dead.kill("SIGKILL");
    await once(dead, "exit");
    expect((await stat(join(directory, "authz.sock"))).isSocket()).toBe(true);
    const service = newService();
    service.activate(revision());
    const first = await serve({ service, listen });
    expect(await connect(first.address).check(chat())).toMatchObject({ status: { code: 0 } });
    expect((await stat(join(directory, "authz.sock"))).mode & 0o007).toBe(0);
    await expect(serveDecisions({ service, listen })).rejects.toMatchObject({ code: "unavailable" });
    await first.close();
    await expect(stat(join(directory, "authz.sock"))).rejects.toMatchObject({ code: "ENOENT" });
    await writeFile(join(directory, "file"), "");
    await expect(serveDecisions({ service, listen: `unix:${join(directory, "file")}` })).rejects.toMatchObject({
      code: "invalid-argument",
    });
  });

  describe("over TLS", () => {
    const authority = createCertificateAuthority();
    const material = ({ certificate, privateKey }: KeyedCertificate): ServerCertificate => ({
      certificate: Buffer.from(certificate),
      privateKey: Buffer.from(privateKey),
      clientCa: Buffer.from(authority.certificate),
    });
    const client = (names: readonly string[], issuer = authority) => {
      const { certificate, privateKey } = issuer.issue(names);
      const root = Buffer.from(authority.certificate);
      return credentials.createSsl(root, Buffer.from(privateKey), Buffer.from(certificate));
    };
    const EDGE = ["spiffe://acme/gateway/edge"];
    const serveTls = async (certificates: ServerCertificates) => {
      const service = newService();
      service.activate(revision());
      const refused: string[] = [];
      const onRefused = (why: string) => refused.push(why);
      const { address } = await serve({ service, listen: "127.0.0.1:0", tls: certificates, onRefused });
      return { address, refused };
    };

    it("hears an Envoy about the gateway that its certificate names, and nobody else", async () => {
      const { address, refused } = await serveTls(fixedCertificate(material(authority.issue(["127.0.0.1"]))));
      const check = (channel: ChannelCredentials) => connect(address, channel).check(chat());
      expect(await check(client(EDGE))).toMatchObject({ status: { code: 0 } });
      expect(await check(client(["spiffe://acme/node/n1/gateway/edge"]))).toMatchObject({ status: { code: 0 } });
      const foreign = await check(client(["spiffe://acme/gateway/other"]));
      expect(foreign.dynamicMetadata).toMatchObject({ decision: "deny", code: "foreign_node" });

      const unheard = { code: status.UNAVAILABLE };
      await expect(check(client(EDGE, createCertificateAuthority()))).rejects.toMatchObject(unheard);
      await expect(check(credentials.createSsl(Buffer.from(authority.certificate)))).rejects.toMatchObject(unheard);
      await expect(check(credentials.createInsecure())).rejects.toMatchObject(unheard);
      expect(refused).toEqual([]);
      await expect(check(client(["envoy"]))).rejects.toMatchObject(unheard);
      await expect(check(client([...EDGE, "spiffe://acme/gateway/other"]))).rejects.toMatchObject(unheard);
      expect(refused).toEqual([expect.stringContaining("no gateway"), expect.stringContaining("more than one")]);
    });

    it("shows a renewed certificate to new connections and keeps those that are open", async () => {
      let current = material(authority.issue(["127.0.0.1"]));
      let tell: (next: ServerCertificate) => void = () => undefined;
      const { address } = await serveTls({
        current: () => current,
        onChange(listener) {
          tell = listener;
          return () => undefined;
        },
      });
      const shown = async () => {
        const [host, port] = address.split(":");
        const socket = connectTls({
          host,
          servername: "localhost",
          port: Number(port),
          checkServerIdentity: () => undefined,
          ca: authority.certificate,
          ALPNProtocols: ["h2"],
        });
        onTestFinished(() => void socket.destroy());
        // Without a certificate of its own it is not heard, which it is told after it has seen the server's.
        socket.on("error", () => undefined);
        await once(socket, "secureConnect");
        return socket.getPeerX509Certificate()?.toString();
      };
      const open = connect(address, client(EDGE));
      expect(await open.check(chat())).toMatchObject({ status: { code: 0 } });
      expect(await shown()).toBe(current.certificate.toString());

      current = material(authority.issue(["127.0.0.1"]));
      tell(current);
      expect(await shown()).toBe(current.certificate.toString());
      expect(await open.check(chat())).toMatchObject({ status: { code: 0 } });
    });

    it("leaves a Unix socket to its file permissions", async () => {
      const tls = fixedCertificate(material(authority.issue(["127.0.0.1"])));
      await expect(serveDecisions({ service: newService(), listen: "unix:/nowhere", tls })).rejects.toMatchObject({
        code: "invalid-argument",
      });
    });
  });
});
