import { expect, test } from "vitest";
import { Milestones } from "./milestones.ts";

const at = (ms: number) => new Date(ms).toISOString();

test("tells the first decision of each layout, and by each revision that was in force", () => {
  const milestones = new Milestones();
  milestones.activated(7, 1_000);
  milestones.decided(7, "a", 2_000);
  milestones.decided(7, "a", 3_000);
  milestones.decided(8, "b", 4_000);
  expect(milestones.report()).toEqual({
    firstDecisions: { a: at(2_000), b: at(4_000) },
    activeSince: { 7: at(1_000) },
    decidedSince: { 7: at(2_000) },
  });
  milestones.keepLayouts(new Set(["b"]));
  expect(milestones.report().firstDecisions).toEqual({ b: at(4_000) });
});
