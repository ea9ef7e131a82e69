import { expect, test } from "vitest";
import type { Clock } from "./clock.ts";
import { createCoalescer } from "./coalesce.ts";

function manualClock(): Clock & { pass(ms: number): void } {
  let now = 0;
  let timers: { readonly at: number; readonly callback: () => void }[] = [];
  return {
    now: () => now,
    after(ms, callback) {
      const timer = { at: now + ms, callback };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    pass(ms) {
      const end = now + ms;
      for (;;) {
        const next = timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
        if (next === undefined) break;
        timers = timers.filter((other) => other !== next);
        now = next.at;
        next.callback();
      }
      now = end;
    },
  };
}

function coalescing(quietMs: number, maxMs: number) {
  const clock = manualClock();
  const pushes: number[] = [];
  const coalescer = createCoalescer({ quietMs, maxMs }, clock, () => void pushes.push(clock.now()));
  return { clock, pushes, coalescer };
}

test("a change that comes alone is pushed at once", () => {
  const { clock, pushes, coalescer } = coalescing(10, 100);
  coalescer.changed();
  clock.pass(50);
  coalescer.changed();
  expect(pushes).toEqual([0, 50]);
});

test("the rest of a burst is one push after it is quiet", () => {
  const { clock, pushes, coalescer } = coalescing(10, 100);
  for (let change = 0; change < 5; change++) {
    coalescer.changed();
    clock.pass(5);
  }
  clock.pass(1_000);
  expect(pushes).toEqual([0, 30]);
});

test("a burst without end is pushed at least every maximum", () => {
  const { clock, pushes, coalescer } = coalescing(10, 100);
  for (let change = 0; change <= 60; change++) {
    coalescer.changed();
    clock.pass(5);
  }
  clock.pass(1_000);
  expect(pushes.length).toBeGreaterThanOrEqual(4);
  for (const [index, at] of pushes.entries())
    if (index > 0) expect(at - (pushes[index - 1] ?? 0)).toBeLessThanOrEqual(110);
});

test("no quiet time pushes each change, and nothing is pushed after the end", () => {
  const each = coalescing(0, 100);
  for (let change = 0; change < 3; change++) each.coalescer.changed();
  expect(each.pushes).toEqual([0, 0, 0]);
  const { clock, pushes, coalescer } = coalescing(10, 100);
  coalescer.changed();
  coalescer.changed();
  coalescer.close();
  clock.pass(1_000);
  expect(pushes).toEqual([0]);
});
