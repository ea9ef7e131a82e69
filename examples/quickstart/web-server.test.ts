import { once } from "node:events";
import { request } from "node:http";
import { expect, test } from "vitest";
import { WebSocket } from "ws";
import { closeAtEnd, http, openHttp, waitFor } from "../../test/support/index.ts";
import { startWebServer } from "./web-server.ts";

test("says who answered and what arrived", async () => {
  const server = closeAtEnd(await startWebServer({ name: "web-1" }));
  const answer = await http(`http://127.0.0.1:${server.port}/a/b?c=d`, { body: "12345", headers: { "x-test": "1" } });
  expect(answer.headers["x-served-by"]).toBe("web-1");
  expect(answer.json()).toMatchObject({
    served_by: "web-1",
    method: "POST",
    path: "/a/b?c=d",
    headers: { "x-test": "1" },
    bodyBytes: 5,
  });
});

test("echoes WebSocket messages and counts the upgrade", async () => {
  const server = closeAtEnd(await startWebServer({ name: "web-1" }));
  const socket = new WebSocket(`ws://127.0.0.1:${server.port}/ws`);
  await once(socket, "open");
  socket.send("hello");
  const [data] = await once(socket, "message");
  expect(String(data)).toBe("hello");
  expect(server.stats().byPath).toEqual({ "/ws": 1 });
  expect(server.sockets()).toBe(1);
  socket.close();
  await waitFor(() => server.sockets() === 0, 5_000, "the end of the socket");
});

test("tells of the first byte before an upload ends", async () => {
  const server = closeAtEnd(await startWebServer({ name: "web-1" }));
  const upload = request({ port: server.port, host: "127.0.0.1", path: "/upload", method: "POST", agent: false });
  upload.write("first");
  await waitFor(() => server.uploads()[0]?.firstByteAt, 5_000, "the first byte");
  expect(server.uploads()[0]?.endedAt).toBeUndefined();
  const answered = once(upload, "response");
  upload.end("second");
  await answered;
  expect(server.uploads()[0]).toMatchObject({ bytes: 11, endedAt: expect.any(Number) });
});

test("streams numbered events", async () => {
  const server = closeAtEnd(await startWebServer({ name: "web-1" }));
  const answer = await openHttp(`http://127.0.0.1:${server.port}/events?count=3`);
  const events = await Array.fromAsync(answer.events());
  expect(events.map((event) => JSON.parse(event).number)).toEqual([0, 1, 2]);
});
