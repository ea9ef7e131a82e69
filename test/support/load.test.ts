import { expect, test } from "vitest";
import { runLoad } from "./load.ts";

test("keeps every answer in order, failures too", async () => {
  const seen: number[] = [];
  const answers = await runLoad({
    rps: 2_000,
    count: 50,
    request: async (index) => {
      if (index % 10 === 3) throw new Error(`bad ${index}`);
      return index * 2;
    },
    onAnswer: (answer) => seen.push(answer.index),
  });
  expect(answers.map((answer) => answer.index)).toEqual(Array.from({ length: 50 }, (_, index) => index));
  expect(answers.filter((answer) => answer.error !== undefined).map((answer) => answer.index)).toEqual([
    3, 13, 23, 33, 43,
  ]);
  expect(answers[7]?.value).toBe(14);
  expect(seen).toHaveLength(50);
});

test("begins requests while earlier ones are unanswered, up to its bound", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let begun = 0;
  const answers = await runLoad({
    rps: 10_000,
    count: 6,
    maxOpen: 4,
    request: async () => {
      begun += 1;
      await promise;
    },
    onAnswer: ({ error }) => {
      // The sixth was refused for the bound: now the open ones may end.
      if (error !== undefined) resolve();
    },
  });
  expect(begun).toBe(4);
  expect(answers.filter((answer) => answer.error !== undefined)).toHaveLength(2);
});

test("refuses a load without a rate", async () => {
  await expect(runLoad({ rps: 0, count: 1, request: async () => undefined })).rejects.toThrow("not a load");
});
