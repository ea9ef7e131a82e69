import { afterAll, beforeAll, expect, test } from "vitest";
import { verifyJournal } from "../../audit/index.ts";
import { startWebServer, type WebServer } from "../../examples/quickstart/web-server.ts";
import type { DecisionRecord } from "../../ext-authz/index.ts";
import { type Fleet, startFleet } from "../support/fleet.ts";
import {
  type Answer,
  freePort,
  type HttpAnswer,
  http,
  keepAliveAgent,
  runLoad,
  runProcess,
  waitFor,
} from "../support/index.ts";
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

const RPS = 200;
const COUNT = 1_200;
const FAULT_AT = 400;
const THAW_AT = 900;
const STRICT = apiKey("strict");
const LENIENT = apiKey("lenient");

let fleet: Fleet;
let here: WebServer;
let there: WebServer;
let url: string;
const agent = keepAliveAgent(512);

beforeAll(async () => {
  const [port, a, b] = await Promise.all([
    freePort(),
    startWebServer({ name: "here" }),
    startWebServer({ name: "there" }),
  ]);
  [here, there] = [a, b];
  url = `http://127.0.0.1:${port}`;
  fleet = await startFleet({
    resources: {
      "traffic.yaml": yaml(
        gateway(port),
        plainRoute("shop", "/shop", { here: 1, there: 1 }),
        upstream("here", here.port),
        upstream("there", there.port),
      ),
      "applications.yaml": yaml(
        anonymous(),
        application("strict", STRICT.sha256, "durability: strict"),
        application("lenient", LENIENT.sha256, "durability: bestEffort"),
      ),
      "policies.yaml": policy(
        "rules",
        ALLOW_ALL,
        `{ id: closed, effect: deny, when: 'request.url_path == "/shop/closed"', reason: Closed }`,
        `{ id: stay-here, effect: restrict, when: 'request.url_path == "/shop/local"', require: 'target.upstream == "here"', reason: Stays here }`,
      ),
    },
  });
});

afterAll(async () => {
  agent.destroy();
  await fleet?.close();
  await Promise.all([here?.close(), there?.close()]);
});

/** What may come of each kind of request: the status, and who may answer. */
const KINDS = [
  { path: "/shop/closed", status: 403, servers: [] },
  { path: "/shop/local", status: 200, servers: ["here"] },
  { path: "/shop/any", status: 200, servers: ["here", "there"] },
  { path: "/shop/any", status: 200, servers: ["here", "there"] },
] as const;

interface Run {
  readonly answered: number;
  /** No answer, or one that is neither what the rules allow nor what they deny. */
  readonly clientErrors: readonly string[];
  /** Answers that contradict the rules. */
  readonly wrong: readonly string[];
  /** Decisions that a client saw. */
  readonly decisions: readonly { readonly id: string; readonly status: number; readonly server: string }[];
  readonly slowestMs: number;
}

/** Sends the load; `at(index)` is called before each request. */
async function run(at: (index: number) => void): Promise<Run> {
  const answers = await runLoad({
    rps: RPS,
    count: COUNT,
    request: (index) => {
      at(index);
      return http(`${url}${KINDS[index % KINDS.length]?.path}`, { agent, timeoutMs: 15_000 });
    },
  });
  return judge(answers);
}

function judge(answers: readonly Answer<HttpAnswer>[]): Run {
  const clientErrors: string[] = [];
  const wrong: string[] = [];
  const decisions: { id: string; status: number; server: string }[] = [];
  for (const { index, value, error } of answers) {
    const kind = KINDS[index % KINDS.length];
    if (kind === undefined) throw new Error("no kind");
    if (error !== undefined || (value.status !== 200 && value.status !== 403)) {
      clientErrors.push(`${index} ${kind.path}: ${error?.message ?? `${value?.status} ${value?.text()}`}`);
      continue;
    }
    const server = String(value.headers["x-served-by"] ?? "");
    const servers: readonly string[] = kind.servers;
    const right = value.status === kind.status && (value.status === 403 ? server === "" : servers.includes(server));
    if (!right) wrong.push(`${index} ${kind.path}: ${value.status} by "${server}": ${value.text()}`);
    decisions.push({ id: decisionOf(value), status: value.status, server });
  }
  return {
    answered: decisions.length,
    clientErrors,
    wrong,
    decisions,
    slowestMs: Math.max(...answers.map(({ tookMs }) => tookMs)),
  };
}

