import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatDuration, parseDuration } from "./durations.ts";

describe("parseDuration", () => {
  it.each([
    ["0s", 0],
    ["250ms", 250],
    ["20s", 20_000],
    ["1h30m", 5_400_000],
    ["1m1ms", 60_001],
    ["1s1s", 2_000],
    ["99999h", 359_996_400_000],
  ])("reads %s", (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds);
  });

  it.each(["", "1", "s", "1.5s", "-1s", "1d", "1s ", "100000s", "1s1s1s1s1s", "1S", "1us"])("refuses %j", (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });
});

describe("formatDuration", () => {
  it("writes what parseDuration reads back", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 99_999 * 3_600_000 }), (milliseconds) => {
        expect(parseDuration(formatDuration(milliseconds))).toBe(milliseconds);
      }),
    );
  });

  it("writes the greatest unit first and zero as 0s", () => {
    expect(formatDuration(5_400_250)).toBe("1h30m250ms");
    expect(formatDuration(0)).toBe("0s");
  });

  it("adds up whatever units a duration has", () => {
    const part = fc.record({ count: fc.nat(99_999), unit: fc.constantFrom("h", "m", "s", "ms") });
    const units = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 4 }), (parts) => {
        const text = parts.map(({ count, unit }) => `${count}${unit}`).join("");
        const sum = parts.reduce((total, { count, unit }) => total + count * (units[unit as "h"] ?? 0), 0);
        expect(parseDuration(text)).toBe(sum);
      }),
    );
  });
});
