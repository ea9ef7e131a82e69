import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Arm, armsFor, pointOf, unitHash } from "./splits.ts";

const UNITS = Array.from({ length: 100_000 }, (_, index) => `user-${index}`);

function armOf(arms: readonly Arm[], salt: string, unit: string): string {
  return armsFor(arms, unitHash(salt, unit))[0]?.name ?? "";
}

/** Σ (observed − expected)² / expected */
function chiSquare(observed: readonly number[], expected: readonly number[]): number {
  return observed.reduce(
    (sum, count, index) => sum + (count - (expected[index] ?? 0)) ** 2 / (expected[index] ?? 1),
    0,
  );
}

/** Critical values at p = 0.001 by degrees of freedom. */
const CRITICAL = [0, 10.83, 13.82, 16.27];

describe("the hash of a unit", () => {
  test("is what sha256sum says of salt, zero byte and unit", () => {
    expect(unitHash("atlas-v2", "user-1")).toBe("fba8e0541493977f");
    expect(unitHash("atlas-v2", "user-2")).toBe("e064ee5010d1dfab");
  });

  test("lies in [0, 1)", () => {
    expect(pointOf("0000000000000000")).toBe(0);
    expect(pointOf("8000000000000000")).toBe(0.5);
    expect(pointOf("ffffffffffffffff")).toBeLessThan(1);
  });

  test.each(["atlas-v2", "a", "team/chat/tone"])("spreads 100,000 units evenly under salt %s", (salt) => {
    const quarters = Array.from({ length: 4 }, () => 0);
    for (const unit of UNITS) {
      const at = Math.floor(pointOf(unitHash(salt, unit)) * 4);
      quarters[at] = (quarters[at] ?? 0) + 1;
    }
    expect(chiSquare(quarters, [25_000, 25_000, 25_000, 25_000])).toBeLessThan(CRITICAL[3] ?? 0);
  });

  test("of one salt says nothing about another", () => {
    const cells = [0, 0, 0, 0];
    for (const unit of UNITS) {
      const at = (pointOf(unitHash("one", unit)) < 0.5 ? 0 : 1) + (pointOf(unitHash("two", unit)) < 0.5 ? 0 : 2);
      cells[at] = (cells[at] ?? 0) + 1;
    }
    expect(chiSquare(cells, [25_000, 25_000, 25_000, 25_000])).toBeLessThan(CRITICAL[3] ?? 0);
  });
});

describe("arms", () => {
  const ARMS: readonly Arm[] = [
    { name: "control", weight: 50 },
    { name: "warm", weight: 30 },
    { name: "cold", weight: 20 },
  ];

  test.each(["tone", "team/chat/tone", "x"])("get their shares of 100,000 units under salt %s", (salt) => {
    const counts = Map.groupBy(UNITS, (unit) => armOf(ARMS, salt, unit));
    const observed = ARMS.map(({ name }) => counts.get(name)?.length ?? 0);
    expect(chiSquare(observed, [50_000, 30_000, 20_000])).toBeLessThan(CRITICAL[2] ?? 0);
  });

  test("are the same in whatever order they are written", () => {
    for (const unit of UNITS.slice(0, 2_000)) {
      expect(armOf(ARMS.toReversed(), "tone", unit)).toBe(armOf(ARMS, "tone", unit));
    }
  });

  test("of weight 0 get nobody", () => {
    const none = { name: "none", weight: 0 };
    for (const unit of UNITS.slice(0, 200)) {
      expect(armsFor([none], unitHash("tone", unit))).toEqual([]);
      expect(armsFor([none, ...ARMS], unitHash("tone", unit))).not.toContain(none);
    }
  });

  const weights = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 2, maxLength: 5 });
  const named = (values: readonly number[]): readonly Arm[] =>
    values.map((weight, index) => ({ name: `arm-${index}`, weight }));
  const few = UNITS.slice(0, 400).map((unit) => unitHash("property", unit));
  const first = (arms: readonly Arm[], unit: string) => armsFor(arms, unit)[0]?.name;

  test("keep their units when another arm goes, whose units get their second arm", () => {
    fc.assert(
      fc.property(weights, fc.nat(4), (values, gone) => {
        const arms = named(values);
        const rest = arms.filter((_, index) => index !== gone % arms.length);
        for (const unit of few) {
          const [own, second] = armsFor(arms, unit);
          expect(first(rest, unit)).toBe(own !== undefined && rest.includes(own) ? own.name : second?.name);
        }
      }),
      { numRuns: 25 },
    );
  });

  test("only gain units where their own weight alone grows", () => {
    fc.assert(
      fc.property(weights, fc.nat(4), fc.integer({ min: 1, max: 100 }), (values, which, more) => {
        const grown = which % values.length;
        const before = named(values);
        const after = named(values.map((weight, index) => (index === grown ? weight + more : weight)));
        for (const unit of few) {
          const now = first(after, unit);
          if (now !== first(before, unit)) expect(now).toBe(`arm-${grown}`);
        }
      }),
      { numRuns: 25 },
    );
  });

  test("of two exchange exactly the difference of their shares", () => {
    const at = (share: number, unit: string) =>
      armOf(
        [
          { name: "new", weight: share },
          { name: "old", weight: 100 - share },
        ],
        "tone",
        unit,
      );
    let moved = 0;
    for (const unit of UNITS) {
      const before = at(5, unit);
      const after = at(10, unit);
      if (before === after) continue;
      expect([before, after]).toEqual(["old", "new"]);
      moved += 1;
    }
    expect(chiSquare([moved, 100_000 - moved], [5_000, 95_000])).toBeLessThan(CRITICAL[1] ?? 0);
  });

  test("of three exchange at most twice the difference of their shares", () => {
    const after: readonly Arm[] = [
      { name: "control", weight: 40 },
      { name: "warm", weight: 40 },
      { name: "cold", weight: 20 },
    ];
    const moved = UNITS.filter((unit) => armOf(ARMS, "tone", unit) !== armOf(after, "tone", unit)).length;
    // 2δ / (1 + δ) for δ = 0.1, and the sampling error of 100,000 units.
    expect(moved / UNITS.length).toBeLessThan(0.2 / 1.1 + 0.005);
    expect(moved / UNITS.length).toBeGreaterThan(0.095);
  });
});
