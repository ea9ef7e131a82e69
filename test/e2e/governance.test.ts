import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startModelServer } from "../../examples/quickstart/model-server.ts";
import type { StandIn } from "../../examples/quickstart/stand-in.ts";
import type { DecisionRecord } from "../../ext-authz/index.ts";
import { type RunningControlPlane, startControlPlane } from "../support/control-plane.ts";
import { freePort, type HttpAnswer, http, keepAliveAgent, runInTurns, seeded, waitFor } from "../support/index.ts";
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

/**
 * The shipped law pack of the GDPR through a real Envoy, while what is legal fails. For personal data of the EU v2 in
 * Frankfurt may answer, then v1 in Dublin. Nothing is attested of v3, which is newer; v2 in Virginia is preferred and has
 * no safeguard; `orion` is an accepted substitute without an attestation.
 */
const REQUESTS = 10_000;
const AT_ONCE = 16;
const SEED = 20_261_121;

const EU = apiKey("eu");
const US = apiKey("us");
const LEGAL = ["frankfurt", "dublin"] as const;
/** Server → the pool, and the rule that takes it away from personal data of the EU. */
const ILLEGAL = {
  unattested: { pool: "model/atlas-v3-on-unattested", rule: "law:gdpr/lawful-basis" },
  virginia: { pool: "model/atlas-v2-on-virginia", rule: "law:gdpr/transfers" },
  substitute: { pool: "model/orion-v1-on-substitute", rule: "law:gdpr/lawful-basis" },
} as const;
const LEGAL_POOLS = ["model/atlas-v2-on-frankfurt", "model/atlas-v1-on-dublin"];

let plane: RunningControlPlane;
let url: string;
const agent = keepAliveAgent(AT_ONCE);
const servers = new Map<string, StandIn>();

beforeAll(async () => {
  const port = await freePort();
  url = `http://127.0.0.1:${port}/v1/chat/completions`;
  for (const name of [...LEGAL, ...Object.keys(ILLEGAL)]) {
    servers.set(name, await startModelServer({ name, port: 0, keep: 2 * REQUESTS }));
  }
  const attested = { spec: "trainingData: { gdprBasis: legitimate interests }" };
  const contract = "agreements: [{ kind: data-processing, reference: contract 1 }]";
  plane = await startControlPlane({
    resources: {
      "gdpr.yaml": await readFile(new URL("../../packs/gdpr/pack.yaml", import.meta.url), "utf8"),
      "tree.yaml": yaml(
        gateway(port),
        modelRoute("atlas", "orion"),
        ...[...servers].map(([name, { port: at }]) => upstream(name, at)),
        model("atlas", "approval: notRequired, maxAttempts: 5, firstByte: 1s"),
        model("orion", "approval: notRequired"),
        version("atlas", "v3", "unattested", { deployment: contract }),
        version("atlas", "v2", "frankfurt", { ...attested, deployment: contract }),
        `
apiVersion: chancery.dev/v1
kind: Deployment
metadata: { name: atlas-v2-on-virginia }
spec: { version: atlas-v2, upstream: virginia, region: test, country: US, wireName: wire-atlas-v2, ${contract} }`,
        version("atlas", "v1", "dublin", { ...attested, country: "IE", deployment: contract }),
        version("orion", "v1", "substitute", { deployment: contract }),
        application("eu", EU.sha256, "dataClasses: [personal], jurisdictions: [EU], substitutes: [orion]"),
        application("us", US.sha256, "dataClasses: [personal], jurisdictions: [US], substitutes: [orion]"),
        policy(
          "rules",
          "{ id: chat, effect: allow, reason: Known applications may chat }",
          `{ id: cheap, effect: prefer, score: 'target.kind == "model" && target.country == "US" ? 1.0 : 0.0', reason: It costs less }`,
        ),
      ),
    },
  });
});

afterAll(async () => {
  agent.destroy();
  await plane?.close();
  await Promise.all([...servers.values()].map((server) => server.close()));
});

type Failure = "well" | "slow" | "503" | "reset" | "stalled";

interface Plan {
  readonly caller: "eu" | "us";
  readonly model: string;
  readonly stream: boolean;
  readonly failures: Readonly<Record<string, Failure>>;
}

const WORDS: Readonly<Record<Failure, string>> = {
  well: "",
  slow: "delayMs=30",
  "503": "status=503",
  reset: "reset",
  stalled: "delayMs=20000",
};

/** The same requests each time: who asks for what, and how each server answers that one request. */
function plan(): readonly Plan[] {
  const random = seeded(SEED);
  const failure = (): Failure => {
    const drawn = random();
    if (drawn < 0.2) return "503";
    if (drawn < 0.3) return "reset";
    return drawn < 0.4 ? "slow" : "well";
  };
  return Array.from({ length: REQUESTS }, (_, index): Plan => {
    const caller = index % 10 === 9 ? "us" : "eu";
    const asked = random();
    const down = random() < 0.05;
    const stalled = random() < 0.004;
    const failures = Object.fromEntries(
      [...servers.keys()].map((name): [string, Failure] => {
        const drawn = failure();
        if (!LEGAL.some((legal) => legal === name)) return [name, "well"];
        return [name, down ? "503" : drawn];
      }),
    );
    return {
      caller,
      model: asked < 0.8 ? "atlas" : asked < 0.9 ? "atlas@v3" : asked < 0.95 ? "atlas@v2" : "orion",
      stream: stalled || index % 7 === 0,
      failures: stalled ? { ...failures, frankfurt: "stalled" } : failures,
    };
  });
}

