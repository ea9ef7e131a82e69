import { once } from "node:events";
import {
  createSecureServer,
  createServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerOptions,
} from "node:http2";
import type { AddressInfo, Server, Socket } from "node:net";
import { hostOf, type ServerCertificates, tlsContextOf } from "../envoy/index.ts";
import { GRPC_STATUS, GrpcCall, isGone, refuseCall } from "./grpc-call.ts";

export interface GrpcServerSettings {
  /** Largest request, bytes. */
  readonly maxMessageBytes: number;
  /** After which time connections are probed, ms; and how long the answer may take, ms. */
  readonly keepaliveMs: number;
  readonly keepaliveTimeoutMs: number;
}

export interface GrpcServerOptions {
  readonly settings: GrpcServerSettings;
  /** Mutual TLS; left out: none. */
  readonly tls: ServerCertificates | undefined;
  /** What is called, by its path: `/package.Service/Method`. */
  readonly methods: ReadonlyMap<string, (call: GrpcCall) => void>;
}

/** Serves gRPC calls whose messages are bytes, at any number of addresses. */
export interface GrpcServer {
  /**
   * @param address  "host:port" (port 0: any free one) or "unix:/path"
   * @returns the port, 0 for a Unix socket
   * @throws the error of the socket where the address cannot be had
   */
  listen(address: string): Promise<number>;
  /** Takes no more calls; resolves when those that are open are over. */
  close(): Promise<void>;
  /** Ends every connection. */
  destroy(): void;
}

/**
 * What a client may send before it is told that it was taken in, bytes, of one call and of all of a connection. Of
 * Node's 64 KiB a few acknowledgements in state of the world, which repeat names, would be half, and be answered by
 * frames of their own.
 */
const WINDOW = 256 * 1024;
/** Calls that one connection may have open; an Envoy has one, or one a type. */
const MAX_CALLS = 1_000;
/** A client that connects and does not finish its handshake is let go after this, ms. */
const HANDSHAKE_MS = 10_000;

export function createGrpcServer({ settings, tls, methods }: GrpcServerOptions): GrpcServer {
  const servers: Server[] = [];
  const sessions = new Set<ServerHttp2Session>();
  const sockets = new Set<Socket>();
  const stops: (() => void)[] = [];
  const options: ServerOptions = {
    // What is on its way to a slow client is bounded by the session machine: one response at a time.
    maxSessionMemory: Number.MAX_SAFE_INTEGER,
    settings: { initialWindowSize: WINDOW, maxConcurrentStreams: MAX_CALLS },
  };

  function onSession(session: ServerHttp2Session): void {
    sessions.add(session);
    session.setLocalWindowSize(WINDOW);
    const cancel = probe(session, settings);
    session.on("close", () => {
      cancel();
      sessions.delete(session);
    });
    // Its calls are told.
    session.on("error", () => {});
  }

  function onStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    const path = headers[":path"] ?? "";
    if (headers[":method"] !== "POST" || !(headers["content-type"] ?? "").startsWith("application/grpc")) {
      stream.on("error", () => {});
      if (isGone(stream)) return;
      stream.respond({ ":status": headers[":method"] === "POST" ? 415 : 405 }, { endStream: true });
      return;
    }
    const method = methods.get(path);
    if (method === undefined) {
      stream.on("error", () => {});
      refuseCall(stream, { code: GRPC_STATUS.unimplemented, details: `this server has no method ${path}` });
      return;
    }
    method(new GrpcCall(stream, headers, settings.maxMessageBytes));
  }

  function open() {
    if (tls === undefined) return createServer(options);
    const secure = createSecureServer({
      ...options,
      ...tlsContextOf(tls.current()),
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: HANDSHAKE_MS,
    });
    // Handshakes that fail are the client's affair.
    secure.on("tlsClientError", (_, socket) => socket.destroy());
    stops.push(tls.onChange((next) => secure.setSecureContext(tlsContextOf(next))));
    return secure;
  }

  return {
    async listen(address) {
      const server = open();
      server.on("session", onSession);
      server.on("stream", onStream);
      server.on("sessionError", () => {});
      server.on("connection", (socket: Socket) => {
        sockets.add(socket);
        socket.once("close", () => sockets.delete(socket));
      });
      if (address.startsWith("unix:")) server.listen(address.slice("unix:".length));
      else server.listen(Number(address.slice(address.lastIndexOf(":") + 1)), hostOf(address));
      await once(server, "listening");
      servers.push(server);
      const bound = server.address();
      return isAddress(bound) ? bound.port : 0;
    },
    async close() {
      for (const stop of stops) stop();
      const closed = servers.map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
      for (const session of sessions) session.close();
      await Promise.all(closed);
    },
    destroy() {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Ends a connection that does not answer a ping in time. Returns how to stop. */
function probe(session: ServerHttp2Session, { keepaliveMs, keepaliveTimeoutMs }: GrpcServerSettings): () => void {
  let timer = setTimeout(send, keepaliveMs).unref();
  function send(): void {
    timer = setTimeout(() => session.destroy(), keepaliveTimeoutMs).unref();
    session.ping((error) => {
      if (error !== null || session.destroyed) return;
      clearTimeout(timer);
      timer = setTimeout(send, keepaliveMs).unref();
    });
  }
  return () => clearTimeout(timer);
}

function isAddress(bound: AddressInfo | string | null): bound is AddressInfo {
  return typeof bound === "object" && bound !== null;
}
