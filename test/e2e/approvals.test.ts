import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { grantApproval, requestApproval, revokeApproval } from "../../admin/index.ts";
import { startModelServer } from "../../examples/quickstart/model-server.ts";
import type { StandIn } from "../../examples/quickstart/stand-in.ts";
import type { DecisionRecord } from "../../ext-authz/index.ts";
import { type RunningControlPlane, startControlPlane } from "../support/control-plane.ts";
import { freePorts, http, runChancery, waitFor } from "../support/index.ts";
import {
  apiKey,
  application,
  gateway,
  model,
  modelRoute,
  policy,
  upstream,
  version,
  yaml,
} from "../support/resources.ts";

/** Approvals through `chancery approval` and a real Envoy: without one, no version answers the application. */
const CALLER = apiKey("caller");
const PEOPLE = ["ann", "bob"] as const;

let root: string;
let plane: RunningControlPlane;
let url: string;
let server: StandIn;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "chancery-approvals-"));
  const principals = PEOPLE.map((name) => {
    const tokenSha256 = createHash("sha256").update(tokenOf(name)).digest("hex");
    return { name, roles: ["requester", "approver"], tokenSha256 };
  });
  await writeFile(join(root, "principals.json"), JSON.stringify(principals));
  for (const name of PEOPLE) await writeFile(join(root, name), tokenOf(name));
  const [port = 0] = await freePorts(1);
  url = `http://127.0.0.1:${port}/v1/chat/completions`;
  server = await startModelServer({ name: "v1", port: 0 });
  plane = await startControlPlane({
    args: ["--principals", join(root, "principals.json")],
    resources: {
      "tree.yaml": yaml(
        gateway(port),
        modelRoute("atlas"),
        upstream("v1", server.port),
        model("atlas"),
        version("atlas", "v1", "v1"),
        application("caller", CALLER.sha256),
        policy("rules", `{ id: caller, effect: allow, when: 'application.name == "caller"', reason: It may }`),
      ),
    },
  });
});

afterAll(async () => {
  await plane?.close();
  await server?.close();
  await rm(root, { recursive: true, force: true });
});

function tokenOf(name: string): string {
  return `the-token-of-${name}`;
}

function as(name: (typeof PEOPLE)[number]) {
  return { control: plane.control, token: tokenOf(name) };
}

async function approval(name: (typeof PEOPLE)[number], ...args: readonly string[]) {
  return await runChancery("approval", ...args, "--server", plane.control, "--token-file", join(root, name));
}

type Headers = Readonly<Record<string, string>>;

async function ask(headers: Headers = {}) {
  const answer = await http(url, {
    headers: { authorization: `Bearer ${CALLER.key}`, ...headers },
    body: { model: "atlas", messages: [{ role: "user", content: "hello" }] },
  });
  return { status: answer.status, text: answer.text(), decision: String(answer.headers["x-chancery-decision"]) };
}

async function recordOf({ decision }: { readonly decision: string }): Promise<DecisionRecord | undefined> {
  return (await plane.records()).find(({ id }) => id === decision);
}

/** @returns milliseconds until the status is so, for ten answers in a row (both decision services) */
async function until(status: number, headers?: Headers): Promise<number> {
  const start = performance.now();
  let since: number | undefined;
  let row = 0;
  await waitFor(
    async () => {
      if ((await ask(headers)).status !== status) {
        row = 0;
        return false;
      }
      if (row === 0) since = performance.now();
      row += 1;
      return row === 10;
    },
    15_000,
    () => `ten answers ${status}`,
  );
  return Math.round((since ?? start) - start);
}

const REQUEST = { version: "atlas-v1", application: "caller", reason: "reviewed" };
let granted = "";

test("without an approval a request is denied with the reason, and nobody grants their own", async () => {
  await until(403);
  expect((await ask()).text).toContain("approv");
  const asked = await approval("ann", "request", "atlas-v1", "caller", "--for", "90d", "--reason", "reviewed");
  expect(asked).toMatchObject({ code: 0, stdout: expect.stringMatching(/^a-[0-9a-f]{16} {2}requested/) });
  granted = asked.stdout.slice(0, 18);
  const own = await approval("ann", "grant", granted, "--reason", "mine");
  expect(own).toMatchObject({ code: 1, stderr: expect.stringContaining("[self-approval]") });
  expect((await ask()).status).toBe(403);
}, 60_000);

