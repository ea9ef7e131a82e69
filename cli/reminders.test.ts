import { expect, onTestFinished, test, vi } from "vitest";
import { isNearlyFull, logReminders } from "./operational-log.ts";
import { type Reminder, startReminders } from "./reminders.ts";

const DAY = 86_400_000;
const DEADLINE = { timeout: 10_000, interval: 2 };

test("a reminder is told at once, again each day, when it becomes an error, and when it comes back", async () => {
  const told: string[] = [];
  let now = 0;
  let current: readonly Reminder[] = [{ id: "a", level: "warn", message: "soon", fields: {} }];
  let looks = 0;
  const reminders = startReminders({
    check: () => {
      looks += 1;
      return current;
    },
    log: {
      warn: (_: object, message: string) => void told.push(`warn ${message}`),
      error: (_: object, message: string) => void told.push(`error ${message}`),
    } as Parameters<typeof startReminders>[0]["log"],
    now: () => now,
    lookMs: 1,
  });
  onTestFinished(() => reminders.close());
  const lookTwice = async (): Promise<void> => {
    const before = looks;
    await vi.waitFor(() => expect(looks).toBeGreaterThan(before + 2), DEADLINE);
  };
  await lookTwice();
  now = DAY - 1;
  await lookTwice();
  expect(told).toEqual(["warn soon"]);
  now = DAY;
  await lookTwice();
  expect(told).toEqual(["warn soon", "warn soon"]);
  current = [{ id: "a", level: "error", message: "over", fields: {} }];
  await lookTwice();
  current = [];
  await lookTwice();
  current = [{ id: "a", level: "error", message: "over", fields: {} }];
  await lookTwice();
  expect(told.slice(2)).toEqual(["error over", "error over"]);
});

test("a log is told of from four fifths on, and as an error when it is full", () => {
  const at = (entries: number) => logReminders({ entries, capacity: 100, sequence: 1_000 }).map(({ level }) => level);
  expect([79, 80, 99, 100, 101].map(at)).toEqual([[], ["warn"], ["warn"], ["error"], ["error"]]);
  expect(isNearlyFull({ entries: 80, capacity: 100 })).toBe(true);
});
