import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { runProcess, spawnProcess } from "../support/index.ts";
import type { FaultResult } from "./regions-faults.ts";

const RUN = fileURLToPath(new URL("./namespaces-run.ts", import.meta.url));
const NAMESPACES = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"] as const;
/** Two namespaces that are linked. */
const PROBE = "ip link set lo up && ip link add name hub type bridge && ip link add name one type veth peer name other";
const DEADLINE_MS = 280_000;

/** @returns why namespaces cannot be had here; undefined: they can */
async function obstacle(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "it is not run by root";
  try {
    const { code, stderr } = await runProcess("unshare", [...NAMESPACES, "sh", "-c", PROBE]);
    return code === 0 ? undefined : stderr.trim();
  } catch (error) {
    return `unshare (util-linux) is not there: ${error}`;
  }
}

test("a region behind a link that breaks in all ways goes on, and catches up", async ({ skip }) => {
  const why = await obstacle();
  if (why !== undefined) console.info(`skipped 1 of 1: no linked network namespaces: ${why}`);
  skip(why !== undefined, why);
  await using run = await spawnProcess("unshare", [...NAMESPACES, process.execPath, RUN]);
  const { code } = await run.waitForEnd(DEADLINE_MS);
  expect(code, run.stderr().slice(-8_000)).toBe(0);
  const lines = run.stdout().trimEnd().split("\n");
  console.info(lines.slice(0, -1).join("\n"));
  const results: readonly FaultResult[] = JSON.parse(lines.at(-1) ?? "[]");
  expect(results).toHaveLength(5);
  for (const result of results) expect(result).toMatchObject({ wrong: 0, lost: 0 });
}, 300_000);
