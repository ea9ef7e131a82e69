import { createConnection } from "node:net";

/** An answer, as its bytes say. */
export interface RawAnswer {
  /** 0: nothing that looks like an answer came back. */
  readonly status: number;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string>>;
  /** What follows the headers; chunk sizes are still in it. */
  readonly rest: string;
}

const LIMIT_MS = 10_000;

/**
 * Sends one HTTP/1.1 request as it is written, one char per byte, where a client would refuse or normalise it, and reads
 * the answer: to its end, or to the end of the connection.
 *
 * @param lines  request line and headers; `host` and `connection: close` are added unless a line names them
 */
export async function rawRequest(port: number, lines: readonly string[], body = ""): Promise<RawAnswer> {
  const names = lines.slice(1).map((line) => line.split(":", 1)[0]?.toLowerCase());
  const more = [
    ...(names.includes("host") ? [] : [`host: 127.0.0.1:${port}`]),
    ...(names.includes("connection") ? [] : ["connection: close"]),
  ];
  const text = `${[...lines, ...more].join("\r\n")}\r\n\r\n${body}`;
  const received = await new Promise<string>((resolve, reject) => {
    let soFar = "";
    const socket = createConnection(port, "127.0.0.1");
    const done = (): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(soFar);
    };
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no end of the answer to "${lines[0]}" within ${LIMIT_MS} ms; so far: ${soFar}`));
    }, LIMIT_MS);
    socket.setEncoding("latin1").on("data", (chunk: string) => {
      soFar += chunk;
      if (isComplete(soFar)) done();
    });
    // A reset is an end too: what came before it is returned.
    socket.on("error", done).on("close", done);
    socket.write(text, "latin1");
  });
  return parse(received);
}

function parse(text: string): RawAnswer {
  const end = text.indexOf("\r\n\r\n");
  const [statusLine = "", ...headerLines] = (end === -1 ? text : text.slice(0, end)).split("\r\n");
  const headers = headerLines.map((line): [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  return {
    status: Number(/^HTTP\/1\.[01] (\d{3})/.exec(statusLine)?.[1] ?? 0),
    headers: Object.fromEntries(headers),
    rest: end === -1 ? "" : text.slice(end + 4),
  };
}

/** A server may keep the connection open for a while after an answer that ends it. */
function isComplete(text: string): boolean {
  if (!text.includes("\r\n\r\n")) return false;
  const { headers, rest } = parse(text);
  const length = headers["content-length"];
  if (length !== undefined) return rest.length >= Number(length);
  return headers["transfer-encoding"] === "chunked" && rest.endsWith("0\r\n\r\n");
}
