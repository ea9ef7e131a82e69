import { expect, test } from "vitest";
import { closeAtEnd } from "./close-at-end.ts";
import { createGrpcEchoClient, startGrpcEcho } from "./grpc-echo.ts";
import { waitFor } from "./wait-for.ts";

test("echoes messages while the call is open", async () => {
  const server = closeAtEnd(await startGrpcEcho());
  const client = closeAtEnd(createGrpcEchoClient(`127.0.0.1:${server.port}`));
  const chat = client.chat({ "x-test": "1" });
  const answers = chat.answers[Symbol.asyncIterator]();

  chat.send("first");
  expect(String((await answers.next()).value)).toBe("first");
  expect(server.stats()).toMatchObject({ calls: 1, messages: 1, open: 1 });
  expect(server.stats().lastMetadata["x-test"]).toEqual(["1"]);

  chat.send("second");
  expect(String((await answers.next()).value)).toBe("second");
  chat.end();
  expect((await answers.next()).done).toBe(true);
  await waitFor(() => server.stats().open === 0, 5_000, "the end of the call");
});

test("answers a unary call", async () => {
  const server = closeAtEnd(await startGrpcEcho());
  const client = closeAtEnd(createGrpcEchoClient(`127.0.0.1:${server.port}`));
  expect(await client.unary("hello")).toBe("hello");
});
