import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { Code, ConnectError, type ConnectRouter, type Interceptor } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { getRequestListener } from "@hono/node-server";
import { Hono } from "hono";
import type { Registry } from "prom-client";
import { hostOf, isLoopback, type KeyPair, type Renewable } from "../envoy/index.ts";
import { AdminService } from "../protos/gen/chancery/admin/v1/admin_pb.ts";
import { ApprovalService } from "../protos/gen/chancery/admin/v1/approvals_pb.ts";
import { EndpointService } from "../protos/gen/chancery/admin/v1/endpoints_pb.ts";
import { LogService } from "../protos/gen/chancery/admin/v1/log_pb.ts";
import { RestrictionService } from "../protos/gen/chancery/admin/v1/restrictions_pb.ts";
import { ChanceryError } from "../resources/index.ts";
import type { EndpointFeed } from "../xds-server/index.ts";
import { type ApprovalApi, approvalService } from "./approval-service.ts";
import { translateErrors } from "./connect-errors.ts";
import { endpointService } from "./endpoint-service.ts";
import { acceptHttp2 } from "./http-versions.ts";
import { type LogApi, logService } from "./log-service.ts";
import { type Credential, credentialsOf, personOf, principalKey, principalOf } from "./principal.ts";
import { type RestrictionApi, restrictionService } from "./restriction-service.ts";
import { type ControlStatus, toStatusResponse } from "./status.ts";

export interface AdminServerOptions {
  /** IP address or host name to bind. */
  readonly host: string;
  /** 0: a free one. */
  readonly port: number;
  /** With it HTTPS is spoken, and nothing else; obligatory where `host` is not a loopback address. */
  readonly tls?: Renewable<KeyPair>;
  /** Why the process is not ready; none: it is. */
  readonly notReady: () => readonly string[];
  readonly metrics: Registry;
  /** With it the status of the fleet is served. */
  readonly status?: () => ControlStatus;
  /** With it restrictions are taken and listed. */
  readonly restrictions?: RestrictionApi;
  /** With it approvals are requested, granted, revoked and listed. */
  readonly approvals?: ApprovalApi;
  /** With it the operational log can be compacted. */
  readonly log?: LogApi;
  /** With it endpoints are taken. */
  readonly endpoints?: Pick<EndpointFeed, "offer">;
  /** Path → what is answered there as JSON; undefined: 404. With a token they demand it. */
  readonly pages?: Readonly<Record<string, (query: URLSearchParams) => object | undefined>>;
  /** Told what failed in an unexpected way; the caller is not. */
  readonly onDefect?: (error: unknown) => void;
  /** Bearer token that the admin API demands; obligatory where `host` is not a loopback address. */
  readonly token?: string;
  /** Others who are let in with a token of their own, asked at each call; with it, nobody is let in without a token. */
  readonly principals?: () => readonly Credential[];
}

export interface AdminServer {
  /** "127.0.0.1:7070", as bound. */
  readonly address: string;
  /** "https://127.0.0.1:7070" */
  readonly url: string;
  /** Answers open requests for a short time, then drops them. Safe to call twice. */
  close(): Promise<void>;
}

type HttpRequest = IncomingMessage | Http2ServerRequest;
type HttpResponse = ServerResponse | Http2ServerResponse;

const CLOSE_GRACE_MS = 1_000;
const MESSAGE_LIMIT = 1024 * 1024;
const HEADERS_MS = 10_000;
const REQUEST_MS = 30_000;
const HTTP2_LIMITS = { firstBytesMs: HEADERS_MS, requestMs: REQUEST_MS, idleMs: 120_000, streams: 64 };

/**
 * Serves /healthz, /readyz, /metrics, and the services of the admin API that there is something to say or do for
 * (Connect, gRPC, gRPC-Web, JSON over POST), over HTTP/1.1 and HTTP/2: with TLS by ALPN, without it by prior knowledge.
 *
 * @throws ChanceryError "unavailable" when the address cannot be bound, "invalid-argument" for anything without TLS, or
 *   an API without a token, off loopback
 */