async function ask({ caller, model: name, stream, failures }: Plan): Promise<HttpAnswer> {
  const words = Object.entries(failures).map(([server, failure]) => `[[${server}: ${WORDS[failure]}]]`);
  return await http(url, {
    agent,
    timeoutMs: 60_000,
    headers: { authorization: `Bearer ${caller === "eu" ? EU.key : US.key}`, "x-caller": caller },
    body: { model: name, stream, messages: [{ role: "user", content: words.join(" ") }] },
  });
}

/** Requests of one caller that a server has received. */
function received(name: string, caller: Plan["caller"]): number {
  return (servers.get(name)?.stats().last ?? []).filter(({ headers }) => headers["x-caller"] === caller).length;
}

const fails = (failure: Failure | undefined): boolean => failure !== "well" && failure !== "slow";
const answers: { readonly plan: Plan; readonly answer: HttpAnswer }[] = [];

test(`no request of an EU application out of ${REQUESTS} reaches a model that the law forbids`, async () => {
  const plans = plan();
  const began = performance.now();
  await runInTurns(plans, AT_ONCE, async (each) => {
    answers.push({ plan: each, answer: await ask(each) });
  });
  const tookMs = performance.now() - began;
  const counts = [...servers.keys()].map((name) => `${name} ${received(name, "eu")} + ${received(name, "us")}`);
  const refused = answers.filter(({ plan: { caller }, answer: { status } }) => caller === "eu" && status !== 200);
  console.info(
    `seed ${SEED}: ${REQUESTS} requests, ${Math.round((1_000 * REQUESTS) / tookMs)}/s; received of EU + US: ${counts.join(", ")}; ` +
      `EU requests without an answer: ${refused.length} (${refused.filter(({ answer: { status } }) => status === 403).length} refused)`,
  );

  expect(answers).toHaveLength(REQUESTS);
  for (const name of Object.keys(ILLEGAL)) expect(received(name, "eu"), name).toBe(0);
  // They are up, and answer whoever may ask them.
  for (const name of Object.keys(ILLEGAL)) expect(received(name, "us"), name).toBeGreaterThan(0);
  for (const name of LEGAL) expect(received(name, "eu"), name).toBeGreaterThan(1_000);
}, 240_000);

test("each was answered by what is legal as long as that answers, and else with an error that says so", () => {
  const ofEu = answers.filter(({ plan: { caller } }) => caller === "eu");
  const wrong = ofEu.filter(({ plan: { model: name, failures }, answer }) => {
    if (name === "orion") return !(answer.status === 403 && answer.text().includes("no_legal_target"));
    const down = LEGAL.every((server) => fails(failures[server]));
    if (!down) return answer.status !== 200 || !LEGAL.some((server) => answer.headers["x-served-by"] === server);
    return answer.status !== 503 || answer.headers["x-chancery-decision"] === undefined;
  });
  const summary = wrong.slice(0, 5).map(({ plan: each, answer }) => ({ ...each, status: answer.status }));
  expect(summary).toEqual([]);
  // Enough moments in which nothing legal answers.
  expect(ofEu.filter(({ answer: { status } }) => status === 503).length).toBeGreaterThan(300);
});

test("the record of each says which rule took away which target, and why", async () => {
  const records = await waitFor(
    async () => {
      const all = await plane.records();
      return all.length >= REQUESTS && new Map(all.map((record) => [record.id, record]));
    },
    30_000,
    "a record for each request",
  );
  expect(records.size).toBe(REQUESTS);
  const wrong: { readonly plan: Plan; readonly record: DecisionRecord | undefined }[] = [];
  for (const { plan: each, answer } of answers) {
    if (each.caller !== "eu") continue;
    const record = records.get(String(answer.headers["x-chancery-decision"]));
    if (record === undefined || !explains(record, each)) wrong.push({ plan: each, record });
  }
  expect(wrong.slice(0, 3)).toEqual([]);
}, 60_000);

function explains(
  { effect, code, application: name, targets, removed }: DecisionRecord,
  { model: asked }: Plan,
): boolean {
  const removedBy = new Map(removed.map((removal) => [removal.pool, removal]));
  const explained = Object.values(ILLEGAL)
    .filter(({ pool }) => asked !== "orion" || pool === ILLEGAL.substitute.pool)
    .every(({ pool, rule }) => {
      const removal = removedBy.get(pool);
      const named = asked === "atlas@v2" && pool === ILLEGAL.unattested.pool ? "chancery:model" : rule;
      return removal?.rule === named && removal.reason !== "";
    });
  if (!explained || name !== "eu") return false;
  if (asked === "orion") return effect === "deny" && code === "no_legal_target" && targets.length === 0;
  return effect === "allow" && targets.join() === LEGAL_POOLS.join();
}
