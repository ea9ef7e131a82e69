import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { startWebServer, type WebServer } from "../../examples/quickstart/web-server.ts";
import { type RunningControlPlane, startControlPlane } from "../support/control-plane.ts";
import { freePort, http, waitFor } from "../support/index.ts";
import {
  ALLOW_ALL,
  anonymous,
  apiKey,
  application,
  gateway,
  plainRoute,
  policy,
  upstream,
  yaml,
} from "../support/resources.ts";

const WAIT_MS = 15_000;
const RED = apiKey("red");
const BLUE = apiKey("blue");

let plane: RunningControlPlane;
let here: WebServer;
let url: string;

function deny(...paths: readonly string[]): string {
  const rules = paths.map(
    (path) => `{ id: no-${path}, effect: deny, when: 'request.url_path == "/${path}"', reason: Closed }`,
  );
  return policy("rules", ALLOW_ALL, ...rules);
}

/** The status of `path` for an application. */
async function ask(key: { readonly key: string }, path: string): Promise<number> {
  return (await http(`${url}/${path}`, { headers: { authorization: `Bearer ${key.key}` } })).status;
}

const eventually = (what: string, condition: () => Promise<boolean>) =>
  waitFor(condition, WAIT_MS, () => `${what}\n${plane.process().stdout()}\n${plane.process().stderr().slice(-3_000)}`);

/** The newest revision that both decision services decide by: whichever Envoy asks next says the same. */
function enforced(): number {
  const numbers = plane.progress().map((line) => /^revision (\d+): enforced by authz-1, authz-2 /.exec(line)?.[1] ?? 0);
  return Math.max(0, ...numbers.map(Number));
}

let known = 0;

/** As `eventually`, for what an edit brings: in force where one service may decide by it before it is told of both. */
async function takesEffect(what: string, condition: () => Promise<boolean>): Promise<void> {
  await eventually(what, async () => (await condition()) && enforced() > known);
  known = enforced();
}

beforeAll(async () => {
  const port = await freePort();
  url = `http://127.0.0.1:${port}`;
  here = await startWebServer({ name: "here" });
  plane = await startControlPlane({
    resources: {
      "gateway.yaml": yaml(
        gateway(port),
        plainRoute("all", "/", { here: 1 }),
        upstream("here", here.port),
        anonymous(),
      ),
      "policies.yaml": deny("root"),
      "red/application.yaml": application("red", RED.sha256),
      "red/policies.yaml": deny("red"),
      "blue/application.yaml": application("blue", BLUE.sha256),
      "blue/policies.yaml": deny("blue"),
    },
  });
});

afterAll(async () => {
  await plane?.close();
  await here?.close();
});

beforeEach(async () => {
  expect(await plane.status()).not.toContain("frozen");
  known = enforced();
});

describe.each([
  {
    mistake: "YAML that cannot be read",
    text: deny("red", "red-new").replace("spec:", "spec: [\n  : }"),
    place: /red\/policies\.yaml:\d+:\d+/,
  },
  {
    mistake: "a condition with an error",
    text: policy(
      "rules",
      ALLOW_ALL,
      `{ id: no-red-new, effect: deny, when: 'request.url_path == "/red-new"', reason: Closed }`,
      `{ id: typo, effect: deny, when: 'request.url_paht == "/x"', reason: Closed }`,
    ),
    place: /red\/policies\.yaml:\d+:\d+.*url_paht/,
  },
])("a scope with $mistake", ({ mistake, text, place }) => {
  test("stays as it was last good, is named with the place, and hinders no other scope", {
    timeout: 120_000,
  }, async () => {
    const name = mistake.includes("YAML") ? "first" : "second";
    await plane.write("red/policies.yaml", text);
    await eventually("a frozen scope", async () => (await plane.status()).includes("frozen scopes"));
    const status = await plane.status();
    console.info(status.slice(status.indexOf("frozen scopes")));
    expect(status).toMatch(place);
    expect(plane.process().stderr()).toMatch(place);
    expect(plane.progress().join("\n")).toContain(
      `scope "red" stays as it was last good, for the errors at red/policies.yaml:`,
    );
    expect(await plane.metric("chancery_frozen_scopes")).toBe(1);

    // What the scope said before holds, what it says now does not.
    expect(await ask(RED, "red")).toBe(403);
    expect(await ask(RED, "red-new")).toBe(200);

    // Edits of the root and of a sibling take effect, for the frozen scope's application too.
    await plane.write("policies.yaml", deny("root", `root-${name}`));
    await takesEffect("a new deny of the root", async () => (await ask(BLUE, `root-${name}`)) === 403);
    expect(await ask(RED, `root-${name}`)).toBe(403);
    await plane.write("blue/policies.yaml", deny("blue", `blue-${name}`));
    await takesEffect("a new deny of a sibling", async () => (await ask(BLUE, `blue-${name}`)) === 403);
    expect(await ask(RED, `blue-${name}`)).toBe(200);

    // Another file of the frozen scope waits with it.
    await plane.write("red/application.yaml", application("red", apiKey("red-changed").sha256));
    await plane.write("policies.yaml", deny("root", `root-${name}`, `root-later-${name}`));
    await takesEffect("a later deny of the root", async () => (await ask(BLUE, `root-later-${name}`)) === 403);
    expect(await ask(RED, "red")).toBe(403);
    expect(await ask(apiKey("red-changed"), "red")).toBe(401);

    await plane.restart();
    expect(await plane.status()).toMatch(place);
    expect(await ask(RED, "red")).toBe(403);
    expect(await ask(RED, "red-new")).toBe(200);
    expect(await ask(RED, `root-${name}`)).toBe(403);
    expect(await ask(BLUE, `blue-${name}`)).toBe(403);

    await plane.write("red/application.yaml", application("red", RED.sha256));
    await plane.write("red/policies.yaml", deny("red", "red-new"));
    await takesEffect("the repaired scope", async () => (await ask(RED, "red-new")) === 403);
    expect(await plane.status()).not.toContain("frozen");
    expect(await plane.metric("chancery_frozen_scopes")).toBe(0);
    await plane.write("red/policies.yaml", deny("red"));
    await takesEffect("the rule taken away", async () => (await ask(RED, "red-new")) === 200);
  });
});
