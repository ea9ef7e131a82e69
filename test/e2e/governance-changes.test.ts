import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readDecisions } from "../../audit/index.ts";
import { startModelServer } from "../../examples/quickstart/model-server.ts";
import type { StandIn } from "../../examples/quickstart/stand-in.ts";
import type { DecisionRecord } from "../../ext-authz/index.ts";
import { type RunningControlPlane, startControlPlane } from "../support/control-plane.ts";
import { freePort, http, keepAliveAgent, runChancery, runLoad, waitFor } from "../support/index.ts";
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

/**
 * What makes a version no longer legal while requests run: an approval that ends, a score that grows old, a maturity that
 * is taken back, the kill switch. Both versions are up all the time; v2 answers as long as it may, then v1.
 */
const APPLICATIONS = ["approved", "scored", "mature"] as const;
type Name = (typeof APPLICATIONS)[number];
const KEYS = Object.fromEntries(APPLICATIONS.map((name) => [name, apiKey(name)]));
const [V1, V2] = ["model/atlas-v1-on-v1", "model/atlas-v2-on-v2"];
const HOUR = 3_600_000;
const RPS = 60;

let plane: RunningControlPlane;
let url: string;
let port: number;
const agent = keepAliveAgent(256);
const servers = new Map<string, StandIn>();

/** @param end  milliseconds since the epoch at which the approval of v2 ends and its score is too old */
function tree(end: number, maturity: string): string {
  const score = (at: number): string =>
    `scores: [{ metric: accuracy, value: 0.95, evaluatedAt: "${new Date(at).toISOString()}" }]`;
  return yaml(
    gateway(port),
    modelRoute("atlas"),
    ...[...servers].map(([name, { port: at }]) => upstream(name, at)),
    model("atlas"),
    version("atlas", "v1", "v1", { spec: score(end - HOUR / 2) }),
    version("atlas", "v2", "v2", { maturity, spec: score(end - HOUR) }),
    application("approved", sha256("approved")),
    application("scored", sha256("scored"), "minimumScores: [{ metric: accuracy, value: 0.9, maxAge: 1h }]"),
    application("mature", sha256("mature"), "minimumMaturity: production"),
    ...APPLICATIONS.map((name) => approval("atlas-v1", name)),
    ...["scored", "mature"].map((name) => approval("atlas-v2", name)),
    approval("atlas-v2", "approved").replace("approvers:", `validUntil: "${new Date(end).toISOString()}", approvers:`),
    policy("rules", "{ id: chat, effect: allow, reason: Known applications may chat }"),
  );
}

function sha256(name: Name): string {
  return KEYS[name]?.sha256 ?? "";
}

beforeAll(async () => {
  port = await freePort();
  url = `http://127.0.0.1:${port}/v1/chat/completions`;
  for (const name of ["v1", "v2"]) servers.set(name, await startModelServer({ name, port: 0, keep: 100_000 }));
  plane = await startControlPlane({ resources: { "tree.yaml": tree(Date.now() + HOUR, "production") } });
});

afterAll(async () => {
  agent.destroy();
  await plane?.close();
  await Promise.all([...servers.values()].map((server) => server.close()));
});

interface Asked {
  readonly name: Name;
  /** Milliseconds since the epoch. */
  readonly sentAt: number;
  readonly status: number;
  readonly by: string;
  readonly decision: string;
}

async function ask(name: Name): Promise<Asked> {
  const sentAt = Date.now();
  const answer = await http(url, {
    agent,
    headers: { authorization: `Bearer ${KEYS[name]?.key}`, "x-caller": name, "x-sent-at": String(sentAt) },
    body: { model: "atlas", messages: [{ role: "user", content: "hello" }] },
  });
  const by = String(answer.headers["x-served-by"] ?? "");
  return { name, sentAt, status: answer.status, by, decision: String(answer.headers["x-chancery-decision"]) };
}

/** Asks for these applications in turn while `work` goes on, and returns every answer. */
async function underLoad(
  names: readonly Name[],
  work: (asked: readonly Asked[]) => Promise<void>,
): Promise<readonly Asked[]> {
  const asked: Asked[] = [];
  const end = new AbortController();
  const load = runLoad({
    rps: RPS,
    count: 100_000,
    signal: end.signal,
    request: async (index) => {
      asked.push(await ask(names[index % names.length] ?? "approved"));
    },
  });
  try {
    await work(asked);
  } finally {
    end.abort();
  }
  const failed = (await load).filter(({ error }) => error !== undefined);
  expect(failed).toEqual([]);
  return asked;
}

