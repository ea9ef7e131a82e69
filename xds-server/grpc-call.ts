import { constants, type Http2Session, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { TLSSocket } from "node:tls";
import { gunzipSync, inflateSync } from "node:zlib";
import { ChanceryError } from "../resources/index.ts";

/** The codes that are used here, of those that gRPC knows (statuscodes.md). */
export const GRPC_STATUS = {
  ok: 0,
  invalidArgument: 3,
  deadlineExceeded: 4,
  permissionDenied: 7,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
} as const;

/** How a call ended. */
export interface GrpcStatus {
  readonly code: number;
  readonly details: string;
}

/** What is done with what a client sends. */
export interface CallHandlers {
  /** A message. Its bytes are a part of what was read from the socket: what is to stay of them has to be copied. */
  message(bytes: Buffer): void;
  /** The client sends nothing more, and may still be told something. */
  ended(): void;
}

const HEADERS = {
  [constants.HTTP2_HEADER_STATUS]: 200,
  [constants.HTTP2_HEADER_CONTENT_TYPE]: "application/grpc+proto",
  "grpc-accept-encoding": "identity,deflate,gzip",
};
/** Before each message: whether it is compressed, and its length (PROTOCOL-HTTP2.md, "Length-Prefixed-Message"). */
const PREFIX = 5;
/** Up to here, bytes, one copy of the parts of a message costs less than handing them over one by one. */
const SMALL = 16 * 1024;
const TIMEOUT = /^(\d{1,8})([HMSmun])$/;
const TIMEOUT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1_000, m: 1, u: 1e-3, n: 1e-6 };
/** Longest time of a timer, ms. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/**
 * One call of a client, messages as bytes, over a stream of Node's HTTP/2. A message is read where it lies in what came
 * from the socket, and a body that many calls are sent is not copied for each. Owns its stream.
 */
