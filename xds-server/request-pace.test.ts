import fc from "fast-check";
import { expect, test } from "vitest";
import { createRequestPace } from "./request-pace.ts";

test("a burst is taken at once, what is more waits its time, and a pause makes up for it", () => {
  const pace = createRequestPace({ requestsPerSecond: 100, requestBurst: 3 }, 0);
  expect([0, 0, 0, 0, 0].map((now) => pace.taken(now))).toEqual([0, 0, 0, 10, 20]);
  expect([1_000, 1_000, 1_000, 1_000].map((now) => pace.taken(now))).toEqual([0, 0, 0, 10]);
});

test("whoever waits as told stays within rate and burst", () => {
  const settings = { requestsPerSecond: 50, requestBurst: 5 };
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 200 }), { maxLength: 200 }), (pauses) => {
      const pace = createRequestPace(settings, 0);
      let now = 0;
      for (const [index, pause] of pauses.entries()) {
        now += pause + pace.taken(now + pause);
        expect(index + 1).toBeLessThanOrEqual(
          settings.requestBurst + (now * settings.requestsPerSecond) / 1_000 + 1e-6,
        );
      }
    }),
  );
});