/** Sent from a moment on: those that a server has received for an application. */
function receivedSince(server: string, name: Name, since: number): number {
  const { last } = servers.get(server)?.stats() ?? { last: [] };
  return last.filter(({ headers }) => headers["x-caller"] === name && Number(headers["x-sent-at"]) >= since).length;
}

async function recordOf(asked: Asked | undefined): Promise<DecisionRecord> {
  return await waitFor(
    async () => (await plane.records()).find(({ id }) => id === asked?.decision),
    10_000,
    `the record of decision ${asked?.decision}`,
  );
}

/** Waits until both decision services decide by a revision that was published after `seen` lines. */
async function inForce(seen: number): Promise<void> {
  const enforced = /^revision \d+: enforced by authz-1, authz-2 after/;
  await waitFor(
    () =>
      plane
        .progress()
        .slice(seen)
        .some((line) => enforced.test(line)),
    20_000,
    () => `a revision in force everywhere\n${plane.process().stdout()}`,
  );
}

async function edit(text: string): Promise<void> {
  const seen = plane.progress().length;
  await plane.write("tree.yaml", text);
  await inForce(seen);
}

/** Asks until an application is answered by a server. */
async function until(name: Name, by: string): Promise<void> {
  await waitFor(async () => (await ask(name)).by === by, 10_000, `${name} answered by ${by}`);
}

const count = (asked: readonly Asked[], name: Name, by: string): number =>
  asked.filter((each) => each.name === name && each.by === by).length;

test("an approval that ends and a score that grows old move requests to the older version at that instant", async () => {
  let end = 0;
  const asked = await underLoad(["approved", "scored"], async (answers) => {
    const isReached = (name: Name) =>
      waitFor(async () => Date.now() >= end || (await ask(name)).by === "v2", 10_000, `${name} answered by v2`);
    // On a busy machine the change may come into force when its end is nearly over: then it gets more time.
    for (let forMs = 4_000; Date.now() > end - 1_000; forMs *= 3) {
      expect(forMs).toBeLessThan(200_000);
      end = Date.now() + forMs;
      await edit(tree(end, "production"));
      await Promise.all([isReached("approved"), isReached("scored")]);
    }
    const enough = (name: Name) => answers.filter((each) => each.sentAt >= end && each.name === name).length >= 60;
    await waitFor(() => enough("approved") && enough("scored"), 60_000, "answers after the end");
  });
  const late = asked.filter(({ sentAt }) => sentAt >= end);
  const lastOld = Math.max(...asked.filter(({ by }) => by === "v2").map(({ sentAt }) => sentAt));
  console.info(
    `${asked.length} requests, ${asked.filter(({ status }) => status !== 200).length} failed; by v2: ${count(asked, "approved", "v2")} + ${count(asked, "scored", "v2")}, ` +
      `the last one sent ${end - lastOld} ms before the end; sent after it: ${late.length}, by v2: ${late.filter(({ by }) => by === "v2").length}`,
  );
  expect(asked.filter(({ status }) => status !== 200)).toEqual([]);
  for (const name of ["approved", "scored"] as const) {
    expect(count(asked, name, "v2")).toBeGreaterThan(0);
    expect(receivedSince("v2", name, end)).toBe(0);
    expect(receivedSince("v1", name, end)).toBeGreaterThanOrEqual(60);
  }

  const of = (name: Name) => recordOf(late.find((each) => each.name === name));
  const ended = await of("approved");
  expect(ended).toMatchObject({ effect: "allow", targets: [V1] });
  expect(ended.removed).toEqual([
    { pool: V2, rule: "chancery:approval", reason: "atlas-v2 has no valid approval for approved" },
  ]);
  const stale = await of("scored");
  expect(stale).toMatchObject({ effect: "allow", targets: [V1] });
  const evaluated = new Date(end - HOUR).toISOString();
  expect(stale.removed).toEqual([
    {
      pool: V2,
      rule: "chancery:scores",
      reason: `its score "accuracy" was evaluated at ${evaluated}, and the application takes none older than 1h`,
    },
  ]);
  // By the clock of the decision services, to the millisecond.
  const decided = (await plane.records()).filter((record) => ["approved", "scored"].includes(record.application));
  expect(decided.filter(({ at, targets }) => Date.parse(at) >= end && targets.includes(V2))).toEqual([]);
}, 120_000);

