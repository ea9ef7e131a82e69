import { hash } from "node:crypto";
import { PerformanceObserver } from "node:perf_hooks";
import { setImmediate } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { create, toBinary } from "@bufbuild/protobuf";
import { Registry } from "prom-client";
import type { Layout } from "../../compiler/index.ts";
import {
  type ActiveRevision,
  buildTables,
  CheckReader,
  createDecisionService,
  type DecisionContext,
  type DecisionTables,
  decisionIds,
  reachVerdict,
} from "../../ext-authz/index.ts";
import {
  type ApplicationFacts,
  compilePolicy,
  createPolicyCompiler,
  type Policy,
  type PolicyCompiler,
  type PolicyProgram,
  type ProgramRule,
  SLICE_MS,
  type Target,
} from "../../policy/index.ts";
import { CheckRequestSchema } from "../../protos/gen/envoy/service/auth/v3/external_auth_pb.ts";

/**
 * From the bytes of a CheckRequest of 1 KB to the verdict of the policy, then all of `check()`, then compiling. Rules as
 * in the baseline: tenant equality, method, path prefix in whole segments, and region in a list or a role; ten a tenant,
 * of which two deny. 2,000 distinct requests. Beside them rules that no index can help, rules that read what verdicts are
 * not kept by, and two restrict rules for each of two targets.
 */

const INPUTS = 2_000;
const SIZES = [10, 100, 1_000, 10_000];
const ROUNDS = 3;
const RULES_PER_TENANT = 10;
const ISSUER = "https://id.example";
const NOW = Date.parse("2026-11-21T12:00:00Z");
const METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"];
const RESOURCES = ["orders", "invoices", "users", "reports", "files"];
const REGIONS = ["eu-west", "eu-north", "us-east", "us-west", "ap-south"];

setFlagsFromString("--expose-gc");
const collect: unknown = runInNewContext("gc");
function collectGarbage(): void {
  if (typeof collect === "function") collect();
}

type Kind = "indexable" | "not indexable";

function ruleOf(index: number, kind: Kind): ProgramRule {
  const tenant = `t${Math.floor(index / RULES_PER_TENANT)}`;
  const number = index % RULES_PER_TENANT;
  const base = `/api/${RESOURCES[number % RESOURCES.length]}`;
  const regions = [REGIONS[number % 5], REGIONS[(number + 1) % 5], REGIONS[(number + 2) % 5]];
  const owner = kind === "indexable" ? `subject.tenant == "${tenant}"` : `subject.tenant.endsWith("${tenant}")`;
  const conditions =
    kind === "indexable"
      ? [
          `request.method == "${METHODS[number % METHODS.length]}"`,
          `(request.url_path == "${base}" || request.url_path.startsWith("${base}/"))`,
        ]
      : [`!(request.method != "${METHODS[number % METHODS.length]}")`, `request.url_path.contains("${base}/")`];
  return {
    id: `bench/r${index}`,
    scope: ".",
    mode: "enforce",
    effect: number >= 8 ? "deny" : "allow",
    when: [
      owner,
      ...conditions,
      `(subject.region in ${JSON.stringify(regions)} || "admin" in subject.claims.roles)`,
    ].join(" && "),
    reason: "the baseline",
    references: [],
  };
}

const TARGETS: readonly Target[] = ["a", "b"].map((name) => ({
  pool: `upstream/${name}`,
  kind: "upstream",
  upstream: name,
  labels: { place: name === "a" ? "eu" : "us" },
  credential: "none",
}));

function restriction(id: string, require: string): ProgramRule {
  return { id, scope: ".", mode: "enforce", effect: "restrict", require, reason: "the baseline", references: [] };
}

const APPLICATION: ApplicationFacts = {
  key: "bench",
  scope: ".",
  mode: "enforce",
  purpose: "",
  riskTier: "limited",
  dataClasses: ["pii"],
  jurisdictions: ["EU"],
  minimumScores: [],
  durability: "bestEffort",
  substitutes: [],
  apiKeys: [],
  jwt: [{ issuer: ISSUER, audiences: [], claims: {}, subject: { tenant: "tenant", region: "region" } }],
  anonymous: false,
  labels: {},
};

