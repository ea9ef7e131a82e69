import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { getCACertificates } from "node:tls";
import { createConnectTransport } from "@connectrpc/connect-node";
import { isLoopback } from "../envoy/index.ts";
import { ChanceryError } from "../resources/index.ts";

export interface AdminClientOptions {
  /** "127.0.0.1:7070" or a URL; off loopback of the scheme "https". */
  readonly control: string;
  readonly token?: string;
  /** Who must have signed the certificate of an https address, PEM; the authorities of the system unless given. */
  readonly ca?: Buffer;
  /** Milliseconds; 5,000 by default. */
  readonly timeoutMs?: number;
}

export const CLIENT_TIMEOUT_MS = 5_000;
const PAGE_LIMIT = 16 * 1024 * 1024;

export function transportTo(options: AdminClientOptions) {
  return createConnectTransport({ baseUrl: adminUrl(options), httpVersion: "1.1", nodeOptions: verification(options) });
}

/**
 * Where the API is.
 *
 * @throws ChanceryError "invalid-argument" for what is no address, would show a password in errors and process lists,
 *   would send the token over the network in clear, or has a CA and no TLS
 */
export function adminUrl({ control, token, ca }: AdminClientOptions): string {
  const text = control.includes("://") ? control : `http://${control}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) {
    throw unusable(`"${control}" is no address: write HOST:PORT, http://HOST:PORT or https://HOST:PORT`);
  }
  if (url.username !== "" || url.password !== "") {
    throw unusable(`credentials for ${url.host} belong in a token file, not in the address`);
  }
  if (url.protocol === "http:") {
    const remedy = `write https://${url.host}`;
    if (ca !== undefined) throw unusable(`a CA is for https addresses, and ${control} is none: ${remedy}`);
    if (token !== undefined && !isLoopback(url.hostname)) {
      throw unusable(`the token would go to ${url.host} in clear: ${remedy}`);
    }
  }
  return text;
}

/**
 * Reads a page that is served beside the API. Redirects are not followed.
 *
 * @param path  with the query
 * @throws ChanceryError "unavailable" when there is no answer
 */
export async function getPage(options: AdminClientOptions, path: string): Promise<{ status: number; text: string }> {
  const url = new URL(path, adminUrl(options));
  const { token, timeoutMs = CLIENT_TIMEOUT_MS } = options;
  const settings = {
    ...verification(options),
    ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }),
    signal: AbortSignal.timeout(timeoutMs),
    // The process ends when it has its answer.
    agent: false,
  };
  try {
    return await new Promise((resolve, reject) => {
      const asking = url.protocol === "https:" ? requestHttps(url, settings) : requestHttp(url, settings);
      asking.on("error", reject).on("response", (answer) => {
        const chunks: Buffer[] = [];
        let size = 0;
        answer.on("error", reject).on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size > PAGE_LIMIT) answer.destroy(new Error(`more than ${PAGE_LIMIT} bytes`));
          else chunks.push(chunk);
        });
        answer.on("end", () => resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
      });
      asking.end();
    });
  } catch (cause) {
    const why = cause instanceof Error && cause.message !== "" ? `: ${cause.message}` : "";
    throw new ChanceryError("unavailable", `it cannot be reached${why}`, { cause });
  }
}

function verification(options: AdminClientOptions): { ca?: Buffer | string[] } {
  if (new URL(adminUrl(options)).protocol === "http:") return {};
  return { ca: options.ca ?? [...getCACertificates("system"), ...getCACertificates("extra")] };
}

function unusable(message: string): ChanceryError {
  return new ChanceryError("invalid-argument", message);
}