function decisionOf(answer: HttpAnswer): string {
  return String(answer.headers["x-chancery-decision"] ?? "");
}

/** Every decision that a client saw is on disk and says what happened. */
async function expectRecorded(runs: Run): Promise<void> {
  const records = new Map<string, DecisionRecord>((await fleet.records()).map((record) => [record.id, record]));
  const unrecorded = runs.decisions.filter(({ id }) => !records.has(id));
  expect(unrecorded).toEqual([]);
  const different = runs.decisions.filter(({ id, status, server }) => {
    const { effect, targets = [] } = records.get(id) ?? {};
    if (status === 403) return effect !== "deny";
    return effect !== "allow" || !(targets.includes("weighted") || targets.includes(`upstream/${server}`));
  });
  expect(different).toEqual([]);
  expect(new Set(runs.decisions.map(({ id }) => id)).size).toBe(runs.decisions.length);
}

function print(title: string, { answered, clientErrors, wrong, slowestMs }: Run): void {
  const figures = `${answered} of ${COUNT} answered, ${wrong.length} wrong, ${clientErrors.length} client errors`;
  console.info(`${title}: ${figures}, slowest ${Math.round(slowestMs)} ms`);
  for (const error of clientErrors.slice(0, 5)) console.info(`  ${error}`);
}

async function allServing(): Promise<void> {
  await waitFor(
    async () => {
      const { "cluster.chancery_ext_authz.membership_healthy": healthy } = await fleet.envoy.stats(
        "cluster.chancery_ext_authz.membership_healthy",
      );
      return healthy === 2;
    },
    15_000,
    "two healthy decision services",
  );
}

const ATTEMPTS = 3;
let undisturbed: Run;

/**
 * Runs the load with a fault, and expects no more client errors than without it. On a machine that is busy with other
 * things a load fails without any fault as well: so a run counts when those before and after it, without the fault, had no
 * errors; else it is made again. Wrong answers and missing records count in every run.
 */
async function expectHarmless(title: string, at: (index: number) => void, heal: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const faulty = await run(at);
    print(title, faulty);
    expect(faulty.wrong).toEqual([]);
    await expectRecorded(faulty);
    await heal();
    await allServing();
    const before = undisturbed.clientErrors.length;
    if (faulty.clientErrors.length <= before) return;
    undisturbed = await run(() => undefined);
    print("no fault, again", undisturbed);
    const after = undisturbed.clientErrors.length;
    if (faulty.clientErrors.length <= after) return;
    expect(before + after > 0 && attempt < ATTEMPTS, faulty.clientErrors.slice(0, 20).join("\n")).toBe(true);
  }
}

const LONG = { timeout: 150_000 };

test("answers a load without faults, each answer with its record", LONG, async () => {
  await allServing();
  for (let attempt = 1; ; attempt += 1) {
    undisturbed = await run(() => undefined);
    print("no fault", undisturbed);
    expect(undisturbed.wrong).toEqual([]);
    await expectRecorded(undisturbed);
    if (undisturbed.clientErrors.length === 0 || attempt === ATTEMPTS) break;
  }
  expect(undisturbed.answered, "the machine is too busy for this load").toBeGreaterThan(COUNT / 2);
  // The load reaches what it is about: both servers answer, and some requests are refused.
  expect(new Set(undisturbed.decisions.map(({ server }) => server))).toEqual(new Set(["", "here", "there"]));
});

test("answers right while one of two decision services is killed, and loses no record", LONG, async () => {
  await expectHarmless(
    "one decision service killed",
    (index) => {
      if (index === FAULT_AT) fleet.decisionServices()[0]?.signal("SIGKILL");
    },
    async () => {
      expect(fleet.decisionServices()[0]?.ending()).toEqual({ code: null, signal: "SIGKILL" });
      await fleet.restartDecisionService(0);
    },
  );
  await expectRecorded(undisturbed);
});

