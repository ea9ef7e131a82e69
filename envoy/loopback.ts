import { isIP } from "node:net";

/**
 * Whether only processes of this machine reach a host.
 *
 * @param host  IP address, in brackets or not, or name
 */
export function isLoopback(host: string): boolean {
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  if (isIP(bare) === 4) return bare.startsWith("127.");
  return bare === "::1" || bare === "localhost";
}

/** The host of "host", "host:port" or "[ipv6]:port", without brackets. */
export function hostOf(authority: string): string {
  return authority.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
}
