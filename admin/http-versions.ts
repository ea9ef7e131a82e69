import type { Server as HttpServer } from "node:http";
import {
  constants,
  createServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from "node:http2";
import { Server as HttpsServer } from "node:https";
import type { Socket } from "node:net";

/** What a client of HTTP/2 with prior knowledge says first (RFC 9113, section 3.4). */
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** In milliseconds, but `streams`. */
export interface Http2Limits {
  /** From the connection until it is known which version it speaks. */
  readonly firstBytesMs: number;
  /** Until a request is there as a whole. */
  readonly requestMs: number;
  /** A connection on which nothing moves for as long is dropped. */
  readonly idleMs: number;
  /** Open requests on one connection. */
  readonly streams: number;
}

/** The HTTP/2 connections of a server. */
export interface Http2Connections {
  /** Takes no more requests; a connection goes when its open ones are answered. */
  closeIdle(): void;
  closeAll(): void;
}

/**
 * Lets a server of HTTP/1.1 take HTTP/2 on the same port, without TLS (prior knowledge, as gRPC clients speak it) or, on a
 * server that offers it by ALPN, with TLS: the first bytes of a connection say which it is. The server stays the one that
 * listens and counts connections, so its own deadlines hold for HTTP/1.1 and handshakes, and its `close` waits for all.
 */
export function acceptHttp2(
  server: HttpServer | HttpsServer,
  listener: (request: Http2ServerRequest, response: Http2ServerResponse) => void,
  limits: Http2Limits,
): Http2Connections {
  const sessions = new Set<ServerHttp2Session>();
  const undecided = new Set<Socket>();
  const http2 = createServer({ settings: { maxConcurrentStreams: limits.streams } }, (request, response) => {
    dropLate(request, limits.requestMs);
    listener(request, response);
  });
  http2.on("session", (session) => {
    sessions.add(session);
    session.setTimeout(limits.idleMs, () => session.destroy());
    session.once("close", () => sessions.delete(session));
  });
  const tls = server instanceof HttpsServer;
  const connected = tls ? "secureConnection" : "connection";
  // Until its handshake is done, only the socket beneath can be dropped.
  const beneath = new Set<Socket>();
  if (tls) {
    server.on("connection", (socket: Socket) => {
      beneath.add(socket);
      socket.once("close", () => beneath.delete(socket));
    });
  }
  const http1 = server.listeners(connected);
  server.removeAllListeners(connected);
  server.on(connected, (socket: Socket) => {
    undecided.add(socket);
    socket.once("close", () => undecided.delete(socket));
    whenDecided(socket, limits.firstBytesMs, (speaksHttp2) => {
      undecided.delete(socket);
      if (speaksHttp2) http2.emit("connection", socket);
      else for (const own of http1) Reflect.apply(own, server, [socket]);
    });
  });
  const dropUndecided = (): void => {
    for (const socket of undecided) socket.destroy();
  };
  return {
    closeIdle: () => {
      dropUndecided();
      for (const session of sessions) session.close();
    },
    closeAll: () => {
      dropUndecided();
      for (const session of sessions) session.destroy();
      for (const socket of beneath) socket.destroy();
    },
  };
}

/** Calls back with the socket as it came, nothing read; not at all if it ends, breaks or takes too long before that. */
function whenDecided(socket: Socket, withinMs: number, decided: (speaksHttp2: boolean) => void): void {
  let seen = Buffer.alloc(0);
  const drop = (): void => {
    socket.destroy();
  };
  const read = (): void => {
    for (let chunk = socket.read(); chunk !== null; chunk = socket.read()) seen = Buffer.concat([seen, chunk]);
    const length = Math.min(seen.length, PREFACE.length);
    const alike = seen.subarray(0, length).equals(PREFACE.subarray(0, length));
    if (alike && length < PREFACE.length) return;
    forget();
    socket.unshift(seen);
    decided(alike);
  };
  const forget = (): void => {
    clearTimeout(timer);
    socket.off("readable", read).off("end", drop).off("error", drop).off("close", forget);
  };
  const timer = setTimeout(drop, withinMs);
  socket.on("readable", read).on("end", drop).on("error", drop).on("close", forget);
}

/** What `requestTimeout` is for HTTP/1.1. */
function dropLate(request: Http2ServerRequest, withinMs: number): void {
  const timer = setTimeout(() => request.stream.close(constants.NGHTTP2_CANCEL), withinMs);
  const onTime = (): void => clearTimeout(timer);
  request.once("end", onTime).once("close", onTime);
}
