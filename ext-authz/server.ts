import { chmod, rm, stat } from "node:fs/promises";
import { createConnection, isIP } from "node:net";
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData, status } from "@grpc/grpc-js";
import { serviceDefinition } from "../envoy/index.ts";
import { Authorization } from "../protos/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { Health } from "../protos/gen/grpc/health/v1/health_pb.ts";
import { ChanceryError } from "../resources/index.ts";
import { HealthService } from "./health.ts";
import type { DecisionService } from "./service.ts";

export interface DecisionServerOptions {
  readonly service: DecisionService;
  /** "host:port" (port 0: a free one), "[::1]:port" or "unix:/path". */
  readonly listen: string;
  /** Mutual TLS, demanded off loopback; PEM. Only clients with a certificate of `clientCa` are heard. */
  readonly tls?: { readonly certificate: Buffer; readonly privateKey: Buffer; readonly clientCa: Buffer };
  /** Largest CheckRequest in bytes; 4 MiB for the body and 64 KiB for the rest by default. */
  readonly maxReceiveBytes?: number;
  /** Milliseconds that running calls get when the server stops; 2,000 by default. */
  readonly drainMs?: number;
}

export interface DecisionServer {
  /** As Envoy reaches it: "127.0.0.1:9191" or "unix:/path". */
  readonly address: string;
  /** Says NOT_SERVING, takes no new calls, ends running ones within the drain time. Safe to call twice. */
  close(): Promise<void>;
}

/** Serves `envoy.service.auth.v3.Authorization` and `grpc.health.v1.Health`. */
export async function serveDecisions(options: DecisionServerOptions): Promise<DecisionServer> {
  const { service, listen, tls } = options;
  const unixPath = listen.startsWith("unix:") ? listen.slice("unix:".length) : undefined;
  if (unixPath === undefined) demandTls(listen, tls !== undefined);
  else await removeStaleSocket(unixPath);

  const maxReceiveBytes = options.maxReceiveBytes ?? 4 * 1024 * 1024 + 64 * 1024;
  const server = new Server({ "grpc.max_receive_message_length": maxReceiveBytes });
  const health = new HealthService([Authorization.typeName]);
  server.addService(serviceDefinition(Health), health.implementation());
  server.addService(
    {
      // Bytes in, bytes out: what is decoded of them, and when, is the service's affair.
      check: {
        ...serviceDefinition(Authorization).check,
        requestDeserialize: (bytes: Buffer) => bytes,
        responseSerialize: (bytes: Buffer) => bytes,
      },
    },
    {
      check: (call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) => {
        // One turn of the loop reads what else has arrived. In a backlog that is also the cancellation of Checks that
        // Envoy gave up and sent elsewhere: deciding them would keep the backlog. One that was begun is recorded.
        setImmediate(() => {
          if (call.cancelled) {
            callback({ code: status.CANCELLED });
            return;
          }
          void service.check(call.request).then((answer) => {
            callback(null, Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength));
          });
        });
      },
    },
  );
  const credentials =
    tls === undefined
      ? ServerCredentials.createInsecure()
      : ServerCredentials.createSsl(tls.clientCa, [{ cert_chain: tls.certificate, private_key: tls.privateKey }], true);
  const port = await bind(server, listen, credentials);
  // Whoever may talk to the socket may ask for decisions about anybody.
  if (unixPath !== undefined) await chmod(unixPath, 0o660);
  service.onReady(() => health.setServing(true));

  let closing: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    health.close();
    await drain(server, options.drainMs ?? 2_000);
    if (unixPath !== undefined) await rm(unixPath, { force: true });
  };
  return {
    address: unixPath === undefined ? `${hostOf(listen)}:${port}` : listen,
    close: () => {
      closing ??= stop();
      return closing;
    },
  };
}

function demandTls(listen: string, secured: boolean): void {
  const host = hostOf(listen).replace(/^\[|\]$/g, "");
  const loopback = host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
  if (loopback || secured) return;
  throw new ChanceryError(
    "invalid-argument",
    `the decision service does not listen on ${listen} without TLS: whoever reaches it can ask for decisions about anybody; give a certificate, or listen on loopback or a Unix socket`,
  );
}

function hostOf(listen: string): string {
  const colon = listen.lastIndexOf(":");
  if (colon <= 0 || !/^[0-9]{1,5}$/.test(listen.slice(colon + 1))) {
    throw new ChanceryError("invalid-argument", `"${listen}" is no address: write host:port or unix:/path`);
  }
  return listen.slice(0, colon);
}

/** A socket that nobody answers on is left from a process that died; one that somebody answers on is not ours to take. */
async function removeStaleSocket(path: string): Promise<void> {
  const entry = await stat(path).catch(() => undefined);
  if (entry === undefined) return;
  if (!entry.isSocket()) throw new ChanceryError("invalid-argument", `${path} exists and is no socket`);
  const answered = await new Promise<boolean>((resolve) => {
    const probe = createConnection(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
  if (answered) throw new ChanceryError("unavailable", `another process listens on ${path}`);
  await rm(path, { force: true });
}

function bind(server: Server, listen: string, credentials: ServerCredentials): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(listen, credentials, (error, port) => {
      if (error === null) resolve(port);
      else reject(new ChanceryError("unavailable", `cannot listen on ${listen}: ${error.message}`, { cause: error }));
    });
  });
}

async function drain(server: Server, ms: number): Promise<void> {
  const timer = setTimeout(() => server.forceShutdown(), ms);
  await new Promise<void>((resolve) => server.tryShutdown(() => resolve()));
  clearTimeout(timer);
}