export async function startAdminServer(options: AdminServerOptions): Promise<AdminServer> {
  const loopback = isLoopback(options.host);
  const { status, restrictions, approvals, log, endpoints } = options;
  const { token, principals, tls } = options;
  if (tls === undefined && !loopback) {
    throw new ChanceryError(
      "invalid-argument",
      `the admin address ${options.host} is off loopback, where nothing is served without TLS`,
    );
  }
  const credentials =
    token === undefined && principals === undefined ? undefined : () => credentialsOf(token, principals?.() ?? []);
  const prefixes: string[] = [];
  const routes = (router: ConnectRouter): void => {
    if (status !== undefined) router.service(AdminService, { getStatus: () => toStatusResponse(status()) });
    if (restrictions !== undefined) router.service(RestrictionService, restrictionService(restrictions));
    if (approvals !== undefined)
      router.service(
        ApprovalService,
        approvalService(approvals, (name) => personOf(name, credentials?.() ?? [])),
      );
    if (log !== undefined) router.service(LogService, logService(log));
    if (endpoints !== undefined) router.service(EndpointService, endpointService(endpoints));
  };
  if (status !== undefined) prefixes.push(`/${AdminService.typeName}/`);
  if (restrictions !== undefined) prefixes.push(`/${RestrictionService.typeName}/`);
  if (approvals !== undefined) prefixes.push(`/${ApprovalService.typeName}/`);
  if (log !== undefined) prefixes.push(`/${LogService.typeName}/`);
  if (endpoints !== undefined) prefixes.push(`/${EndpointService.typeName}/`);
  if ((prefixes.length > 0 || options.pages !== undefined) && credentials === undefined && !loopback) {
    throw new ChanceryError(
      "invalid-argument",
      `the admin API on ${options.host} needs a token: everybody who reaches the address could use it`,
    );
  }
  const pages = getRequestListener(buildPages(options, credentials).fetch);
  const interceptors = [translateErrors(options.onDefect ?? (() => undefined))];
  const api = connectNodeAdapter({
    routes,
    interceptors: credentials === undefined ? interceptors : [...interceptors, demandToken(credentials)],
    readMaxBytes: MESSAGE_LIMIT,
    // A misspelt field of a restriction or an approval is not to be passed by.
    jsonOptions: { ignoreUnknownFields: false },
    requestPathPrefix: "",
  });
  const answer = (request: HttpRequest, response: HttpResponse): void => {
    const names = namesOf(request);
    // A page in a browser can point a name of its own at 127.0.0.1 (DNS rebinding): the name gives it away.
    if (loopback && !(names.length > 0 && names.every((name) => isLoopback(hostOf(name))))) {
      refuse(response, 403, "not a name of this address\n");
    } else if (!prefixes.some((prefix) => request.url?.startsWith(prefix) === true)) {
      void pages(request, response);
    } else if (names.length > 0 && names.every((name) => URL.canParse(`http://${name}`))) {
      api(request, response);
    } else {
      // The adapter throws where it cannot make a URL of it.
      refuse(response, 400, "no host name, or none that can be read\n");
    }
  };
  const { server, stopRenewals } = listenerOf(tls, answer);
  server.headersTimeout = HEADERS_MS;
  server.requestTimeout = REQUEST_MS;
  const http2 = acceptHttp2(server, answer, HTTP2_LIMITS);
  server.listen(options.port, options.host);
  try {
    await once(server, "listening");
  } catch (cause) {
    stopRenewals();
    throw new ChanceryError("unavailable", `cannot listen on ${options.host}:${options.port}: ${String(cause)}`, {
      cause,
    });
  }
  const { address, port, family } = server.address() as AddressInfo;
  const bound = family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`;
  let closed: Promise<void> | undefined;
  return {
    address: bound,
    url: `${tls === undefined ? "http" : "https"}://${bound}`,
    close: () => {
      closed ??= new Promise((resolve) => {
        stopRenewals();
        const timer = setTimeout(() => {
          server.closeAllConnections();
          http2.closeAll();
        }, CLOSE_GRACE_MS);
        server.close(() => {
          clearTimeout(timer);
          resolve();
        });
        server.closeIdleConnections();
        http2.closeIdle();
      });
      return closed;
    },
  };
}

/** Renewed certificates reach new connections. */
function listenerOf(
  tls: Renewable<KeyPair> | undefined,
  answer: (request: HttpRequest, response: HttpResponse) => void,
) {
  if (tls === undefined) return { server: createServer(answer), stopRenewals: () => undefined };
  const options = { ALPNProtocols: ["h2", "http/1.1"], handshakeTimeout: HEADERS_MS };
  const server = createTlsServer({ ...contextOf(tls.current()), ...options }, answer);
  return { server, stopRenewals: tls.onChange((next) => server.setSecureContext(contextOf(next))) };
}

function contextOf({ certificate, privateKey }: KeyPair) {
  return { cert: certificate, key: privateKey, minVersion: "TLSv1.2" } as const;
}

function buildPages(options: AdminServerOptions, credentials: (() => readonly Credential[]) | undefined): Hono {
  const pages = new Hono();
  pages.get("/healthz", (context) => context.json({ status: "ok" }));
  pages.get("/readyz", (context) => {
    const reasons = options.notReady();
    return reasons.length === 0 ? context.json({ status: "ok" }) : context.json({ status: "not ready", reasons }, 503);
  });
  pages.get("/metrics", async (context) =>
    context.text(await options.metrics.metrics(), 200, { "content-type": options.metrics.contentType }),
  );
  for (const [path, answer] of Object.entries(options.pages ?? {})) {
    pages.get(path, (context) => {
      const authorization = context.req.header("authorization");
      if (credentials !== undefined && principalOf(authorization, credentials()) === undefined) {
        return context.json({ error: "a bearer token is needed" }, 401);
      }
      const body = answer(new URL(context.req.url).searchParams);
      return body === undefined ? context.json({ error: "there is no such thing" }, 404) : context.json(body);
    });
  }
  pages.notFound((context) => context.json({ error: `no ${context.req.method} ${context.req.path} here` }, 404));
  return pages;
}

function demandToken(credentials: () => readonly Credential[]): Interceptor {
  return (next) => (request) => {
    const principal = principalOf(request.header.get("authorization"), credentials());
    if (principal === undefined) throw new ConnectError("a bearer token is needed", Code.Unauthenticated);
    request.contextValues.set(principalKey, principal);
    return next(request);
  };
}

/** Every name that a request was sent to: HTTP/2 may carry two. */
function namesOf(request: HttpRequest): readonly string[] {
  const authority = request instanceof Http2ServerRequest ? request.headers[":authority"] : undefined;
  return [authority, request.headers.host].filter((name) => name !== undefined);
}

function refuse(response: HttpResponse, status: number, reason: string): void {
  response.statusCode = status;
  response.setHeader("content-type", "text/plain");
  response.end(reason);
}
