/**
 * A stand-in for any web service: says who answered and what arrived; echoes WebSocket messages; streams events; tells
 * when the first byte of an upload came.
 */
import type { ServerResponse } from "node:http";
import { parseArgs } from "node:util";
import { WebSocketServer } from "ws";
import { runStandIn } from "./run-stand-in.ts";
import {
  type Exchange,
  misbehave,
  pause,
  type StandIn,
  type StandInOptions,
  sendJson,
  startStandIn,
} from "./stand-in.ts";

/** A request body on its way in. Times are milliseconds since the epoch. */
export interface Upload {
  readonly path: string;
  /** Absent while no byte of the body has arrived. */
  readonly firstByteAt?: number;
  /** Absent while the body is still coming. */
  readonly endedAt?: number;
  readonly bytes: number;
}

export interface WebServer extends StandIn {
  /** The newest uploads to /upload, oldest first; at most 100. */
  uploads(): readonly Upload[];
  /** Open WebSockets. */
  sockets(): number;
}

const UPLOADS_KEPT = 100;
const WEBSOCKET_MESSAGE_LIMIT = 1024 * 1024;

/** Starts a stand-in web service in this process. */
export async function startWebServer(options: StandInOptions): Promise<WebServer> {
  const uploads: { -readonly [K in keyof Upload]: Upload[K] }[] = [];
  const webSockets = new WebSocketServer({ noServer: true, maxPayload: WEBSOCKET_MESSAGE_LIMIT });
  webSockets.on("connection", (socket) => {
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
    // A socket that breaks closes; there is nobody here to tell.
    socket.on("error", () => socket.terminate());
  });

  const standIn = await startStandIn(
    options,
    async (exchange) => {
      const { url } = exchange;
      if (!(await misbehave(exchange, exchange.behaviour))) return;
      if (url.pathname.endsWith("/events")) return sendEvents(exchange, options);
      if (url.pathname.endsWith("/upload")) return receive(exchange);
      await echo(exchange, options);
    },
    (request, socket, head) => {
      webSockets.handleUpgrade(request, socket, head, (webSocket) => {
        webSockets.emit("connection", webSocket, request);
      });
    },
  );

  async function receive(exchange: Exchange): Promise<void> {
    const upload: (typeof uploads)[number] = { path: exchange.url.pathname, bytes: 0 };
    uploads.push(upload);
    if (uploads.length > UPLOADS_KEPT) uploads.shift();
    for await (const chunk of exchange.request) {
      upload.firstByteAt ??= Date.now();
      upload.bytes += (chunk as Buffer).length;
    }
    upload.endedAt = Date.now();
    sendJson(exchange.response, exchange.behaviour.status, { served_by: options.name, ...upload }, served(options));
  }

  const close = async (): Promise<void> => {
    for (const socket of webSockets.clients) socket.terminate();
    webSockets.close();
    await standIn.close();
  };
  return {
    ...standIn,
    uploads: () => structuredClone(uploads),
    sockets: () => webSockets.clients.size,
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function echo({ request, response, behaviour }: Exchange, options: StandInOptions): Promise<void> {
  let bodyBytes = 0;
  for await (const chunk of request) bodyBytes += (chunk as Buffer).length;
  const { method, url: path, headers } = request;
  sendJson(response, behaviour.status, { served_by: options.name, method, path, headers, bodyBytes }, served(options));
}

/** `GET /events?count=20&gapMs=50`: server-sent events, numbered from 0. */
async function sendEvents({ response, url }: Exchange, options: StandInOptions): Promise<void> {
  const count = bounded(url.searchParams.get("count"), 10, 10_000);
  const gapMs = bounded(url.searchParams.get("gapMs"), 0, 600_000);
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache", ...served(options) });
  response.flushHeaders();
  for (let number = 0; number < count; number += 1) {
    if (number > 0) await pause(response, gapMs);
    if (response.destroyed) return;
    await write(response, `data: ${JSON.stringify({ number, served_by: options.name })}\n\n`);
  }
  response.end();
}

/** Writes, and waits while the client does not take it. */
async function write(response: ServerResponse, text: string): Promise<void> {
  if (response.write(text)) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      response.off("drain", done).off("close", done);
      resolve();
    };
    response.once("drain", done).once("close", done);
  });
}

function bounded(text: string | null, fallback: number, limit: number): number {
  const value = text === null ? fallback : Number(text);
  return Number.isInteger(value) && value >= 0 ? Math.min(value, limit) : fallback;
}

function served(options: StandInOptions): Record<string, string> {
  return { "x-served-by": options.name };
}

const USAGE_TEXT = `Usage: node examples/quickstart/web-server.ts --name NAME [options]

A stand-in for any web service.

  --name NAME      who answers
  --port PORT      0: a free one
  --address ADDR   127.0.0.1 by default

  GET  /events?count=10&gapMs=100   server-sent events
  POST /upload                      tells when the first and the last byte came
  *    anything else                says what arrived; WebSockets are echoed
  GET  /__stats, POST /__behaviour  as the stand-in model servers
`;

if (import.meta.main) {
  await runStandIn(USAGE_TEXT, () => {
    const { values } = parseArgs({
      options: {
        name: { type: "string" },
        port: { type: "string", default: "0" },
        address: { type: "string", default: "127.0.0.1" },
        help: { type: "boolean", short: "h" },
      },
    });
    if (values.help === true || values.name === undefined) return undefined;
    return startWebServer({ name: values.name, port: Number(values.port), address: values.address });
  });
}
