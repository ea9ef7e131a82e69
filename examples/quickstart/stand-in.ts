import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { applyDirective, type Behaviour, type BehaviourChange, behaviourSchema, WELL } from "./behaviour.ts";

/** A request as it arrived. Headers are complete, credentials included: a stand-in holds no real ones. */
export interface ReceivedRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  /** Lower-case name → all values, joined as Node joins them. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Model named in the body; absent where there is none. */
  readonly model?: string;
}

export interface StandInStats {
  readonly name: string;
  /** Every request that was not for a control endpoint, answered or not. */
  readonly requests: number;
  readonly byPath: Readonly<Record<string, number>>;
  readonly byModel: Readonly<Record<string, number>>;
  /** Status → answers begun. */
  readonly byStatus: Readonly<Record<string, number>>;
  /** Requests whose credential was not the expected one. */
  readonly wrongCredentials: number;
  /** Requests whose client went away before the answer was complete. */
  readonly aborted: number;
  /** The newest requests, oldest first; at most `keep`. */
  readonly last: readonly ReceivedRequest[];
}

export interface StandInOptions {
  readonly name: string;
  /** 0 (the default): a free one. */
  readonly port?: number;
  /** 127.0.0.1 by default. */
  readonly address?: string;
  /** Requests kept for `stats().last`; 100 by default. */
  readonly keep?: number;
}

/** A running stand-in, in this process. */
export interface StandIn {
  readonly name: string;
  readonly port: number;
  stats(): StandInStats;
  /** Forgets all counts and requests. */
  resetStats(): void;
  /** Fields that are not named go back to well. */
  setBehaviour(change: BehaviourChange): void;
  /** Closes open connections too. Safe to call twice. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** What a handler needs to answer one request. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  /** Behaviour set for the server, and what the header `x-stand-in` adds. */
  readonly behaviour: Behaviour;
  noteModel(model: string): void;
  noteWrongCredential(): void;
}

const CONTROL_BODY_LIMIT = 64 * 1024;
const COUNTED_NAMES = 1_000;

