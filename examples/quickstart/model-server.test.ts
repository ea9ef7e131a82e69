import OpenAI from "openai";
import { expect, test } from "vitest";
import { closeAtEnd, http, openHttp, runProcess, spawnProcess, waitFor } from "../../test/support/index.ts";
import { startModelServer } from "./model-server.ts";

const ask = (content: string, rest: object = {}) => ({
  model: "m-1",
  messages: [{ role: "user", content }],
  ...rest,
});

async function start(options: Partial<Parameters<typeof startModelServer>[0]> = {}) {
  const server = closeAtEnd(await startModelServer({ name: "eu", region: "EU", ...options }));
  return { server, chat: `http://127.0.0.1:${server.port}/v1/chat/completions` };
}

test("says who answered, in the body and in a header", async () => {
  const { chat } = await start();
  const answer = await http(chat, { body: ask("hi") });
  expect(answer.status).toBe(200);
  expect(answer.headers["x-served-by"]).toBe("eu");
  expect(answer.json()).toMatchObject({
    object: "chat.completion",
    model: "m-1",
    served_by: { name: "eu", region: "EU", model: "m-1" },
    choices: [{ message: { role: "assistant", content: "eu answers as m-1." } }],
  });
});

test("speaks to the openai SDK, whole and streamed", async () => {
  const { server } = await start({ apiKey: "k", models: ["m-1"] });
  const client = new OpenAI({ apiKey: "k", baseURL: `http://127.0.0.1:${server.port}/v1`, maxRetries: 0 });
  const whole = await client.chat.completions.create({ model: "m-1", messages: [{ role: "user", content: "hi" }] });
  expect(whole.choices[0]?.message.content).toBe("eu answers as m-1.");

  const stream = await client.chat.completions.create({
    model: "m-1",
    messages: [{ role: "user", content: "hi" }],
    stream: true,
  });
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
  expect(text).toBe("eu answers as m-1.");

  const prompt = await client.completions.create({ model: "m-1", prompt: "hi" });
  expect(prompt.choices[0]?.text).toBe("eu answers as m-1.");
  expect((await client.models.list()).data.map((model) => model.id)).toEqual(["m-1"]);
});

test("streams chunk after chunk to [DONE]", async () => {
  const { chat } = await start();
  const answer = await openHttp(chat, { body: ask("[[chunks=3]]", { stream: true }) });
  const events = await Array.fromAsync(answer.events());
  expect(events).toHaveLength(5);
  expect(events.at(-1)).toBe("[DONE]");
  expect(JSON.parse(events[0] ?? "")).toMatchObject({ object: "chat.completion.chunk", served_by: { name: "eu" } });
});

test("fails as told: for all, for some, for the servers named", async () => {
  const { server, chat } = await start();
  const control = `http://127.0.0.1:${server.port}/__behaviour`;
  await http(control, { body: { status: 503, times: 1 } });
  expect((await http(chat, { body: ask("hi") })).status).toBe(503);
  expect((await http(chat, { body: ask("hi") })).status).toBe(200);

  expect((await http(chat, { body: ask("[[status=429]]") })).status).toBe(429);
  expect((await http(chat, { body: ask("[[us,eu: status=500]]") })).status).toBe(500);
  expect((await http(chat, { body: ask("[[us: status=500]]") })).status).toBe(200);
  expect((await http(chat, { body: ask("hi"), headers: { "x-stand-in": "status=502" } })).status).toBe(502);
  await expect(http(chat, { body: ask("[[reset]]") })).rejects.toThrow(/ECONNRESET|hang up/);
  expect((await http(control, { body: { statsu: 1 } })).status).toBe(400);
});

test("cuts a stream in its middle when told", async () => {
  const { chat } = await start();
  const answer = await openHttp(chat, { body: ask("[[chunks=4 cutAfterChunks=2]]", { stream: true }) });
  await expect(Array.fromAsync(answer.events())).rejects.toThrow();
});

test("counts what it received, and wrong credentials apart", async () => {
  const { server, chat } = await start({ apiKey: "right" });
  expect((await http(chat, { body: ask("a"), headers: { authorization: "Bearer right" } })).status).toBe(200);
  expect((await http(chat, { body: ask("b"), headers: { authorization: "Bearer wrong", "x-test": "2" } })).status).toBe(
    401,
  );
  const stats = server.stats();
  expect(stats).toMatchObject({
    requests: 2,
    wrongCredentials: 1,
    byModel: { "m-1": 1 },
    byPath: { "/v1/chat/completions": 2 },
    byStatus: { 200: 1, 401: 1 },
  });
  expect(stats.last[1]?.headers["x-test"]).toBe("2");
  expect((await http(`http://127.0.0.1:${server.port}/__stats`)).json()).toEqual(stats);
  server.resetStats();
  expect(server.stats().requests).toBe(0);
});

test("notices a client that leaves while it waits", async () => {
  const { server, chat } = await start();
  await expect(http(chat, { body: ask("[[delayMs=60000]]"), timeoutMs: 50 })).rejects.toThrow("within 50 ms");
  await waitFor(() => server.stats().aborted === 1, 5_000, "the abort");
});

test("refuses what is not its API", async () => {
  const { chat } = await start({ models: ["m-2"] });
  expect((await http(chat, { body: "not JSON" })).status).toBe(400);
  expect((await http(chat, { body: ask("hi") })).status).toBe(404);
  expect((await http(chat.replace("chat/completions", "nothing"))).status).toBe(404);
});

test("runs as a process and ends on a signal", async () => {
  const file = new URL("./model-server.ts", import.meta.url).pathname;
  const child = closeAtEnd(await spawnProcess(process.execPath, [file, "--name", "eu", "--port", "0"]));
  const [, port] = await child.waitForOutput(/eu listening on (\d+)/, 20_000);
  expect((await http(`http://127.0.0.1:${port}/healthz`)).status).toBe(200);
  child.signal("SIGTERM");
  expect(await child.waitForEnd(10_000)).toEqual({ code: 0, signal: null });

  expect((await runProcess(process.execPath, [file, "--help"])).code).toBe(0);
  expect((await runProcess(process.execPath, [file, "--no-such-option"])).code).toBe(2);
});