test("answers right while one of two decision services is frozen", LONG, async () => {
  await expectHarmless(
    "one decision service frozen",
    (index) => {
      if (index === FAULT_AT) fleet.decisionServices()[1]?.signal("SIGSTOP");
      if (index === THAW_AT) fleet.decisionServices()[1]?.signal("SIGCONT");
    },
    async () => undefined,
  );
});

test("refuses with 503 when no decision service is left, and goes on where it was after their restart", async () => {
  const before = new Set((await fleet.records()).map(({ id }) => id));
  for (const service of fleet.decisionServices()) service.signal("SIGKILL");
  await Promise.all(fleet.decisionServices().map((service) => service.ended));
  here.resetStats();
  there.resetStats();
  const answers = await runLoad({ rps: 50, count: 50, request: () => http(`${url}/shop/any`, { agent }) });
  expect(answers.map(({ value, error }) => value?.status ?? error)).toEqual(Array(50).fill(503));
  expect(answers[0]?.value?.json()).toMatchObject({ error: { code: "unavailable" } });
  expect([here.stats().requests, there.stats().requests]).toEqual([0, 0]);

  const started = performance.now();
  await Promise.all([0, 1].map((index) => fleet.restartDecisionService(index)));
  const ready = performance.now() - started;
  const answer = await waitFor(
    async () => {
      const answer = await http(`${url}/shop/any`);
      return answer.status === 200 ? answer : undefined;
    },
    15_000,
    "an answer after the restart",
  );
  console.info(
    `restart of both: ready after ${Math.round(ready)} ms, served after ${Math.round(performance.now() - started)} ms`,
  );
  await fleet.record(decisionOf(answer));
  const after = new Set((await fleet.records()).map(({ id }) => id));
  expect([...before].filter((id) => !after.has(id))).toEqual([]);
  for (const index of [0, 1]) {
    const { problems } = await verifyJournal(fleet.journal(index));
    expect(problems).toEqual([]);
  }
});

test("refuses strict applications and counts the loss of others while no record can be written", async ({ skip }) => {
  const tried = await runProcess("sh", ["-c", "command -v prlimit"]);
  skip(tried.code !== 0, "prlimit (util-linux) is not there: no way to let a running process's disk be full");
  const ask = (key: { readonly key: string }) =>
    http(`${url}/shop/any`, { headers: { authorization: `Bearer ${key.key}` } });
  await allServing();
  expect((await ask(STRICT)).status).toBe(200);
  expect((await ask(LENIENT)).status).toBe(200);

  // No file of these processes may grow: their disks are full.
  await limitFileSizes("0");
  try {
    here.resetStats();
    there.resetStats();
    for (let index = 0; index < 10; index += 1) {
      const answer = await ask(STRICT);
      expect([answer.status, answer.json()]).toMatchObject([503, { error: { code: "record_unavailable" } }]);
    }
    expect([here.stats().requests, there.stats().requests]).toEqual([0, 0]);

    const lost = await lostRecords();
    const records = (await fleet.records()).length;
    for (let index = 0; index < 10; index += 1) expect((await ask(LENIENT)).status).toBe(200);
    expect((await lostRecords()) - lost).toBe(10);
    expect((await fleet.records()).length).toBe(records);
  } finally {
    await limitFileSizes("unlimited");
  }
  const answer = await waitFor(
    async () => {
      const answer = await ask(STRICT);
      return answer.status === 200 ? answer : undefined;
    },
    10_000,
    "a strict application that is served again",
  );
  const record = await fleet.record(decisionOf(answer));
  expect(record).toMatchObject({ application: "strict", effect: "allow" });
  for (const index of [0, 1]) expect((await verifyJournal(fleet.journal(index))).problems).toEqual([]);
});

async function limitFileSizes(soft: string): Promise<void> {
  for (const { pid } of fleet.decisionServices()) {
    const { code, stderr } = await runProcess("prlimit", ["--pid", String(pid), `--fsize=${soft}:unlimited`]);
    if (code !== 0) throw new Error(stderr);
  }
}

async function lostRecords(): Promise<number> {
  const counts = await Promise.all(
    [0, 1].map((index) => fleet.decisionMetric(index, "chancery_records_lost_total", 'how="lost"')),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}