/** Serves `handle` with the control endpoints (`/__stats`, `/__behaviour`, `/healthz`) and the counts beside it. */
export async function startStandIn(
  options: StandInOptions,
  handle: (exchange: Exchange) => Promise<void>,
  upgrade?: (request: IncomingMessage, socket: Duplex, head: Buffer) => void,
): Promise<StandIn> {
  const { name } = options;
  const keep = options.keep ?? 100;
  let behaviour = WELL;
  let used = 0;
  let counts = emptyCounts();

  const server = createServer((request, response) => {
    serve(request, response).catch((error: unknown) => {
      if (response.headersSent) response.destroy();
      else sendJson(response, 500, { error: { message: error instanceof Error ? error.message : String(error) } });
    });
  });
  if (upgrade !== undefined) {
    server.on("upgrade", (request, socket, head) => {
      note(request);
      upgrade(request, socket, head);
    });
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://stand-in");
    if (url.pathname === "/healthz") return sendJson(response, 200, { name });
    if (url.pathname === "/__stats") {
      if (request.method === "DELETE") counts = emptyCounts();
      return sendJson(response, 200, stats());
    }
    if (url.pathname === "/__behaviour") return changeBehaviour(request, response);

    const received = note(request);
    const current = counts;
    response.once("close", () => {
      if (response.writableFinished) return;
      current.aborted += 1;
    });
    const writeHead = response.writeHead;
    response.writeHead = ((status: number, ...rest: []) => {
      count(current.byStatus, String(status));
      return writeHead.call(response, status, ...rest);
    }) as typeof writeHead;

    await handle({
      request,
      response,
      url,
      behaviour: takeBehaviour(request),
      noteModel: (model) => {
        received.model = model;
        count(current.byModel, model);
      },
      noteWrongCredential: () => {
        current.wrongCredentials += 1;
      },
    });
  }

  function note(request: IncomingMessage): Writable<ReceivedRequest> {
    const path = request.url ?? "/";
    const received = { method: request.method ?? "", path, headers: { ...request.headers } };
    counts.requests += 1;
    count(counts.byPath, path.split("?", 1)[0] ?? path);
    counts.last.push(received);
    if (counts.last.length > keep) counts.last.shift();
    return received;
  }

  function takeBehaviour(request: IncomingMessage): Behaviour {
    const asked = request.headers["x-stand-in"];
    const base = behaviour;
    if (base.times > 0) {
      used += 1;
      if (used >= base.times) behaviour = WELL;
    }
    return typeof asked === "string" ? applyDirective(asked, name, base) : base;
  }

  async function changeBehaviour(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (request.method !== "POST") return sendJson(response, 200, behaviour);
    let change: unknown;
    try {
      const text = (await readBody(request, CONTROL_BODY_LIMIT)).toString("utf8");
      change = text === "" ? {} : JSON.parse(text);
    } catch (error) {
      return sendJson(response, 400, { error: { message: String(error) } });
    }
    const parsed = behaviourSchema.safeParse(change);
    if (!parsed.success) return sendJson(response, 400, { error: { message: parsed.error.message } });
    setBehaviour(parsed.data);
    sendJson(response, 200, behaviour);
  }

  function setBehaviour(change: BehaviourChange): void {
    behaviour = behaviourSchema.parse(change);
    used = 0;
  }

  const stats = (): StandInStats => structuredClone({ name, ...counts });

  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port ?? 0, options.address ?? "127.0.0.1", resolve);
  });
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closed ??= new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
    return closed;
  };
  return {
    name,
    port: (server.address() as AddressInfo).port,
    stats,
    resetStats: () => {
      counts = emptyCounts();
    },
    setBehaviour,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/**
 * Waits and resets as the behaviour says.
 *
 * @returns false when there is nothing left to answer: the connection was reset or the client went away
 */
export async function misbehave(exchange: Exchange, behaviour: Behaviour): Promise<boolean> {
  if (behaviour.delayMs > 0) await pause(exchange.response, behaviour.delayMs);
  if (behaviour.reset) exchange.request.socket.resetAndDestroy();
  return !behaviour.reset && !exchange.response.destroyed;
}

/** Waits, but not longer than the response lives. */
export async function pause(response: ServerResponse, milliseconds: number): Promise<void> {
  if (milliseconds === 0 || response.destroyed) return;
  const gone = new AbortController();
  const abort = (): void => gone.abort();
  response.once("close", abort);
  // Only the client's leaving rejects it, and the caller looks at `response.destroyed` then.
  await delay(milliseconds, undefined, { signal: gone.signal }).catch(() => undefined);
  response.off("close", abort);
}

/** Reads a whole body. @throws Error when it is longer than `limit` bytes */
export async function readBody(request: IncomingMessage, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > limit) throw new Error(`body is longer than ${limit} bytes`);
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks);
}

export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  const bytes = Buffer.from(`${JSON.stringify(body)}\n`);
  response.writeHead(status, { "content-type": "application/json", "content-length": bytes.length, ...headers });
  response.end(bytes);
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };

interface Counts {
  requests: number;
  byPath: Record<string, number>;
  byModel: Record<string, number>;
  byStatus: Record<string, number>;
  wrongCredentials: number;
  aborted: number;
  last: ReceivedRequest[];
}

function emptyCounts(): Counts {
  return { requests: 0, byPath: {}, byModel: {}, byStatus: {}, wrongCredentials: 0, aborted: 0, last: [] };
}

function count(counts: Record<string, number>, name: string): void {
  // Names come from clients: beyond the bound they share one entry.
  const key = Object.hasOwn(counts, name) || Object.keys(counts).length < COUNTED_NAMES ? name : "(others)";
  counts[key] = (counts[key] ?? 0) + 1;
}
