import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";

/**
 * A TCP port that was free a moment ago, on 127.0.0.1. For processes that cannot be told to choose one themselves; a
 * server in the test's own process listens on 0 instead.
 */
export async function freePort(): Promise<number> {
  const [port] = await freePorts(1);
  if (port === undefined) throw new Error("no port is free");
  return port;
}

/** Several different ones. */
export async function freePorts(count: number): Promise<number[]> {
  // All are held at the same time, so that no two are the same.
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, "127.0.0.1");
      await once(server, "listening");
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
