import { expect, test } from "vitest";
import { addLatency, type LatencyWindow, latencySummary } from "./latency.ts";

const windowOf = (...values: readonly number[]): LatencyWindow =>
  values.reduce<LatencyWindow>((window, value) => addLatency(window, value), []);

test("has no summary without a sample", () => {
  expect(latencySummary([])).toBeUndefined();
});

test("quantiles are values that were measured, by nearest rank", () => {
  expect(latencySummary(windowOf(7))).toEqual({ count: 1, p50: 7, p99: 7, max: 7 });
  const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
  expect(latencySummary(windowOf(...hundred))).toEqual({ count: 100, p50: 50, p99: 99, max: 100 });
});

test("old samples leave", () => {
  const many = Array.from({ length: 3_000 }, (_, index) => index);
  expect(latencySummary(windowOf(...many))).toMatchObject({ count: 1_024, max: 2_999, p50: 1_976 + 511 });
});
