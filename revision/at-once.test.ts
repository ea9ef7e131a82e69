import { expect, test } from "vitest";
import { eachOf } from "./at-once.ts";

test("calls for each, never more at a time than allowed", async () => {
  const done: number[] = [];
  let running = 0;
  let most = 0;
  await eachOf(20, 4, async (index) => {
    running += 1;
    most = Math.max(most, running);
    await Promise.resolve();
    done.push(index);
    running -= 1;
  });
  expect(done.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, index) => index));
  expect(most).toBe(4);
});

test("begins no more after a failure, and throws it when the others have ended", async () => {
  const begun: number[] = [];
  const slow = Promise.withResolvers<void>();
  let slowEnded = false;
  const all = eachOf(10, 2, async (index) => {
    begun.push(index);
    if (index === 1) throw new Error("it failed");
    await slow.promise;
    slowEnded = true;
  });
  slow.resolve();
  await expect(all).rejects.toThrow("it failed");
  expect(begun).toEqual([0, 1]);
  expect(slowEnded).toBe(true);
});
