import { expect, test } from "vitest";
import { waitFor } from "./wait-for.ts";

test("returns the first value that is there", async () => {
  let asked = 0;
  expect(await waitFor(() => (++asked === 3 ? "here" : undefined), 5_000, "the third")).toBe("here");
});

test("counts an error as not yet", async () => {
  let asked = 0;
  const value = await waitFor(
    () => {
      asked += 1;
      if (asked < 3) throw new Error("not there");
      return asked;
    },
    5_000,
    "no error",
  );
  expect(value).toBe(3);
});

test("says what was waited for, and why it did not come", async () => {
  const failing = waitFor(
    () => Promise.reject(new Error("refused")),
    20,
    () => "an answer",
  );
  await expect(failing).rejects.toThrow("not within 20 ms: an answer (refused)");
});
