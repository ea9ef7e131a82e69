import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** What benchmarks of one process measure alike. */

setFlagsFromString("--expose-gc");
const collect: unknown = runInNewContext("gc");

export function collectGarbage(): void {
  if (typeof collect === "function") collect();
}

/** CPU microseconds, user and system, since `start` (`process.cpuUsage()`). */
export function cpuSince(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start);
  return user + system;
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

/** Bytes of heap that a run leaves behind: the median of nine, where a collection in between does not count. */
export async function garbageOf(run: () => unknown): Promise<number> {
  const deltas: number[] = [];
  for (let round = 0; round < 9; round += 1) {
    collectGarbage();
    const before = process.memoryUsage().heapUsed;
    await run();
    const delta = process.memoryUsage().heapUsed - before;
    if (delta > 0) deltas.push(delta);
  }
  return median(deltas);
}