test("a version whose maturity is taken back gets no request from the moment at which that is in force", async () => {
  const end = Date.now() + HOUR;
  await edit(tree(end, "production"));
  await until("mature", "v2");
  let since = 0;
  const asked = await underLoad(["mature"], async (answers) => {
    await waitFor(() => answers.length > 50, 20_000, "answers before the change");
    await edit(tree(end, "canary"));
    since = Date.now();
    await waitFor(() => answers.filter(({ sentAt }) => sentAt >= since).length >= 100, 60_000, "answers after it");
  });
  console.info(
    `${asked.length} requests; by v2: ${count(asked, "mature", "v2")}, of those sent since the change was in force: ${receivedSince("v2", "mature", since)}`,
  );
  expect(asked.filter(({ status }) => status !== 200)).toEqual([]);
  expect(count(asked, "mature", "v2")).toBeGreaterThan(0);
  expect(receivedSince("v2", "mature", since)).toBe(0);
  const record = await recordOf(asked.find(({ sentAt }) => sentAt >= since));
  expect(record.removed).toEqual([
    { pool: V2, rule: "chancery:maturity", reason: "the version is canary, and the application needs production" },
  ]);

  // Back to what it was, but not by a step that there is not.
  const seen = plane.progress().length;
  await edit(tree(end, "experimental"));
  await plane.write("tree.yaml", tree(end, "production"));
  await waitFor(
    () =>
      plane
        .progress()
        .slice(seen)
        .some((line) => line.startsWith('scope "." stays as it was last good')),
    20_000,
    () => `a refusal of the step\n${plane.process().stdout()}`,
  );
  expect(plane.process().stderr()).toContain("atlas v2 is experimental and cannot become production");
  expect((await ask("mature")).by).toBe("v1");
  expect(receivedSince("v2", "mature", since)).toBe(0);
}, 120_000);

test("with its last version quarantined an application is refused, from the restriction in the journal on", async () => {
  const { control } = plane;
  let given = 0;
  let id = "";
  const asked = await underLoad(["mature"], async (answers) => {
    await waitFor(() => answers.length > 50, 20_000, "answers before it");
    const args = ["version", "atlas-v1", "--for", "1h", "--reason", "incident 7", "--server", control];
    const { stdout, stderr } = await runChancery("quarantine", ...args);
    id = /q-[0-9a-f]+/.exec(stdout)?.[0] ?? stderr;
    given = Date.now();
    await waitFor(
      () => answers.filter(({ sentAt, status }) => sentAt >= given && status === 403).length >= 50,
      60_000,
      "refusals",
    );
  });
  expect(asked.filter(({ status }) => status !== 200 && status !== 403)).toEqual([]);
  const refused = asked.findLast(({ status }) => status === 403);
  const record = await recordOf(refused);
  expect(record).toMatchObject({ effect: "deny", code: "no_legal_target", targets: [] });
  expect(record.removed).toContainEqual({ pool: V1, rule: id, reason: "incident 7" });
  expect(record.removed.map(({ rule }) => rule).toSorted()).toEqual(["chancery:maturity", id]);

  // As each service wrote them down: what it restricted, then its decisions.
  for (const service of ["authz-1", "authz-2"]) {
    let restricted = false;
    const after: DecisionRecord[] = [];
    for await (const { record: each } of readDecisions(join(plane.state, "journal", service))) {
      if ("kind" in each && each.kind === "restriction") restricted = true;
      else if (restricted && "effect" in each) after.push(each);
    }
    expect(restricted).toBe(true);
    expect(after.filter(({ targets }) => targets.includes(V1))).toEqual([]);
  }
  const late = receivedSince("v1", "mature", given);
  console.info(`requests to the quarantined version sent since the command said that it is in force: ${late}`);
}, 120_000);
