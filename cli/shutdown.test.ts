import { expect, test } from "vitest";
import { createLogger } from "./logging.ts";
import { ShutdownStack } from "./shutdown.ts";

const log = createLogger({ level: "silent", name: "test" });

test("ends things last opened first, once", async () => {
  const stack = new ShutdownStack(log, 5_000);
  const ended: string[] = [];
  for (const name of ["a", "b", "c"]) stack.add({ name, close: () => void ended.push(name) });
  expect(await Promise.all([stack.close(), stack.close()])).toEqual([true, true]);
  expect(ended).toEqual(["c", "b", "a"]);
});

test("leaves behind what does not end, and goes on after a failure", async () => {
  const stack = new ShutdownStack(log, 20);
  const ended: string[] = [];
  stack.add({ name: "last", close: () => void ended.push("last") });
  stack.add({ name: "hangs", close: () => new Promise(() => undefined) });
  stack.add({
    name: "fails",
    close: () => {
      throw new Error("no");
    },
  });
  expect(await stack.close()).toBe(false);
  expect(ended).toEqual(["last"]);
});

test("ends what comes late at once", async () => {
  const stack = new ShutdownStack(log, 5_000);
  await stack.close();
  const ended: string[] = [];
  stack.add({ name: "late", close: () => void ended.push("late") });
  await stack.close();
  expect(ended).toEqual(["late"]);
});
