import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PerformanceObserver } from "node:perf_hooks";
import { setImmediate } from "node:timers/promises";
import { Registry } from "prom-client";
import type { EncodedResource, Layout } from "../../compiler/index.ts";
import { createDecisionService, decisionIds } from "../../ext-authz/index.ts";
import { compilePolicy, createPolicyCompiler, type PolicyProgram, SLICE_MS } from "../../policy/index.ts";
import {
  createManifest,
  type Digest,
  encodeParts,
  encodeSignedManifest,
  openRevisionStore,
  resourceVersion,
} from "../../revision/index.ts";
import { collectGarbage, cpuSince } from "./measures.ts";
import { LAYOUT, programOf, requestOf, ruleOf } from "./policy-workload.ts";

/**
 * 10,000 rules on the live loop. First their compilation alone; then all that a decision service does with a revision,
 * from the bytes of its parts until it decides by it, while it answers a Check in every turn of the loop. Says how long
 * the loop stood still, and how much CPU its thread had in one turn, collections of garbage on that thread included: on
 * a machine that does other things as well, stalls are as long as those want, and this is what is ours. With
 * `--max-semi-space-size=8` Node has the young generation that `chancery authz` gives itself.
 */

const RULES = 10_000;
/** Beside the rules: as much as a gateway with thousands of routes has. */
const ROUTES = 2_000;
const RESOURCES = 5_000;
const RESOURCE_BYTES = 1_200;

const slicing = { sliceMs: SLICE_MS, monotonic: () => performance.now(), rest: () => setImmediate() };

/** CPU milliseconds of this thread. Asked of the process first, which makes the system count what has not been yet. */
function threadCpu(): number {
  process.cpuUsage();
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** Runs some work beside a loop that turns, and prints how it turned. */
async function aliveBeside<T>(
  name: string,
  work: () => Promise<T>,
  eachTurn: () => void = () => undefined,
): Promise<T> {
  const stalls: number[] = [];
  const turns: number[] = [];
  const collections: number[] = [];
  const observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) collections.push(duration);
  });
  observer.observe({ entryTypes: ["gc"] });
  const cpu = process.cpuUsage();
  const started = performance.now();
  let done = false;
  const running = work().finally(() => {
    done = true;
  });
  for (let last = started, used = threadCpu(); !done; ) {
    await setImmediate();
    eachTurn();
    const [now, usedNow] = [performance.now(), threadCpu()];
    stalls.push(now - last);
    turns.push(usedNow - used);
    [last, used] = [now, usedNow];
  }
  const result = await running;
  const ms = performance.now() - started;
  const total = cpuSince(cpu) / 1000;
  // Entries come a turn later.
  await setImmediate();
  observer.disconnect();
  const [stall = 0, ...otherStalls] = stalls.toSorted((a, b) => b - a);
  const [turn = 0, second = 0] = turns.toSorted((a, b) => b - a);
  const over = turns.filter((each) => each > 5).length;
  const longest = collections.reduce((a, b) => Math.max(a, b), 0);
  const cells = [
    name.padEnd(34),
    ms.toFixed(0).padStart(6),
    total.toFixed(0).padStart(6),
    `${turn.toFixed(1)} ${second.toFixed(1)}`.padStart(11),
    `${over} of ${turns.length}`.padStart(11),
    stall.toFixed(1).padStart(9),
    (otherStalls[Math.floor(stalls.length / 100)] ?? 0).toFixed(1).padStart(7),
    longest.toFixed(1).padStart(10),
  ];
  process.stdout.write(`${cells.join(" ")}\n`);
  return result;
}

function changed(program: PolicyProgram): PolicyProgram {
  return { ...program, rules: [ruleOf(2 * RULES, "indexable"), ...program.rules.slice(1)] };
}

async function compileAlive(program: PolicyProgram): Promise<void> {
  const compiler = createPolicyCompiler(slicing);
  // What decides has compiled rules before.
  await compiler.compile(programOf(10, "not indexable"));
  const cases = [
    ["first time", program],
    ["unchanged", { ...program }],
    ["one rule changed", changed(program)],
  ] as const;
  for (const [name, each] of cases) {
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    const policy = await aliveBeside(name, () => compiler.compile(each));
    collectGarbage();
    const bytes = (process.memoryUsage().heapUsed - before) / RULES;
    if (policy === undefined || policy.problems.length > 0) throw new Error("the rules do not compile");
    if (name === "first time") process.stdout.write(`${"".padEnd(34)} ${bytes.toFixed(0)} bytes a rule\n`);
  }
}

