import { expect, test } from "vitest";
import { DepartedTargets } from "./departed-targets.ts";
import { upstreamTarget } from "./fixtures.ts";

const [a, b, c] = [upstreamTarget("a"), upstreamTarget("b"), upstreamTarget("c")];

test("keeps what a revision dropped for its grace, and forgets what came back", () => {
  const departed = new DepartedTargets(100);
  departed.replace([], [a, b], 0);
  expect(departed.targets()).toEqual([]);
  departed.replace([a, b], [c], 10);
  expect(departed.targets()).toEqual([a, b]);
  departed.replace([c], [a], 50);
  expect(departed.targets()).toEqual([b, c]);
  expect(departed.forget(50)).toBe(60);
  expect(departed.forget(110)).toBe(40);
  expect(departed.targets()).toEqual([c]);
  expect(departed.forget(150)).toBeUndefined();
  expect(departed.targets()).toEqual([]);
});
