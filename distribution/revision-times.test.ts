import { expect, test } from "vitest";
import { RevisionTimes } from "./revision-times.ts";

test("keeps the times of the last sixteen revisions, as a report says them", () => {
  const times = new RevisionTimes();
  for (let revision = 1; revision <= 17; revision += 1) times.set(revision, revision * 1_000);
  expect([times.has(1), times.has(2), times.has(17)]).toEqual([false, true, true]);
  expect(Object.keys(times.report())).toHaveLength(16);
  expect(times.report()).toMatchObject({ 17: "1970-01-01T00:00:17.000Z" });
});

test("a revision that comes again is the latest", () => {
  const times = new RevisionTimes();
  for (let revision = 1; revision <= 16; revision += 1) times.set(revision, 0);
  times.set(1, 5_000);
  times.set(17, 6_000);
  expect([times.has(1), times.has(2)]).toEqual([true, false]);
  expect(times.report()["1"]).toBe("1970-01-01T00:00:05.000Z");
});
