import { once } from "node:events";
import { createServer } from "node:net";
import { isLoopback } from "../envoy/index.ts";
import { ChanceryError } from "../resources/index.ts";

/** Where a server listens or is found. */
export interface Address {
  /** IP address or name, without brackets. */
  readonly host: string;
  readonly port: number;
}

/** What is listened on while nobody says otherwise. */
export const DEFAULT_ADDRESSES = {
  xds: "127.0.0.1:18000",
  authz: ["127.0.0.1:9191", "127.0.0.1:9192"],
  control: "127.0.0.1:7070",
  envoyAdmin: "127.0.0.1:9901",
} as const;

/**
 * "127.0.0.1:9191", "[::1]:9191", "authz.internal:9191" or "9191" (on 127.0.0.1).
 *
 * @throws ChanceryError "invalid-argument"
 */
export function parseAddress(text: string): Address {
  const match = /^(?:(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port > 65_535) {
    throw new ChanceryError("invalid-argument", `"${text}" is not an address: write HOST:PORT or PORT`);
  }
  return { host: (match[1] ?? "127.0.0.1").replace(/^\[(.*)\]$/, "$1"), port };
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether only this machine reaches it. */
export function isLocal(address: Address): boolean {
  return isLoopback(address.host);
}

/**
 * Looks whether an address can be listened on.
 *
 * @param address  HOST:PORT; a Unix socket is left to who listens on it
 * @param option  that chooses another one
 * @throws ChanceryError "unavailable"
 */
export async function demandFree(address: string, option: string): Promise<void> {
  if (address.startsWith("unix:")) return;
  const server = createServer();
  try {
    server.listen(parseAddress(address));
    await once(server, "listening");
  } catch (cause) {
    const taken = cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE";
    const why = taken ? "is in use by another process" : `cannot be listened on: ${String(cause)}`;
    throw new ChanceryError("unavailable", `${address} ${why}; choose another by ${option}`, { cause });
  } finally {
    await new Promise((resolve) => server.close(resolve));
  }
}