function programOf(rules: number, kind: Kind): PolicyProgram {
  return {
    rules: [
      ...Array.from({ length: rules }, (_, index) => ruleOf(index, kind)),
      restriction("bench/place", `target.labels.place != "us" || subject.region != "nowhere"`),
      restriction("bench/kind", `target.kind == "upstream" && !("secret" in application.dataClasses)`),
    ],
    applications: [APPLICATION],
    models: [],
    targets: TARGETS,
    approvals: [],
  };
}

const LAYOUT: Layout = {
  hash: "0123456789abcdef0123456789abcdef",
  nodeGroup: "edge",
  routes: [
    {
      id: "web/0/0",
      gateway: "edge",
      httpRoute: "web",
      scope: ".",
      action: "plain",
      groups: TARGETS.map(({ pool }) => ({ name: pool, clusters: [{ name: pool, weight: 1 }] })),
      attempts: 2,
      models: [],
      body: false,
    },
  ],
};

function revisionOf(program: PolicyProgram): ActiveRevision {
  const createdAt = "2026-11-21T11:00:00Z";
  return { number: 1, digest: "sha256:0", createdAt, signedBy: ["bench"], program, layouts: [LAYOUT] };
}

function tablesOf(program: PolicyProgram, policy: Policy): DecisionTables {
  return buildTables(revisionOf(program), [LAYOUT], policy);
}

/** Input `index` of those for so many rules: spread over tenants, methods, resources, regions and roles. */
function requestOf(index: number, rules: number, id = index): Uint8Array {
  const tenants = Math.max(1, rules / RULES_PER_TENANT);
  const method = METHODS[index % METHODS.length] ?? "GET";
  const path = `/api/${RESOURCES[index % RESOURCES.length]}/${id}`;
  const claims = {
    iss: ISSUER,
    sub: `user-${index}`,
    aud: "gateway",
    exp: NOW / 1000 + 600,
    tenant: `t${(index * 7) % tenants}`,
    region: REGIONS[(index >> 3) % REGIONS.length] ?? "",
    roles: index % 11 === 0 ? ["user", "admin"] : ["user", "reader"],
  };
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  // As long and as random as a signature by ES256.
  const signature = hash("sha512", String(index), "base64url");
  const token = `${part({ alg: "ES256", kid: "k1" })}.${part(claims)}.${signature}`;
  const headers = [
    [":authority", "api.example.com"],
    [":path", path],
    [":method", method],
    [":scheme", "https"],
    ["user-agent", "bench/1.0"],
    ["accept", "application/json"],
    ["authorization", `Bearer ${token}`],
    ["x-forwarded-for", "192.0.2.7"],
    ["x-forwarded-proto", "https"],
    ["x-request-id", `00000000-0000-4000-8000-${String(id).padStart(12, "0")}`],
  ] as const;
  const socket = (address: string, port: number) => ({
    address: {
      case: "socketAddress" as const,
      value: { address, portSpecifier: { case: "portValue" as const, value: port } },
    },
  });
  return toBinary(
    CheckRequestSchema,
    create(CheckRequestSchema, {
      attributes: {
        source: { address: socket("192.0.2.7", 51_000) },
        destination: { address: socket("192.0.2.1", 10_000) },
        contextExtensions: { route: "web/0/0", layout: LAYOUT.hash, node_group: "edge" },
        metadataContext: { filterMetadata: { "envoy.filters.http.jwt_authn": { claims } } },
        request: {
          time: { seconds: BigInt(NOW / 1000), nanos: 0 },
          http: {
            id: String(id),
            method,
            path,
            host: "api.example.com",
            scheme: "https",
            protocol: "HTTP/2",
            headerMap: { headers: headers.map(([key, value]) => ({ key, rawValue: Buffer.from(value) })) },
          },
        },
      },
    }),
  );
}

type Step = (bytes: Uint8Array) => "allow" | "deny";

