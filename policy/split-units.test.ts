import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, test } from "vitest";
import { armsOfUnits, digestOf, EXPERIMENT, rolloutAt, UNITS } from "./split-fixtures.ts";

/** Σ (observed − expected)² / expected */
function chiSquare(arms: readonly string[], expected: Readonly<Record<string, number>>): number {
  const counts = Map.groupBy(arms, (arm) => arm);
  return Object.entries(expected).reduce((sum, [arm, count]) => {
    return sum + ((counts.get(arm)?.length ?? 0) - count) ** 2 / count;
  }, 0);
}

describe("decisions about 100,000 units", () => {
  const five = armsOfUnits(rolloutAt(5));
  const ten = armsOfUnits(rolloutAt(10));
  const tone = armsOfUnits(EXPERIMENT);

  test("give each arm its share (chi-square, p = 0.001)", () => {
    expect(chiSquare(tone, { control: 50_000, warm: 30_000, cold: 20_000 })).toBeLessThan(13.82);
    expect(chiSquare(five, { to: 5_000, from: 95_000 })).toBeLessThan(10.83);
    expect(chiSquare(ten, { to: 10_000, from: 90_000 })).toBeLessThan(10.83);
  });

  test("move only the expected share when 5 % becomes 10 %", () => {
    const moved = five.flatMap((arm, index) => (arm === ten[index] ? [] : [`${arm} ${ten[index]}`]));
    expect(new Set(moved)).toEqual(new Set(["from to"]));
    const stayed = Array.from({ length: UNITS - moved.length }, () => "stayed");
    expect(chiSquare([...moved, ...stayed], { "from to": 5_000, stayed: 95_000 })).toBeLessThan(10.83);
  });

  test("are the same in another process, with another place and language", async () => {
    const program = new URL("split-fixtures.ts", import.meta.url).pathname;
    const env = { ...process.env, TZ: "Asia/Kolkata", LANG: "tr_TR.UTF-8", LC_ALL: "tr_TR.UTF-8" };
    const { stdout } = await promisify(execFile)(process.execPath, [program], { env });
    expect(stdout.trim()).toBe(`${digestOf(tone)} ${digestOf(ten)}`);
  });
});
