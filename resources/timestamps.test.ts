import { describe, expect, it } from "vitest";
import { isTimestamp, timestampMs } from "./timestamps.ts";

describe("isTimestamp", () => {
  it.each([
    "2026-01-31T00:00:00Z",
    "2024-02-29T23:59:59.123456789+05:30",
    "0001-01-01t00:00:00z",
    "2026-12-31T23:59:59-00:00",
  ])("takes %s", (text) => {
    expect(isTimestamp(text)).toBe(true);
  });

  it.each([
    "2026-01-31",
    "2026-01-31T00:00:00",
    "2026-02-30T00:00:00Z",
    "2025-02-29T00:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-00-10T00:00:00Z",
    "2026-01-31T24:00:00Z",
    "2026-01-31T00:00:60Z",
    "2026-01-31T00:00:00+25:00",
    "2026-01-31 00:00:00Z",
    "",
  ])("refuses %j", (text) => {
    expect(isTimestamp(text)).toBe(false);
  });

  it("is milliseconds since the epoch", () => {
    expect(timestampMs("1970-01-01t00:00:01.5z")).toBe(1_500);
    expect(timestampMs("1970-01-01T01:00:00+01:00")).toBe(0);
  });
});