test("granted by another it is served, and revoked it is denied again, at once", async () => {
  await grantApproval(as("bob"), granted, "tested");
  const served = await until(200);
  await revokeApproval(as("ann"), granted, "found a flaw");
  const denied = await until(403);
  console.info(`served ${served} ms after the grant was answered, denied ${denied} ms after the revocation was`);
  const { stdout } = await approval("bob", "list", "--format", "json");
  expect(JSON.parse(stdout)).toMatchObject([
    { id: granted, state: "revoked", granted: { by: "bob", reason: "tested" }, revoked: { by: "ann" } },
  ]);
}, 60_000);

test("an approval on a condition holds for the requests that meet it, and records name it and what was not met", async () => {
  const condition = 'request.headers["x-pilot"] == "yes"';
  const vague = await approval("ann", "request", "atlas-v1", "caller", "--condition", "pilots only", "--reason", "x");
  expect(vague).toMatchObject({ code: 2, stderr: expect.stringContaining("cannot be evaluated") });
  const id = await requestApproval(as("ann"), { ...REQUEST, conditions: [condition] });
  await grantApproval(as("bob"), id, "as asked");
  await until(200, { "x-pilot": "yes" });
  expect(await recordOf(await ask({ "x-pilot": "yes" }))).toMatchObject({
    approvals: [{ approval: id, version: "atlas-v1", conditions: [condition] }],
  });
  // Another value is false, none is unknown.
  for (const [headers, result] of [
    [{ "x-pilot": "no" }, "is false"],
    [{}, "is unknown"],
  ] as const) {
    const refused = await ask(headers);
    expect(refused.status).toBe(403);
    expect(refused.text).not.toContain("x-pilot");
    const record = await recordOf(refused);
    expect(record).toMatchObject({ code: "no_legal_target", removed: [{ rule: "chancery:approval" }] });
    expect(record?.removed[0]?.detail).toContain(`approval/${id}: ${condition} ${result}`);
    expect(record).not.toHaveProperty("approvals");
  }
  await revokeApproval(as("bob"), id, "the pilot is over");
  await until(403, { "x-pilot": "yes" });
}, 60_000);

test("an ApprovalRule approves what satisfies it, on record by its name, until it ends by itself", async () => {
  const rule = (end: string) => `
apiVersion: chancery.dev/v1
kind: ApprovalRule
metadata: { name: auto }
spec:
  model: atlas
  applications: [caller]
  when: target.maturity == "production"
  conditions: ['request.method == "POST"']
  validFor: 1h
  validUntil: ${end}
  reason: In production
  owner: board`;
  await plane.write("auto.yaml", rule("2099-01-01T00:00:00Z"));
  await until(200);
  expect((await recordOf(await ask()))?.approvals).toEqual([
    { approval: "auto:atlas-v1:caller", version: "atlas-v1", rule: "auto", conditions: ['request.method == "POST"'] },
  ]);
  // Nobody does anything at its end: the decision services hold it to their clock.
  await plane.write("auto.yaml", rule(new Date(Date.now() + 3_000).toISOString()));
  await until(403);
  expect((await ask()).text).toContain("no valid approval");
}, 60_000);

test("what is granted and what is revoked stays so over a restart of everything", async () => {
  await plane.restart();
  expect((await ask()).status).toBe(403);
  const id = await requestApproval(as("bob"), REQUEST);
  await grantApproval(as("ann"), id, "flaw is gone");
  await until(200);
  await plane.restart();
  expect((await ask()).status).toBe(200);
  const { stdout } = await approval("bob", "list");
  expect(stdout).toContain(`${granted}  revoked  atlas-v1 for caller everywhere`);
  expect(stdout).toContain(`${id}  granted  atlas-v1 for caller everywhere`);
}, 90_000);
