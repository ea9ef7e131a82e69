import { fileURLToPath } from "node:url";
import { runProcess, type SpawnedProcess, type SpawnOptions, spawnProcess } from "./spawn-process.ts";

const MAIN = fileURLToPath(new URL("../../cli/main.ts", import.meta.url));

/** Runs the `chancery` command to its end, as a process of its own. */
export function runChancery(...args: readonly string[]): ReturnType<typeof runProcess> {
  return runProcess(process.execPath, [MAIN, ...args]);
}

/** Starts the `chancery` command, as a process of its own. */
export function startChancery(args: readonly string[], options: SpawnOptions = {}): Promise<SpawnedProcess> {
  return spawnProcess(process.execPath, [MAIN, ...args], options);
}
