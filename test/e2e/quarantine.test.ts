import { join } from "node:path";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, expect, test } from "vitest";
import { getStatus, giveRestriction, liftRestriction } from "../../admin/index.ts";
import { readDecisions } from "../../audit/index.ts";
import { startModelServer } from "../../examples/quickstart/model-server.ts";
import type { StandIn } from "../../examples/quickstart/stand-in.ts";
import { type RunningControlPlane, startControlPlane } from "../support/control-plane.ts";
import { freePorts, http, runChancery, runLoad, waitFor } from "../support/index.ts";
import {
  apiKey,
  application,
  approval,
  gateway,
  model,
  modelRoute,
  policy,
  upstream,
  version,
  yaml,
} from "../support/resources.ts";

/** The kill switch through `chancery quarantine` and a real Envoy: version v2 answers, and v1 where v2 may not. */
const CALLER = apiKey("caller");
const OTHER = apiKey("other");

let plane: RunningControlPlane;
let url: string;
const servers = new Map<string, StandIn>();

beforeAll(async () => {
  const [port = 0] = await freePorts(1);
  url = `http://127.0.0.1:${port}/v1/chat/completions`;
  for (const name of ["v1", "v2"]) servers.set(name, await startModelServer({ name, port: 0 }));
  plane = await startControlPlane({
    resources: {
      "tree.yaml": yaml(
        gateway(port),
        modelRoute("atlas"),
        ...[...servers].map(([name, { port: at }]) => upstream(name, at)),
        model("atlas"),
        version("atlas", "v1", "v1"),
        version("atlas", "v2", "v2"),
        application("caller", CALLER.sha256),
        application("other", OTHER.sha256),
        ...["caller", "other"].flatMap((name) => [approval("atlas-v1", name), approval("atlas-v2", name)]),
        policy(
          "rules",
          `{ id: caller, effect: allow, when: 'application.name == "caller"', reason: It may }`,
          `{ id: other, effect: allow, when: 'application.name == "other"', reason: It may }`,
        ),
      ),
    },
  });
});

afterAll(async () => {
  await plane?.close();
  await Promise.all([...servers.values()].map((server) => server.close()));
});

async function ask(key = CALLER.key): Promise<{ readonly status: number; readonly by: string; readonly code: string }> {
  const answer = await http(url, {
    headers: { authorization: `Bearer ${key}` },
    body: { model: "atlas", messages: [{ role: "user", content: "hello" }] },
  });
  const body = answer.json<{ served_by?: { name: string }; error?: { code: string } }>();
  return { status: answer.status, by: body.served_by?.name ?? "", code: body.error?.code ?? "" };
}

async function quarantine(...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await runChancery("quarantine", ...args, "--server", plane.control);
  if (code !== 0) throw new Error(`${code}: ${stderr}`);
  return stdout;
}

async function restrict(kind: string, value: string): Promise<string> {
  const request = { kind, value, reason: "incident 7", until: timestampFromMs(Date.now() + 3_600_000) };
  return (await giveRestriction({ control: plane.control }, request)).id;
}

async function lift(id: string): Promise<void> {
  await liftRestriction({ control: plane.control }, { id, reason: "fixed" });
}

async function until(expected: Partial<Awaited<ReturnType<typeof ask>>>, key?: string): Promise<void> {
  let last: unknown;
  await waitFor(
    async () => {
      last = await ask(key);
      return Object.entries(expected).every(([name, value]) =>
        Object.entries(last ?? {}).some(([n, v]) => n === name && v === value),
      );
    },
    10_000,
    () => `${JSON.stringify(expected)}, not ${JSON.stringify(last)}`,
  );
}

let quarantined = "";

test("a version that is taken out of use under load gets no new request", async () => {
  await until({ by: "v2" });
  const answers: { readonly at: number; readonly sentAt: number; readonly by: string; readonly status: number }[] = [];
  const stop = new AbortController();
  const load = runLoad({
    rps: 100,
    count: 100_000,
    signal: stop.signal,
    request: async () => {
      const sentAt = performance.now();
      const { status, by } = await ask();
      answers.push({ at: performance.now(), sentAt, by, status });
    },
  });
  await waitFor(() => answers.length > 50, 10_000, "answers under load");
  const thrown = performance.now();
  const output = await quarantine("version", "atlas-v2", "--for", "1h", "--reason", "incident 7");
  quarantined = /q-[0-9a-f]+/.exec(output)?.[0] ?? output;
  const said = performance.now();
  const count = answers.length;
  await waitFor(() => answers.length > count + 100, 10_000, "answers after the restriction");
  stop.abort();
  await load;
  expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
  // Both decision services had a moment to hear of it since the command has said so.
  const lastOld = Math.max(...answers.filter(({ by }) => by === "v2").map(({ sentAt }) => sentAt));
  console.info(
    `last request to the version: ${Math.round(lastOld - thrown)} ms after the command was started, ${Math.round(lastOld - said)} ms after it said so (${answers.filter(({ by, sentAt }) => by === "v1" && sentAt > said).length} requests to the other version since)`,
  );
  await until({ by: "v1" });
  const before = servers.get("v2")?.stats().requests;
  for (let index = 0; index < 50; index += 1) expect((await ask()).by).toBe("v1");
  expect(servers.get("v2")?.stats().requests).toBe(before);
}, 60_000);

test("it gets none after a restart of everything, and is back when the restriction is lifted", async () => {
  const before = servers.get("v2")?.stats().requests;
  await plane.restart();
  await until({ by: "v1" });
  for (let index = 0; index < 20; index += 1) expect((await ask()).by).toBe("v1");
  expect(servers.get("v2")?.stats().requests).toBe(before);
  expect(await quarantine("list")).toContain(`${quarantined}  version atlas-v2  until `);
  const shown = await waitFor(
    async () => {
      const { restrictions } = await getStatus({ control: plane.control });
      return restrictions.find(({ id, missingIn }) => id === quarantined && missingIn.length === 0);
    },
    10_000,
    "a status by which every decision service has it",
  );
  expect(shown).toMatchObject({ kind: "version", value: "atlas-v2", reason: "incident 7" });
  await lift(quarantined);
  await until({ by: "v2" });
}, 60_000);

test("an application is refused with the reason, and others are not", async () => {
  const id = await restrict("application", "caller");
  await until({ status: 403, code: "denied" });
  expect((await ask(OTHER.key)).status).toBe(200);
  await lift(id);
  await until({ status: 200 });
});

test("an allow rule that is taken out of use allows nothing any more", async () => {
  const id = await restrict("rule", "rules/other");
  await until({ status: 403, code: "denied" }, OTHER.key);
  expect((await ask()).status).toBe(200);
  await lift(id);
  await until({ status: 200 }, OTHER.key);
});

test("each decision service has it in its journal", async () => {
  for (const service of ["authz-1", "authz-2"]) {
    const statements: unknown[] = [];
    for await (const { record } of readDecisions(join(plane.state, "journal", service))) {
      if ("kind" in record && record.kind === "restriction") statements.push(record.statement.type);
    }
    expect(statements.filter((type) => type === "restrict")).toHaveLength(3);
    expect(statements.filter((type) => type === "lift")).toHaveLength(3);
  }
});