export class GrpcCall {
  readonly #stream: ServerHttp2Stream;
  readonly #encoding: string;
  readonly #maxMessageBytes: number;
  readonly #whenOver: ((error?: Error) => void)[] = [];
  readonly #cancelTimeout: () => void = () => {};
  #handlers: CallHandlers | undefined;
  /** What was read and not taken yet: a part of a message, or more while the call is paused. */
  #unread: Buffer[] = [];
  #unreadBytes = 0;
  /** Bytes from which on there is a message to take. */
  #needed = PREFIX;
  #paused = false;
  /** The client sends nothing more. */
  #ended = false;
  #status: GrpcStatus | undefined;
  #over = false;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, maxMessageBytes: number) {
    this.#stream = stream;
    this.#maxMessageBytes = maxMessageBytes;
    this.#encoding = String(headers["grpc-encoding"] ?? "identity");
    stream.on("aborted", () => this.#finish());
    stream.on("close", () => this.#finish());
    stream.on("error", (error: Error) => this.#finish(error));
    const timeout = headers["grpc-timeout"];
    if (timeout !== undefined) this.#cancelTimeout = this.#endAfter(String(timeout));
  }

  /** The names in the client's certificate, as X.509 has them ("" for none); undefined: no TLS. */
  peerAltNames(): string | undefined {
    return altNamesOf(this.#stream.session);
  }

  /** Begins to read. Nothing is read before. */
  start(handlers: CallHandlers): void {
    if (this.#over) return;
    this.#handlers = handlers;
    this.#stream.on("end", () => {
      this.#ended = true;
      if (!this.#paused && !this.#over) handlers.ended();
    });
    this.#stream.on("data", (chunk: Buffer) => {
      if (this.#over) return;
      this.#unread.push(chunk);
      this.#unreadBytes += chunk.length;
      if (this.#unreadBytes >= this.#needed) this.#take();
    });
  }

  /** Calls back once, when nothing more comes or can be sent, for whatever reason. */
  onOver(callback: (error?: Error) => void): void {
    if (this.#over) callback();
    else this.#whenOver.push(callback);
  }

  /**
   * Sends a message.
   *
   * @param parts  of it, one after the other; they must not change any more
   * @param taken  called when the transport has taken all of it, flow control included; not at all where it never does
   */
  write(parts: readonly Uint8Array[], taken: () => void): void {
    if (this.#over || isGone(this.#stream)) return;
    this.#sendHeaders();
    let length = 0;
    for (const part of parts) length += part.length;
    const callback = (error?: Error | null) => {
      if (!error && !this.#over) taken();
    };
    const message = Buffer.allocUnsafe(length <= SMALL ? PREFIX + length : PREFIX);
    message[0] = 0;
    message.writeUInt32BE(length, 1);
    if (length <= SMALL) {
      let at = PREFIX;
      for (const part of parts) {
        message.set(part, at);
        at += part.length;
      }
      this.#stream.write(message, callback);
      return;
    }
    this.#stream.cork();
    this.#stream.write(message);
    const last = parts.length - 1;
    parts.forEach((part, index) => {
      if (index === last) this.#stream.write(part, callback);
      else this.#stream.write(part);
    });
    this.#stream.uncork();
  }

  /** Takes no more messages until `resume`. Those that the client goes on to send are held up by flow control. */
  pause(): void {
    this.#paused = true;
    this.#stream.pause();
  }

  resume(): void {
    if (!this.#paused || this.#over) return;
    this.#paused = false;
    if (this.#unreadBytes >= this.#needed) this.#take();
    if (this.#paused || this.#over) return;
    this.#stream.resume();
    // It may have come while messages waited here.
    if (this.#ended) this.#handlers?.ended();
  }

  /** Ends the call. Safe to call twice: the first status stands. */
  end(status: GrpcStatus = { code: GRPC_STATUS.ok, details: "" }): void {
    if (this.#over) return;
    this.#status = status;
    const stream = this.#stream;
    if (!isGone(stream)) {
      if (stream.headersSent) stream.end();
      else stream.respond({ ...HEADERS, ...trailersOf(status) }, { endStream: true });
      // What still comes is for nobody.
      stream.resume();
    }
    this.#finish();
  }

  #finish(error?: Error): void {
    if (this.#over) return;
    this.#over = true;
    this.#unread = [];
    this.#cancelTimeout();
    for (const callback of this.#whenOver) callback(error);
  }

  #sendHeaders(): void {
    if (this.#stream.headersSent) return;
    this.#stream.respond(HEADERS, { waitForTrailers: true });
    this.#stream.once("wantTrailers", () => {
      if (isGone(this.#stream)) return;
      this.#stream.sendTrailers(trailersOf(this.#status ?? { code: GRPC_STATUS.internal, details: "" }));
    });
  }

  /** Hands over the messages that are there, and keeps what is left. */
  #take(): void {
    const [first] = this.#unread;
    const bytes = this.#unread.length === 1 && first !== undefined ? first : Buffer.concat(this.#unread);
    this.#unread = [];
    this.#unreadBytes = 0;
    let at = 0;
    this.#needed = PREFIX;
    while (bytes.length - at >= PREFIX) {
      const length = bytes.readUInt32BE(at + 1);
      if (length > this.#maxMessageBytes) {
        const details = `a message has ${length} bytes, and may have ${this.#maxMessageBytes} at most`;
        this.end({ code: GRPC_STATUS.resourceExhausted, details });
        return;
      }
      const from = at + PREFIX;
      if (bytes.length < from + length) {
        this.#needed = PREFIX + length;
        break;
      }
      // One is there, and has to wait.
      if (this.#paused) break;
      at = from + length;
      this.#receive(bytes.subarray(from, at), bytes[from - PREFIX] !== 0);
      if (this.#over) return;
    }
    if (at === bytes.length) return;
    this.#unread = [bytes.subarray(at)];
    this.#unreadBytes = bytes.length - at;
  }

  #receive(bytes: Buffer, compressed: boolean): void {
    const message = compressed ? this.#decompressed(bytes) : bytes;
    if (Buffer.isBuffer(message)) this.#handlers?.message(message);
    else this.end(message);
  }

  #decompressed(bytes: Buffer): Buffer | GrpcStatus {
    const limit = { maxOutputLength: this.#maxMessageBytes };
    try {
      if (this.#encoding === "gzip") return gunzipSync(bytes, limit);
      if (this.#encoding === "deflate") return inflateSync(bytes, limit);
    } catch (error) {
      return {
        code: error instanceof RangeError ? GRPC_STATUS.resourceExhausted : GRPC_STATUS.invalidArgument,
        details: `a message cannot be decompressed: ${ChanceryError.from(error).message}`,
      };
    }
    return {
      code: GRPC_STATUS.unimplemented,
      details: `messages are compressed by "${this.#encoding}", which is not one of identity, deflate, gzip`,
    };
  }

  #endAfter(timeout: string): () => void {
    const [, number = "", unit = ""] = TIMEOUT.exec(timeout) ?? [];
    const perUnit = TIMEOUT_MS[unit];
    const end = (): void =>
      perUnit === undefined
        ? this.end({ code: GRPC_STATUS.invalidArgument, details: "grpc-timeout is not a number with its unit" })
        : this.end({ code: GRPC_STATUS.deadlineExceeded, details: "the deadline of the call has passed" });
    const timer = setTimeout(end, Math.min(MAX_TIMER_MS, Number(number) * (perUnit ?? 0)));
    return () => clearTimeout(timer);
  }
}

/** What a call is told that is not looked at any further. */
export function refuseCall(stream: ServerHttp2Stream, status: GrpcStatus): void {
  if (isGone(stream)) return;
  stream.respond({ ...HEADERS, ...trailersOf(status) }, { endStream: true });
}

/** Whether nothing can be sent any more. That is told by an event a turn later, and a send meanwhile would throw. */
export function isGone({ closed, destroyed }: ServerHttp2Stream): boolean {
  return closed || destroyed;
}

function trailersOf({ code, details }: GrpcStatus) {
  // Percent-encoded (PROTOCOL-HTTP2.md, "Status-Message"); what is no text as it is in headers.
  return { "grpc-status": String(code), "grpc-message": encodeURI(details.toWellFormed()) };
}

const altNames = new WeakMap<Http2Session, string>();

/** Looked at once for all calls of a connection: Node makes the whole certificate anew each time. */
function altNamesOf(session: Http2Session | undefined): string | undefined {
  if (session === undefined) return "";
  const known = altNames.get(session);
  if (known !== undefined) return known;
  const { socket } = session;
  if (!(socket instanceof TLSSocket)) return undefined;
  const names = socket.getPeerCertificate().subjectaltname ?? "";
  altNames.set(session, names);
  return names;
}
