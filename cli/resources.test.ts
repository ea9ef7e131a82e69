import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { runChancery, temporaryDirectory } from "../test/support/index.ts";

const QUICKSTART = fileURLToPath(new URL("../examples/quickstart/resources", import.meta.url));

async function tree(files: Readonly<Record<string, string>>): Promise<string> {
  const directory = await temporaryDirectory("tree");
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), text);
  }
  return directory;
}

const BROKEN = {
  "team/upstream.yaml": `apiVersion: chancery.dev/v1
kind: Upstream
metadata: { name: web }
spec:
  endpoints:
    - { address: 127.0.0.1, port: 80, wieght: 3 }
`,
  "policy.yaml": `apiVersion: chancery.dev/v1
kind: Policy
metadata: { name: rules }
spec:
  rules:
    - id: one
      effect: deny
      when: request.method ==
      reason: none
`,
};

test("check passes a tree that is right", async () => {
  const run = await runChancery("check", QUICKSTART);
  expect(run.stdout).toMatch(/^\d+ objects, 0 errors, 0 warnings\n$/);
  expect(run.code).toBe(0);
});

test("check prints every problem of every stage with its place", async () => {
  const run = await runChancery("check", await tree(BROKEN));
  expect(run.stdout).toMatch(/^team\/upstream\.yaml:6:39: error: .*wieght/m);
  expect(run.stdout).toContain("hint: ");
  expect(run.stdout).toMatch(/^policy\.yaml:8:\d+: error: rule "rules\/one", when: /m);
  expect(run.stdout).toMatch(/2 errors, 0 warnings\n$/);
  expect(run.code).toBe(1);
});

test("check prints problems as JSON", async () => {
  const run = await runChancery("check", "--format", "json", await tree(BROKEN));
  const report = JSON.parse(run.stdout);
  expect(report).toMatchObject({ errors: 2, warnings: 0 });
  expect(report.problems[1]).toMatchObject({ code: "unknown-field", at: { file: "team/upstream.yaml", line: 6 } });
  expect(run.code).toBe(1);
});

test("check says that there is no such directory", async () => {
  const run = await runChancery("check", "/nonexistent/tree");
  expect(run.stderr).toContain("/nonexistent/tree");
  expect(run.code).toBe(3);
});

test("check names a key file that is not usable", async () => {
  const directory = await tree({
    "app.yaml": `apiVersion: chancery.dev/v1
kind: Application
metadata: { name: app }
spec:
  purpose: Tests
  riskTier: minimal
  jwt:
    - issuer: https://id.acme.example
      audiences: [gateway]
      jwks: { file: keys.json }
`,
    "keys.json": "{}",
  });
  const run = await runChancery("check", directory);
  expect(run.stdout).toMatch(/^keys\.json:1:1: error: .*keys/m);
  expect(run.code).toBe(1);
});

test("schema prints one kind, or all of them", async () => {
  const one = await runChancery("schema", "policy");
  expect(JSON.parse(one.stdout)).toMatchObject({ title: "Policy", type: "object" });
  const all = JSON.parse((await runChancery("schema")).stdout);
  expect(all.oneOf).toContainEqual({ $ref: "#/$defs/Gateway" });
  expect(all.$defs.Gateway.title).toBe("Gateway");

  const none = await runChancery("schema", "Nope");
  expect(none.stderr).toContain('there is no kind "Nope"');
  expect(none.code).toBe(2);
  const words = JSON.parse((await runChancery("schema", "vocabulary")).stdout);
  expect(words).toContainEqual(expect.objectContaining({ path: "source.principal", type: "string", required: false }));
});

const explain = (...args: readonly string[]) => runChancery("explain", "--resources", QUICKSTART, ...args);
const CHAT = ["--url", "http://localhost:10000/v1/chat/completions"];
const ORION = ["--body", '{"model":"orion","messages":[]}'];

test("explain tells who asks, what was rerouted, and the order of the targets", async () => {
  const run = await explain(...CHAT, ...ORION, "--api-key", "demo-key-eu-assistant");
  expect(run.code).toBe(0);
  expect(run.stdout).toContain('caller   application teams/eu/eu-assistant, apiKey "demo"');
  expect(run.stdout).toContain("to atlas by orion-in-the-eu/eu-uses-atlas");
  expect(run.stdout).toContain("1. model/atlas-v2-eu");
  expect(run.stdout).toContain("2. model/atlas-v1-eu");
  expect(run.stdout).not.toContain("demo-key-eu-assistant");
});

test("explain tells why a request is refused", async () => {
  const unapproved = await explain(...CHAT, ...ORION, "--api-key", "demo-key-unapproved-lab");
  expect(unapproved.code).toBe(1);
  expect(unapproved.stdout).toContain("deny (no_legal_target)");
  expect(unapproved.stdout).toContain("model/orion-v1-us by chancery:approval");

  const unknown = await explain(...CHAT, ...ORION, "--api-key", "nobody's");
  expect(unknown.code).toBe(1);
  expect(unknown.stdout).toContain("refused (invalid_api_key) before any rule was asked");

  const nowhere = await explain("--url", "http://localhost:10000/nowhere");
  expect(nowhere.code).toBe(1);
  expect(nowhere.stdout).toContain("Envoy answers 404");
});

test("explain speaks JSON", async () => {
  const run = await explain("--url", "http://localhost:10000/shop/cart", "--format", "json");
  const { route, record, verdict } = JSON.parse(run.stdout);
  expect(route).toBe("shop/0/0");
  expect(record).toMatchObject({ effect: "allow", application: "teams/web/web" });
  expect(verdict.considered).toContainEqual(
    expect.objectContaining({ rule: "access/everyone-may-shop", result: "true" }),
  );
});

test("explain refuses a port that nobody listens on", async () => {
  const run = await explain("--url", "http://localhost:1/");
  expect(run.stderr).toContain("no listener has the port 1; there are edge:10000");
  expect(run.code).toBe(2);
});
