import { rm } from "node:fs/promises";
import {
  type ConnectionInjector,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
  status,
} from "@grpc/grpc-js";
import {
  isLoopback,
  removeStaleSocket,
  type ServerCertificates,
  serviceDefinition,
  shareSocket,
} from "../envoy/index.ts";
import { Authorization } from "../protos/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { Health } from "../protos/gen/grpc/health/v1/health_pb.ts";
import { ChanceryError } from "../resources/index.ts";
import { HealthService } from "./health.ts";
import type { DecisionService } from "./service.ts";
import { listenTls } from "./tls-connections.ts";
import { bufferOf } from "./wire.ts";

export interface DecisionServerOptions {
  readonly service: DecisionService;
  /** "host:port" (port 0: a free one), "[::1]:port" or "unix:/path". */
  readonly listen: string;
  /**
   * Mutual TLS, demanded off loopback. An Envoy is heard about its own node group only, the one that its certificate
   * names: `spiffe://TRUST-DOMAIN/…/gateway/GROUP`.
   */
  readonly tls?: ServerCertificates;
  /** Called with why a client with a certificate of the right CA was not heard. */
  readonly onRefused?: (why: string) => void;
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

/** Gateways whose Envoys may ask over TLS. */
const MAX_NODE_GROUPS = 1_000;

/** Serves `envoy.service.auth.v3.Authorization` and `grpc.health.v1.Health`. */
export async function serveDecisions(options: DecisionServerOptions): Promise<DecisionServer> {
  const { service, listen, tls } = options;
  const unixPath = listen.startsWith("unix:") ? listen.slice("unix:".length) : undefined;
  if (unixPath === undefined) demandTls(listen, tls !== undefined);
  else {
    if (tls !== undefined) throw new ChanceryError("invalid-argument", `${listen}: a Unix socket takes no TLS`);
    await removeStaleSocket(unixPath);
  }

  const health = new HealthService([Authorization.typeName]);
  const bound = tls === undefined ? await servePlain(options, health) : await serveTls(options, tls, health);
  // Whoever may talk to the socket may ask for decisions about anybody.
  if (unixPath !== undefined) await shareSocket(unixPath);
  service.onReady(() => health.setServing(true));

  let closing: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    health.close();
    bound.stopListening();
    await Promise.all(bound.servers().map((server) => drain(server, options.drainMs ?? 2_000)));
    if (unixPath !== undefined) await rm(unixPath, { force: true });
  };
  return {
    address: unixPath === undefined ? `${listenHost(listen)}:${bound.port}` : listen,
    close: () => {
      closing ??= stop();
      return closing;
    },
  };
}

/** Where calls come in, and the servers that answer them. */
interface Bound {
  readonly port: number;
  servers(): readonly Server[];
  stopListening(): void;
}

async function servePlain(options: DecisionServerOptions, health: HealthService): Promise<Bound> {
  const server = createServer(options, health, undefined);
  const port = await bind(server, options.listen);
  return { port, servers: () => [server], stopListening: () => undefined };
}

/** A server for each node group: which one a call is for is settled when its connection is made. */
async function serveTls(
  options: DecisionServerOptions,
  certificates: ServerCertificates,
  health: HealthService,
): Promise<Bound> {
  const onRefused = options.onRefused ?? (() => undefined);
  const groups = new Map<string, { readonly server: Server; readonly injector: ConnectionInjector }>();
  const host = listenHost(options.listen);
  const listener = await listenTls({
    host: host.replace(/^\[|\]$/g, ""),
    port: Number(options.listen.slice(host.length + 1)),
    certificates,
    onRefused,
    onConnection: (socket, nodeGroup) => {
      let group = groups.get(nodeGroup);
      if (group === undefined) {
        if (groups.size >= MAX_NODE_GROUPS) {
          onRefused(`there are certificates for more than ${MAX_NODE_GROUPS} gateways`);
          socket.destroy();
          return;
        }
        const server = createServer(options, health, nodeGroup);
        group = { server, injector: server.createConnectionInjector(ServerCredentials.createInsecure()) };
        groups.set(nodeGroup, group);
      }
      group.injector.injectConnection(socket);
    },
  }).catch((cause: unknown) => {
    throw new ChanceryError("unavailable", `cannot listen on ${options.listen}: ${ChanceryError.from(cause).message}`, {
      cause,
    });
  });
  return {
    port: listener.port,
    servers: () => [...groups.values()].map(({ server }) => server),
    stopListening: () => listener.close(),
  };
}

/** @param nodeGroup  the only one that its callers may ask about; undefined: any */
function createServer(options: DecisionServerOptions, health: HealthService, nodeGroup: string | undefined): Server {
  const { service } = options;
  const maxReceiveBytes = options.maxReceiveBytes ?? 4 * 1024 * 1024 + 64 * 1024;
  const server = new Server({ "grpc.max_receive_message_length": maxReceiveBytes });
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
          service.answer(call.request, nodeGroup, (response) => callback(null, bufferOf(response)));
        });
      },
    },
  );
  return server;
}

function demandTls(listen: string, secured: boolean): void {
  if (secured || isLoopback(listenHost(listen))) return;
  throw new ChanceryError(
    "invalid-argument",
    `the decision service does not listen on ${listen} without TLS: whoever reaches it can ask for decisions about anybody; give a certificate, or listen on loopback or a Unix socket`,
  );
}

function listenHost(listen: string): string {
  const colon = listen.lastIndexOf(":");
  if (colon <= 0 || !/^[0-9]{1,5}$/.test(listen.slice(colon + 1))) {
    throw new ChanceryError("invalid-argument", `"${listen}" is no address: write host:port or unix:/path`);
  }
  return listen.slice(0, colon);
}

function bind(server: Server, listen: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.bindAsync(listen, ServerCredentials.createInsecure(), (error, port) => {
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
