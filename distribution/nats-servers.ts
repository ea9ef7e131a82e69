import { isLoopback } from "../envoy/index.ts";
import { ChanceryError } from "../resources/index.ts";

/**
 * Every address is of a form that is understood, holds no secret, and is off loopback only with TLS.
 *
 * @param tls  whether connections are made with TLS settings, which demand it of the server
 * @throws ChanceryError "invalid-argument"
 */
export function demandSafeServers(servers: readonly string[], tls: boolean): void {
  if (servers.length === 0) throw new ChanceryError("invalid-argument", "no NATS server is named");
  for (const server of servers) {
    const url = URL.canParse(server) ? new URL(server) : undefined;
    if (url === undefined || !["nats:", "tls:"].includes(url.protocol) || url.hostname === "") {
      throw new ChanceryError("invalid-argument", "a NATS server is named as nats://host:port or tls://host:port");
    }
    if (url.username !== "" || url.password !== "") {
      throw new ChanceryError("invalid-argument", `credentials for ${url.host} belong in a file, not in the address`);
    }
    if (url.protocol === "tls:" && !tls) {
      throw new ChanceryError(
        "invalid-argument",
        `${url.host} is to be reached with TLS: name the CA of its certificate`,
      );
    }
    if (!tls && !isLoopback(url.hostname)) {
      throw new ChanceryError(
        "invalid-argument",
        `${url.host} is not a loopback address: NATS is reached there with TLS alone, so name the CA of its certificate`,
      );
    }
  }
}
