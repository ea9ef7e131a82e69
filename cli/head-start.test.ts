import { expect, test } from "vitest";
import { HeadStart } from "./head-start.ts";

const LONG = 3_600_000;

test("lets a revision through after its time when no newer one comes", async () => {
  const start = new HeadStart({ ms: () => 1, longestMs: LONG, onLongest: () => undefined });
  start.head(7);
  expect(await start.over(7)).toBe(true);
});

test("holds back a revision as soon as a newer one is there", async () => {
  const start = new HeadStart({ ms: () => LONG, longestMs: LONG, onLongest: () => undefined });
  start.head(7);
  const over = start.over(7);
  start.head(8);
  expect(await over).toBe(false);
  start.head(9);
  expect(await start.over(8)).toBe(false);
});

test("lets one through at last, and says so, when newer ones come all the time", async () => {
  const told: number[] = [];
  const start = new HeadStart({ ms: () => 1, longestMs: 0, onLongest: (number) => told.push(number) });
  start.head(8);
  expect(await start.over(7)).toBe(true);
  expect(told).toEqual([7]);
});

test("lets nothing through when it is closed", async () => {
  const start = new HeadStart({ ms: () => LONG, longestMs: LONG, onLongest: () => undefined });
  const over = start.over(7);
  start.close();
  expect(await over).toBe(false);
  expect(await start.over(7)).toBe(false);
});