/** Time that passes, and draws that differ, as in a process that serves. */
function contextOf(tables: DecisionTables): DecisionContext {
  let state = 1;
  const random = (): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state / 2 ** 32;
  };
  const decisionId = "00000000-0000-4000-8000-000000000000";
  return { tables, service: "bench", decisionId, now: NOW, random, elapsedUs: () => 0 };
}

/** Bytes to the verdict of the policy: decoding, identity, rules, candidates. */
function toVerdict(tables: DecisionTables): Step {
  const reader = new CheckReader();
  const context = contextOf(tables);
  return (bytes) => {
    const check = reader.read(bytes);
    if (check === undefined) throw new Error("a request of the benchmark is not read");
    const verdict = reachVerdict(check, context);
    if (!("effect" in verdict)) throw new Error(`unexpected refusal ${verdict.code}: ${verdict.message}`);
    return verdict.effect;
  };
}

/** Runs all, and counts the denials, so that nothing can be optimised away. */
function runAll(requests: readonly Uint8Array[], step: Step): number {
  let denied = 0;
  for (const bytes of requests) if (step(bytes) === "deny") denied += 1;
  return denied;
}

/** CPU microseconds (user and system) of a call. */
function cpuOf(run: () => void): number {
  const before = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

/** Bytes of heap that a decision leaves behind; the median, where a collection in between does not count. */
function garbageOf(requests: readonly Uint8Array[], step: Step): number {
  const some = requests.slice(0, 200);
  const deltas: number[] = [];
  for (let round = 0; round < 9; round += 1) {
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    runAll(some, step);
    const delta = process.memoryUsage().heapUsed - before;
    if (delta > 0) deltas.push(delta / some.length);
  }
  return median(deltas);
}

interface Row {
  readonly name: string;
  readonly cold: number;
  readonly warm: number;
  /** The same rules, with requests of which none has come before. */
  readonly unseen: number;
  readonly decode: number;
  readonly garbage: number;
  readonly denied: number;
}

interface Case {
  readonly name: string;
  readonly program: PolicyProgram;
  readonly requests: readonly Uint8Array[];
  /** Other ones from the same callers: another id in each path. */
  readonly others: readonly Uint8Array[];
}

/** Warm figures are of so many runs over all requests: one alone is too short to be measured. */
const REPEATS = 10;

async function measure(cases: readonly Case[]): Promise<readonly Row[]> {
  const set = cases.map((each) => {
    // Gives policies with empty memos of expressions that are compiled already.
    const compiler = createPolicyCompiler({ sliceMs: 1_000, monotonic: () => 0, rest: () => setImmediate() });
    return { ...each, compiler, warm: [] as number[], cold: [] as number[], unseen: [] as number[] };
  });
  // The engine's own warming up is nobody's cost: the first round of all cases does not count.
  for (let round = -1; round < ROUNDS; round += 1) {
    for (const { program, requests, others, compiler, warm, cold, unseen } of set) {
      const step = toVerdict(tablesOf(program, await policyOf(compiler, program)));
      collectGarbage();
      const first = cpuOf(() => runAll(requests, step)) / requests.length;
      const again = cpuOf(() => {
        for (let repeat = 0; repeat < REPEATS; repeat += 1) runAll(requests, step);
      });
      const fresh = cpuOf(() => runAll(others, step)) / others.length;
      if (round < 0) continue;
      cold.push(first);
      warm.push(again / requests.length / REPEATS);
      unseen.push(fresh);
    }
  }
  const rows: Row[] = [];
  for (const { name, program, requests, compiler, warm, cold, unseen } of set) {
    const step = toVerdict(tablesOf(program, await policyOf(compiler, program)));
    const denied = runAll(requests, step);
    const reader = new CheckReader();
    const decode = cpuOf(() => {
      let known = 0;
      for (let repeat = 0; repeat < REPEATS; repeat += 1) {
        for (const bytes of requests) known += reader.read(bytes)?.layout === LAYOUT.hash ? 1 : 0;
      }
      if (known !== requests.length * REPEATS) throw new Error("a request of the benchmark is not read");
    });
    rows.push({
      name,
      cold: median(cold),
      warm: median(warm),
      unseen: median(unseen),
      decode: decode / requests.length / REPEATS,
      garbage: garbageOf(requests, step),
      denied: denied / requests.length,
    });
  }
  return rows;
}

function baseline(rules: number, kind: Kind, inputs: number): Case {
  const requests = Array.from({ length: inputs }, (_, index) => requestOf(index, rules));
  const others = Array.from({ length: inputs }, (_, index) => requestOf(index, rules, index + 1_000_000));
  return { name: String(rules), program: programOf(rules, kind), requests, others };
}

/** A deny rule that reads something as a whole: verdicts are kept by its value, or not at all. */
function reading(name: string, when: string): Case {
  const known = baseline(1_000, "indexable", INPUTS);
  const rule: ProgramRule = {
    id: "bench/whole",
    scope: ".",
    mode: "enforce",
    effect: "deny",
    when,
    reason: "the baseline",
    references: [],
  };
  return { ...known, name, program: { ...known.program, rules: [rule, ...known.program.rules] } };
}

async function policyOf(compiler: PolicyCompiler, program: PolicyProgram): Promise<Policy> {
  const policy = await compiler.compile(program);
  if (policy === undefined || policy.problems.length > 0) throw new Error("the rules of the benchmark do not compile");
  return policy;
}

function print(title: string, rows: readonly Row[]): void {
  process.stdout.write(`\n${title}\n`);
  process.stdout.write(
    "                rules  cold µs  warm µs  unseen µs  decoding µs  garbage B  denied  warm/first\n",
  );
  for (const { name, cold, warm, unseen, decode, garbage, denied } of rows) {
    const cells = [
      name.padStart(21),
      cold.toFixed(2).padStart(8),
      warm.toFixed(2).padStart(8),
      unseen.toFixed(2).padStart(10),
      decode.toFixed(2).padStart(12),
      garbage.toFixed(0).padStart(10),
      `${(denied * 100).toFixed(0)} %`.padStart(7),
      (warm / (rows[0]?.warm ?? 1)).toFixed(2).padStart(11),
    ];
    process.stdout.write(`${cells.join(" ")}\n`);
  }
}

/** The whole of a Check, as the server asks for it: bytes in, record handed over, answer out; one at a time. */
async function measureService(rules: number): Promise<void> {
  const { program, requests } = baseline(rules, "indexable", INPUTS);
  let records = 0;
  const quiet = (): void => undefined;
  const service = createDecisionService({
    serviceName: "bench",
    compilePolicy,
    appendRecord: () => {
      records += 1;
      return Promise.resolve();
    },
    clock: Date.now,
    monotonic: () => performance.now(),
    random: Math.random,
    newId: decisionIds(),
    log: { info: quiet, warn: quiet, error: quiet },
    metrics: new Registry(),
  });
  service.activate(revisionOf(program));
  const run = async (some: readonly Uint8Array[]): Promise<number> => {
    let bytes = 0;
    let place = 0;
    await new Promise<void>((resolve) => {
      const reply = (response: Uint8Array): void => {
        bytes += response.length;
        place += 1;
        const next = some[place];
        if (next === undefined) resolve();
        else service.answer(next, undefined, reply);
      };
      service.answer(some[0] ?? new Uint8Array(), undefined, reply);
    });
    return bytes;
  };
  const figures: number[] = [];
  for (let round = -2; round < ROUNDS; round += 1) {
    collectGarbage();
    const before = process.cpuUsage();
    await run(requests);
    const { user, system } = process.cpuUsage(before);
    if (round >= 0) figures.push((user + system) / requests.length);
  }
  const deltas: number[] = [];
  for (let round = 0; round < 9; round += 1) {
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    await run(requests.slice(0, 200));
    const delta = process.memoryUsage().heapUsed - before;
    if (delta > 0) deltas.push(delta / 200);
  }
  await service.close();
  if (records === 0) throw new Error("nothing was recorded");
  process.stdout.write(
    `${String(rules).padStart(21)} ${median(figures).toFixed(2).padStart(8)} ${median(deltas).toFixed(0).padStart(10)}\n`,
  );
}

/**
 * Compiles beside a ticking loop, and says how long the loop stood still, how much CPU its thread had in a turn (the
 * system counts that in steps of up to 4 ms), and how long the longest garbage collection took.
 */
async function compileAlive(program: PolicyProgram): Promise<void> {
  const compiler = createPolicyCompiler({
    sliceMs: SLICE_MS,
    monotonic: () => performance.now(),
    rest: () => setImmediate(),
  });
  for (const name of ["first time", "unchanged", "one rule changed"]) {
    const rules =
      name === "one rule changed" ? [ruleOf(20_000, "indexable"), ...program.rules.slice(1)] : program.rules;
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    const cpu = process.cpuUsage();
    const started = performance.now();
    let done = false;
    const compiled = compiler.compile({ ...program, rules }).then((policy) => {
      done = true;
      return policy;
    });
    const stalls: number[] = [];
    const turns: number[] = [];
    const collections: number[] = [];
    const observer = new PerformanceObserver((list) => {
      for (const { duration } of list.getEntries()) collections.push(duration);
    });
    observer.observe({ entryTypes: ["gc"] });
    let used = process.threadCpuUsage();
    for (let last = performance.now(); !done; ) {
      await setImmediate();
      const now = performance.now();
      stalls.push(now - last);
      last = now;
      const { user, system } = process.threadCpuUsage(used);
      turns.push((user + system) / 1000);
      used = process.threadCpuUsage();
    }
    const policy = await compiled;
    const ms = performance.now() - started;
    const { user, system } = process.cpuUsage(cpu);
    collectGarbage();
    const bytes = (process.memoryUsage().heapUsed - before) / program.rules.length;
    if (policy === undefined || policy.problems.length > 0)
      throw new Error("the rules of the benchmark do not compile");
    // Entries come a turn later.
    await setImmediate();
    observer.disconnect();
    const descending = (values: readonly number[]) => values.toSorted((a, b) => b - a);
    const sorted = descending(stalls);
    const [turn = 0, ...otherTurns] = descending(turns);
    process.stdout.write(
      `${name.padEnd(18)} ${ms.toFixed(0).padStart(6)} ms, CPU ${((user + system) / 1000).toFixed(0)} ms, longest stall ${(sorted[0] ?? 0).toFixed(1)} ms (99th of 100: ${(sorted[Math.floor(sorted.length / 100)] ?? 0).toFixed(1)}), CPU of a turn ${turn.toFixed(1)} ms at most (second ${(otherTurns[0] ?? 0).toFixed(1)}), longest collection ${(descending(collections)[0] ?? 0).toFixed(1)} ms, ${bytes.toFixed(0)} bytes a rule\n`,
    );
  }
}

// First of all: what other policies leave behind would be taken for, or from, the memory of these rules.
process.stdout.write("Compiling 10,000 rules on the live loop\n");
await compileAlive(programOf(10_000, "indexable"));
const { length } = requestOf(0, 10);
process.stdout.write(
  `\nCheckRequest of ${length} bytes, ${INPUTS} distinct, median of ${ROUNDS} rounds, CPU per decision\n`,
);
process.stdout.write(
  "cold: empty memo; warm: the same requests again; unseen: other requests of the same callers, after these\n",
);
print(
  "From bytes to the verdict, rules of the baseline",
  await measure(SIZES.map((rules) => baseline(rules, "indexable", INPUTS))),
);
print(
  "The same, 1,000 rules of the baseline with one more that reads …",
  await measure([
    reading("a path's prefix", `request.url_path.startsWith("/internal/")`),
    reading("a path as a whole", `request.url_path.endsWith("/secret")`),
    reading("what is not kept", `request.size > 1000000`),
  ]),
);
print(
  "The same, rules that no index can help",
  await measure([10, 100, 1_000].map((rules) => baseline(rules, "not indexable", 200))),
);
process.stdout.write("\ncheck(): verdict, record and answer, one request at a time\n");
process.stdout.write("                rules   CPU µs  garbage B\n");
for (const rules of [10, 10_000]) await measureService(rules);
