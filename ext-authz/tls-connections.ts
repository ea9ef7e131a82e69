import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import { bindingOf, type ServerCertificate, type ServerCertificates } from "../envoy/index.ts";

export interface TlsConnectionsOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly certificates: ServerCertificates;
  /** Takes a connection of an Envoy whose certificate is for this node group. */
  readonly onConnection: (socket: TLSSocket, nodeGroup: string) => void;
  /** Called with what is wrong about a certificate that its CA signed. */
  readonly onRefused: (why: string) => void;
}

export interface TlsConnections {
  readonly port: number;
  /** Takes no more connections; those that were taken stay. */
  close(): void;
}

/** A client that connects and does not finish its handshake is let go after this (milliseconds). */
const HANDSHAKE_MS = 5_000;

/**
 * Listens for mutual TLS and looks at each client certificate once, when it connects: which node group it is for. (grpc-js
 * would make the whole certificate anew for every call.) Renewed certificates reach new connections.
 *
 * @throws the error of the socket when the address is taken
 */
export async function listenTls(options: TlsConnectionsOptions): Promise<TlsConnections> {
  const { certificates } = options;
  const server = createServer({
    ...contextOf(certificates.current()),
    requestCert: true,
    rejectUnauthorized: true,
    ALPNProtocols: ["h2"],
    handshakeTimeout: HANDSHAKE_MS,
  });
  server.on("secureConnection", (socket) => {
    const binding = bindingOf(socket.getPeerCertificate().subjectaltname ?? "");
    if (typeof binding === "string" || socket.alpnProtocol !== "h2") {
      options.onRefused(refusalOf(binding));
      socket.destroy();
      return;
    }
    options.onConnection(socket, binding.group);
  });
  // Handshakes that fail are the client's affair; without a listener the default would be the same.
  server.on("tlsClientError", (_, socket) => socket.destroy());
  const stop = certificates.onChange((next) => server.setSecureContext(contextOf(next)));
  server.listen(options.port, options.host);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    port,
    close: () => {
      stop();
      server.close();
    },
  };
}

function contextOf({ certificate, privateKey, clientCa }: ServerCertificate) {
  return { cert: certificate, key: privateKey, ca: clientCa, minVersion: "TLSv1.2" } as const;
}

function refusalOf(binding: ReturnType<typeof bindingOf>): string {
  if (binding === "ambiguous") return "the client certificate has more than one SPIFFE id";
  if (binding === "none") return "the client certificate names no gateway in a SPIFFE id";
  return "the client does not speak HTTP/2";
}
