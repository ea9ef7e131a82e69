import { setImmediate } from "node:timers/promises";
import { Registry } from "prom-client";
import {
  buildTables,
  CheckReader,
  createDecisionService,
  type DecisionContext,
  type DecisionTables,
  decisionIds,
  reachVerdict,
} from "../../ext-authz/index.ts";
import {
  compilePolicy,
  createPolicyCompiler,
  type Policy,
  type PolicyCompiler,
  type PolicyProgram,
  type ProgramRule,
} from "../../policy/index.ts";
import { collectGarbage, cpuSince, garbageOf, median } from "./measures.ts";
import { type Kind, LAYOUT, NOW, programOf, requestOf, revisionOf } from "./policy-workload.ts";

/**
 * From the bytes of a CheckRequest to the verdict of the policy, then all of `check()`, over 2,000 distinct requests:
 * the rules of the baseline, beside them rules that no index can help, and rules that read what verdicts are not kept
 * by.
 */

const INPUTS = 2_000;
const SIZES = [10, 100, 1_000, 10_000];
const ROUNDS = 5;

function tablesOf(program: PolicyProgram, policy: Policy): DecisionTables {
  return buildTables(revisionOf(program), [LAYOUT], policy);
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

/** CPU microseconds of a call. */
function cpuOf(run: () => void): number {
  const start = process.cpuUsage();
  run();
  return cpuSince(start);
}

/** Runs all, and counts the denials, so that nothing can be optimised away. */
function runAll(requests: readonly Uint8Array[], step: Step): number {
  let denied = 0;
  for (const bytes of requests) if (step(bytes) === "deny") denied += 1;
  return denied;
}

function runOften(requests: readonly Uint8Array[], step: Step): void {
  for (let repeat = 0; repeat < REPEATS; repeat += 1) runAll(requests, step);
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

/** Requests whose garbage is measured: few enough to be answered between two collections. */
const FOR_GARBAGE = 200;

/**
 * Warm figures are of so many runs over all requests, since one alone is too short to be measured, and after as many: the
 * engine compiles anew what a first run over new tables has taught it, on threads whose time would count.
 */
const REPEATS = 20;

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
      runOften(requests, step);
      const again = cpuOf(() => runOften(requests, step));
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
    runOften(requests, step);
    const some = requests.slice(0, FOR_GARBAGE);
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
      garbage: (await garbageOf(() => runAll(some, step))) / some.length,
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
  // A program of its own: for the very same one the compiler gives the policy that it gave before.
  const policy = await compiler.compile({ ...program });
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
  for (let round = -1; round < ROUNDS; round += 1) {
    const start = process.cpuUsage();
    for (let repeat = 0; repeat < REPEATS; repeat += 1) await run(requests);
    if (round >= 0) figures.push(cpuSince(start) / requests.length / REPEATS);
  }
  const garbage = (await garbageOf(() => run(requests.slice(0, FOR_GARBAGE)))) / FOR_GARBAGE;
  await service.close();
  if (records === 0) throw new Error("nothing was recorded");
  process.stdout.write(
    `${String(rules).padStart(21)} ${median(figures).toFixed(2).padStart(8)} ${garbage.toFixed(0).padStart(10)}\n`,
  );
}

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
