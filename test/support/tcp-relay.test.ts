import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { expect, test } from "vitest";
import { closeAtEnd } from "./close-at-end.ts";
import { startTcpRelay } from "./tcp-relay.ts";
import { waitFor } from "./wait-for.ts";

/** A server that sends back what it gets, and a relay before it. */
async function start() {
  const server = createServer((socket) => socket.on("error", () => undefined).pipe(socket));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closeAtEnd(server);
  return closeAtEnd(await startTcpRelay((server.address() as AddressInfo).port));
}

async function open(port: number): Promise<{ socket: Socket; received: () => string; isClosed: () => boolean }> {
  let received = "";
  let closed = false;
  const socket = connect(port, "127.0.0.1");
  socket.on("data", (bytes) => {
    received += bytes.toString();
  });
  socket
    .on("error", () => undefined)
    .on("close", () => {
      closed = true;
    });
  closeAtEnd({ close: () => socket.destroy() });
  await once(socket, "connect");
  return { socket, received: () => received, isClosed: () => closed };
}

test("passes everything on, in order, after its delay", async () => {
  const relay = await start();
  relay.delay(30);
  const { socket, received } = await open(relay.port);
  const begun = performance.now();
  for (const letter of "abcdef") socket.write(letter);
  await waitFor(() => received() === "abcdef", 5_000, "all letters");
  expect(performance.now() - begun).toBeGreaterThanOrEqual(60);
});

test("holds back one way, and lets go when it heals", async () => {
  const relay = await start();
  const { socket, received } = await open(relay.port);
  relay.stall("down");
  socket.write("held");
  const other = await open(relay.port);
  relay.heal();
  other.socket.write("free");
  await waitFor(() => other.received() === "free" && received() === "held", 5_000, "both");
});

test("loses bytes of connections that look alive, and resets them when it heals", async () => {
  const relay = await start();
  const { socket, received, isClosed } = await open(relay.port);
  relay.lose();
  socket.write("lost");
  expect(isClosed()).toBe(false);
  relay.heal();
  await waitFor(isClosed, 5_000, "a reset");
  expect(received()).toBe("");
});

test("refuses everybody while it is cut", async () => {
  const relay = await start();
  const { isClosed } = await open(relay.port);
  relay.cut();
  await waitFor(isClosed, 5_000, "a reset");
  const refused = connect(relay.port, "127.0.0.1");
  refused.on("error", () => undefined);
  await new Promise((resolve) => refused.once("close", resolve));
  relay.heal();
  const { socket, received } = await open(relay.port);
  socket.write("again");
  await waitFor(() => received() === "again", 5_000, "the echo");
});

test("listens no more while it is dead", async () => {
  const relay = await start();
  const { isClosed } = await open(relay.port);
  relay.die();
  await waitFor(isClosed, 5_000, "a reset");
  const refused = connect(relay.port, "127.0.0.1");
  const [error] = await once(refused, "error");
  expect(error).toMatchObject({ code: "ECONNREFUSED" });
  relay.heal();
  const { socket, received } = await waitFor(() => open(relay.port), 5_000, "a connection");
  socket.write("again");
  await waitFor(() => received() === "again", 5_000, "the echo");
});

test("forgets the connections that there are, and passes new ones on", async () => {
  const relay = await start();
  const old = await open(relay.port);
  old.socket.write("before");
  await waitFor(() => old.received() === "before", 5_000, "the echo");
  relay.forget();
  old.socket.write("lost");
  const { socket, received } = await open(relay.port);
  socket.write("new");
  await waitFor(() => received() === "new", 5_000, "the echo of the new one");
  relay.heal();
  socket.write("er");
  await waitFor(() => received() === "newer", 5_000, "the rest");
  expect([old.received(), old.isClosed()]).toEqual(["before", false]);
});