interface Published {
  readonly manifest: Uint8Array;
  readonly blobs: ReadonlyMap<Digest, Uint8Array>;
}

function publish(number: number, program: PolicyProgram): Published {
  const resources = Array.from({ length: RESOURCES }, (_, index): EncodedResource => {
    const value = new Uint8Array(Buffer.alloc(RESOURCE_BYTES, `upstream ${index} `));
    const name = `upstream/${String(index).padStart(5, "0")}`;
    const typeUrl = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
    return { typeUrl, name, version: resourceVersion(value), value };
  });
  const [route] = LAYOUT.routes;
  if (route === undefined) throw new Error("the layout has no route");
  const more = Array.from({ length: ROUTES - 1 }, (_, index) => ({ ...route, id: `web/0/${index + 1}` }));
  const layout: Layout = { ...LAYOUT, routes: [route, ...more] };
  const nodeGroups = [{ name: layout.nodeGroup, layout: layout.hash, resources }];
  const { parts, blobs } = encodeParts({ program, layouts: [layout], nodeGroups, secrets: [] });
  const manifest = createManifest(number, Date.parse("2026-11-21T11:00:00Z"), "bench", parts);
  return { manifest: encodeSignedManifest({ manifest, signatures: [] }), blobs };
}

async function activateAlive(program: PolicyProgram): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "chancery-bench-"));
  const quiet = (): void => undefined;
  const store = await openRevisionStore(directory, { trust: "unsigned-local", now: Date.now, slicing, onAlarm: quiet });
  const service = createDecisionService({
    serviceName: "bench",
    compilePolicy,
    policyCompiler: createPolicyCompiler(slicing),
    slicing,
    appendRecord: () => Promise.resolve(),
    clock: Date.now,
    monotonic: () => performance.now(),
    random: Math.random,
    newId: decisionIds(),
    log: { info: quiet, warn: quiet, error: quiet },
    metrics: new Registry(),
  });
  const activate = async ({ manifest, blobs }: Published): Promise<void> => {
    const { revision } = await store.accept(manifest, async (digest) => blobs.get(digest)?.slice());
    if (!(await service.adopt(revision))) throw new Error("a revision did not come into force");
  };
  await activate(publish(1, programOf(10, "indexable")));
  const requests = Array.from({ length: 2_000 }, (_, index) => requestOf(index, RULES));
  let asked = 0;
  const counted = { answers: 0 };
  const check = (): void => {
    const request = requests[asked % requests.length];
    asked += 1;
    if (request === undefined) return;
    service.answer(request, undefined, () => {
      counted.answers += 1;
    });
  };
  for (const _ of requests) check();
  const cases = [
    ["10,000 rules in place of ten", program],
    ["the program is the same", program],
    ["one rule changed", changed(program)],
  ] as const;
  for (const [index, [name, each]] of cases.entries()) {
    const revision = publish(index + 2, each);
    collectGarbage();
    await aliveBeside(name, () => activate(revision), check);
  }
  await setImmediate();
  if (counted.answers !== asked) throw new Error(`${asked - counted.answers} Checks were not answered`);
  await service.close();
  await store.close();
  await rm(directory, { recursive: true, force: true });
}

const flags = process.execArgv.join(" ");
process.stdout.write(`\n10,000 rules on the live loop${flags === "" ? "" : ` (node ${flags})`}; milliseconds\n`);
process.stdout.write(
  `${"".padEnd(34)}   wall    CPU  CPU of turn   over 5 ms longest  99th of   longest\n` +
    `${"".padEnd(34)}               1st 2nd    of turns   stall      100 collection\n`,
);
process.stdout.write("compiling\n");
const program = programOf(RULES, "indexable");
await compileAlive(program);
process.stdout.write("from the bytes of the parts until it is in force, a Check answered in every turn\n");
await activateAlive(program);
