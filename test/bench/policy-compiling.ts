import { PerformanceObserver } from "node:perf_hooks";
import { setImmediate } from "node:timers/promises";
import { createPolicyCompiler, type PolicyProgram, SLICE_MS } from "../../policy/index.ts";
import { collectGarbage, cpuSince } from "./measures.ts";
import { programOf, ruleOf } from "./policy-workload.ts";

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
    let atTurn = process.threadCpuUsage();
    for (let last = performance.now(); !done; ) {
      await setImmediate();
      const now = performance.now();
      stalls.push(now - last);
      last = now;
      const { user, system } = process.threadCpuUsage(atTurn);
      turns.push((user + system) / 1000);
      atTurn = process.threadCpuUsage();
    }
    const policy = await compiled;
    const ms = performance.now() - started;
    const used = cpuSince(cpu);
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
      `${name.padEnd(18)} ${ms.toFixed(0).padStart(6)} ms, CPU ${(used / 1000).toFixed(0)} ms, longest stall ${(sorted[0] ?? 0).toFixed(1)} ms (99th of 100: ${(sorted[Math.floor(sorted.length / 100)] ?? 0).toFixed(1)}), CPU of a turn ${turn.toFixed(1)} ms at most (second ${(otherTurns[0] ?? 0).toFixed(1)}), longest collection ${(descending(collections)[0] ?? 0).toFixed(1)} ms, ${bytes.toFixed(0)} bytes a rule\n`,
    );
  }
}

process.stdout.write("Compiling 10,000 rules on the live loop\n");
await compileAlive(programOf(10_000, "indexable"));
