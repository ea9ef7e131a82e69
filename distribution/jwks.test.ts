import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { JwtIdentity } from "../resources/index.ts";
import { createJwksReader, type JwksReader } from "./jwks.ts";

let directory: string;
let server: Server;
let answer: { status: number; body: string };
let url: string;
const readers: JwksReader[] = [];
const failures: string[] = [];

const keys = (kid: string) => JSON.stringify({ keys: [{ kty: "EC", kid, crv: "P-256", x: "x", y: "y" }] });

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "jwks-"));
  answer = { status: 200, body: keys("a") };
  server = createServer((_, response) => response.writeHead(answer.status).end(answer.body));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`;
  failures.length = 0;
});

afterEach(async () => {
  for (const reader of readers.splice(0)) reader.close();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(directory, { recursive: true });
});

function open(onChange: () => void = () => {}, intervalMs = 3_600_000): JwksReader {
  const reader = createJwksReader({
    root: directory,
    cacheDirectory: join(directory, "cache"),
    fetch: globalThis.fetch,
    fileIntervalMs: intervalMs,
    urlIntervalMs: intervalMs,
    onChange,
    onFailure: (source, error) => failures.push(`${source}: ${error.message}`),
  });
  readers.push(reader);
  return reader;
}

function identities(...sources: JwtIdentity["jwks"][]) {
  return sources.map((jwks) => ({ jwks }));
}

test("reads files and URLs", async () => {
  await writeFile(join(directory, "keys.json"), keys("f"));
  const documents = await open().read(identities({ file: "keys.json" }, { url }));
  expect(documents.get("file:keys.json")).toContain('"kid":"f"');
  expect(documents.get(url)).toContain('"kid":"a"');
});

test("keeps the last good document of a URL over failures and restarts", async () => {
  await open().read(identities({ url }));
  answer = { status: 500, body: "no" };
  const documents = await open().read(identities({ url }));
  expect(documents.get(url)).toContain('"kid":"a"');
  expect(failures).toEqual([`${url}: ${url} answered 500.`]);
});

test("leaves out an issuer whose keys were never had", async () => {
  answer = { status: 404, body: "" };
  expect((await open().read(identities({ url }))).size).toBe(0);
});

test("says when a document changes", async () => {
  const onChange = vi.fn();
  const reader = open(onChange, 20);
  await reader.read(identities({ url }));
  answer = { status: 200, body: keys("b") };
  await vi.waitFor(() => expect(onChange).toHaveBeenCalled());
  expect((await reader.read(identities({ url }))).get(url)).toContain('"kid":"b"');
});

test.each([
  ["not JSON", "{", /not JSON/],
  ["no keys", '{"keys":[]}', /no list/],
  ["a private key", '{"keys":[{"kty":"EC","d":"secret"}]}', /private or symmetric/],
  ["too much", `{"keys":[{"kty":"${"x".repeat(1_100_000)}"}]}`, /more than/],
])("refuses a document with %s", async (_, body, message) => {
  answer = { status: 200, body };
  expect((await open().read(identities({ url }))).size).toBe(0);
  expect(failures[0]).toMatch(message);
});

test("refuses a file outside the tree", async () => {
  expect((await open().read(identities({ file: "../keys.json" }))).size).toBe(0);
  expect(failures[0]).toMatch(/outside/);
});
