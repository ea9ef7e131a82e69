import { once } from "node:events";
import { type AddressInfo, connect, type Socket } from "node:net";
import { createServer } from "node:tls";
import type { KeyedCertificate } from "./certificates.ts";

/** TLS in front of a server of this machine that has none. */
export interface TlsFront {
  readonly port: number;
  /** Handshakes that were completed. */
  handshakes(): number;
  /** Server names that clients asked for, newest last; "" where none. */
  serverNames(): readonly string[];
  /** For new handshakes. */
  setCertificate(certificate: KeyedCertificate): void;
  /** Ends all connections. */
  disconnect(): void;
  close(): Promise<void>;
}

/** @param behind  port on 127.0.0.1 that gets what was decrypted */
export async function startTlsFront(behind: number, certificate: KeyedCertificate): Promise<TlsFront> {
  const material = ({ certificate: cert, privateKey: key }: KeyedCertificate) => ({ cert, key });
  const sockets = new Set<Socket>();
  const serverNames: string[] = [];
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  };
  const server = createServer(material(certificate), (client) => {
    const plain = connect(behind, "127.0.0.1");
    serverNames.push(typeof client.servername === "string" ? client.servername : "");
    keep(client);
    keep(plain);
    // Whichever end breaks, the other one ends with it.
    client.on("error", () => plain.destroy()).on("close", () => plain.destroy());
    plain.on("error", () => client.destroy()).on("close", () => client.destroy());
    client.pipe(plain).pipe(client);
  });
  // A handshake that fails is the client's affair, and counted nowhere.
  server.on("tlsClientError", () => undefined);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const disconnect = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    port: (server.address() as AddressInfo).port,
    handshakes: () => serverNames.length,
    serverNames: () => [...serverNames],
    setCertificate: (next) => server.setSecureContext(material(next)),
    disconnect,
    close: async () => {
      const closed = once(server, "close");
      server.close();
      disconnect();
      await closed;
    },
  };
}
