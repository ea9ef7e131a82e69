import { expect, test } from "vitest";
import { Closables } from "./closables.ts";

test("closes all, the last first, though one fails, and each once", async () => {
  const closed: string[] = [];
  const things = new Closables();
  const named = (name: string) => ({ close: () => void closed.push(name) });
  things.keep(named("first"));
  things.keep({ close: () => Promise.reject(new Error("stuck")) });
  expect(things.keep(named("last"))).toHaveProperty("close");
  await expect(things.close()).rejects.toThrow("stuck");
  expect(closed).toEqual(["last", "first"]);
  await things.close();
  expect(closed).toEqual(["last", "first"]);
});
