import { once } from "node:events";
import { Agent, type IncomingHttpHeaders, type IncomingMessage, type RequestOptions, request } from "node:http";
import { request as secureRequest } from "node:https";
import { createConnection } from "node:net";

export interface HttpRequest {
  /** GET, or POST where there is a body. */
  readonly method?: string;
  /** A list sends the header several times. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** An object is sent as JSON. */
  readonly body?: string | Uint8Array | object;
  /** Milliseconds until the whole answer must be here; 10,000 by default. */
  readonly timeoutMs?: number;
  /** By default every request has a connection of its own, so that none inherits the state of another. */
  readonly agent?: Agent;
  /** PEM; for https. */
  readonly ca?: string;
  /** Client certificate, PEM; for https. */
  readonly cert?: string;
  readonly key?: string;
  /** SNI and the name that the certificate is checked against; the URL's host by default. */
  readonly servername?: string;
  /** Path and query sent as they are, where the URL class would normalise them. */
  readonly rawPath?: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  text(): string;
  /** @throws Error with the text when it is not JSON */
  json<T = unknown>(): T;
}

/** An answer whose body is still coming. */
export interface OpenAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Pieces as they arrive. */
  readonly body: AsyncIterable<Buffer>;
  /** Every data line of an event stream, as it arrives. */
  events(): AsyncGenerator<string>;
  /** Drops the connection. */
  close(): void;
}

/** One request with its whole answer. @throws Error when there is no answer */
export async function http(url: string, options: HttpRequest = {}): Promise<HttpAnswer> {
  const { answer, close } = await begin(url, options);
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of answer) chunks.push(chunk as Buffer);
  } finally {
    close();
  }
  const body = Buffer.concat(chunks);
  const text = (): string => body.toString("utf8");
  return {
    status: answer.statusCode ?? 0,
    headers: answer.headers,
    body,
    text,
    json: <T>() => {
      try {
        return JSON.parse(text()) as T;
      } catch (cause) {
        throw new Error(`${answer.statusCode} from ${url} is not JSON: ${text().slice(0, 500)}`, { cause });
      }
    },
  };
}

/** One request whose answer is read as it comes; `timeoutMs` bounds the time to its headers. */
export async function openHttp(url: string, options: HttpRequest = {}): Promise<OpenAnswer> {
  const { answer, close, stopTimer } = await begin(url, options);
  stopTimer();
  return {
    status: answer.statusCode ?? 0,
    headers: answer.headers,
    body: answer as AsyncIterable<Buffer>,
    events: () => dataLines(answer as AsyncIterable<Buffer>),
    close,
  };
}

async function* dataLines(body: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.startsWith("data: ")) yield line.slice("data: ".length);
  }
}

interface Begun {
  readonly answer: IncomingMessage;
  close(): void;
  stopTimer(): void;
}

function begin(url: string, options: HttpRequest): Promise<Begun> {
  const target = new URL(url);
  const { body } = options;
  const bytes =
    body === undefined || typeof body === "string" || body instanceof Uint8Array ? body : JSON.stringify(body);
  const headers: Record<string, string | string[]> = {};
  if (typeof body === "object" && !(body instanceof Uint8Array)) headers["content-type"] = "application/json";
  if (bytes !== undefined) headers["content-length"] = String(Buffer.byteLength(bytes));
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    headers[name] = typeof value === "string" ? value : [...value];
  }
  const common: RequestOptions = {
    host: target.hostname,
    port: target.port,
    path: options.rawPath ?? `${target.pathname}${target.search}`,
    method: options.method ?? (bytes === undefined ? "GET" : "POST"),
    headers,
    agent: options.agent ?? false,
  };
  const { ca, cert, key, servername } = options;
  return new Promise((resolve, reject) => {
    const outgoing =
      target.protocol === "https:"
        ? secureRequest({ ...common, agent: false, ca, cert, key, servername })
        : request(common);
    const timeoutMs = options.timeoutMs ?? 10_000;
    const timer = setTimeout(() => {
      outgoing.destroy(new Error(`no complete answer from ${url} within ${timeoutMs} ms`));
    }, timeoutMs);
    const stopTimer = (): void => clearTimeout(timer);
    // Also after the answer has begun: then the body's iteration throws it.
    outgoing.on("error", (error) => {
      stopTimer();
      reject(error);
    });
    outgoing.once("response", (answer) => {
      resolve({
        answer,
        stopTimer,
        close: () => {
          stopTimer();
          if (!answer.complete) outgoing.destroy();
        },
      });
    });
    outgoing.end(bytes);
  });
}

/** Keeps connections open between requests; `destroy()` it at the end. */
export function keepAliveAgent(maxSockets = 64): Agent {
  return new Agent({ keepAlive: true, maxSockets });
}

/** Sends bytes that no HTTP client would, and returns all that comes back until the server closes or the time is up. */
export async function rawHttp(port: number, text: string, timeoutMs = 2_000): Promise<string> {
  const socket = createConnection(port, "127.0.0.1");
  let received = "";
  socket.setEncoding("latin1").on("data", (chunk: string) => {
    received += chunk;
  });
  const timer = setTimeout(() => socket.destroy(), timeoutMs);
  socket.write(text, "latin1");
  // A reset is an answer too: what came before it is returned.
  await once(socket, "close").catch(() => undefined);
  clearTimeout(timer);
  return received;
}
