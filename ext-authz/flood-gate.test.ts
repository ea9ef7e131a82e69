import { expect, it } from "vitest";
import { FloodGate } from "./flood-gate.ts";

it("lets the first of each code and second through and counts the rest", () => {
  const gate = new FloodGate(2);
  const admitted = [0, 1, 2, 999, 1000, 1001, 1002].map((now) => gate.admit("invalid_token", now));
  expect(admitted).toEqual([true, true, false, false, true, true, false]);
  expect(gate.admit("missing_credentials", 2)).toBe(true);
  gate.count("overloaded");
  expect(gate.drain()).toEqual({ invalid_token: 3, overloaded: 1 });
  expect(gate.drain()).toBeUndefined();
});

it("keeps what could not be written", () => {
  const gate = new FloodGate(0);
  expect(gate.admit("a", 0)).toBe(false);
  const counts = gate.drain() ?? {};
  gate.admit("a", 0);
  gate.restore(counts);
  expect(gate.drain()).toEqual({ a: 2 });
});
