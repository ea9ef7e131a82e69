import { expect, test } from "vitest";
import { type Admission, type AdmissionSettings, createAdmission } from "./admission.ts";

/** An admission whose turns are given by hand, each taking as long as it is told. */
function admissionOf(settings: Partial<AdmissionSettings> = {}) {
  let time = 0;
  let turns: (() => void)[] = [];
  const log: string[] = [];
  const admission: Admission = createAdmission({
    settings: { maxStreams: 1_000, admissionWaitMs: 1_000, ...settings },
    elapsed: () => time,
    yieldTurn: (callback) => void turns.push(callback),
  });
  const apply = (name: string) =>
    admission.apply({ admit: () => void log.push(name), refuse: (reason) => void log.push(`${name}: ${reason}`) });
  const turn = (ms: number) => {
    log.length = 0;
    time += ms;
    const due = turns;
    turns = [];
    for (const callback of due) callback();
    return [...log];
  };
  return { admission, apply, log, turn, idle: () => turns.length === 0 };
}

const names = (count: number) => Array.from({ length: count }, (_, index) => `s${index}`);

test("streams are let in in order, a few each turn, and nothing goes on when all are in", () => {
  const { apply, log, turn, idle } = admissionOf();
  for (const name of names(80)) apply(name);
  const inOrder = [...log];
  expect(inOrder).toHaveLength(32);
  while (!idle()) inOrder.push(...turn(1));
  expect(inOrder).toEqual(names(80));
});

test("turns that take long let in fewer, and never none", () => {
  const { apply, turn } = admissionOf({ admissionWaitMs: 100_000 });
  for (const name of names(500)) apply(name);
  const counts = [100, 100, 100, 100, 100, 100, 100, 1, 1].map((ms) => turn(ms).length);
  expect(counts).toEqual([16, 8, 4, 2, 1, 1, 1, 2, 3]);
});

test("what waits too long is turned away, and so is what comes when there are too many", () => {
  const { admission, apply, log, turn } = admissionOf({ maxStreams: 40, admissionWaitMs: 100 });
  for (const name of names(41)) apply(name);
  expect(log.at(-1)).toBe("s40: too many xDS streams");
  expect(admission.waiting()).toBe(8);
  expect(turn(101)).toEqual(
    names(40)
      .slice(32)
      .map((name) => `${name}: the xDS server has too many new streams`),
  );
  apply("after");
  expect(log.at(-1)).toBe("after");
});

test("a stream that is over makes room, once, and is not let in afterwards", () => {
  const { apply, log, turn } = admissionOf({ maxStreams: 34 });
  const leave = names(34).map((name) => apply(name));
  leave[33]?.();
  leave[33]?.();
  apply("next");
  apply("one too many");
  expect(log.at(-1)).toBe("one too many: too many xDS streams");
  expect(turn(1)).toEqual(["s32", "next"]);
});

test("at the end what waits is turned away, and nobody is let in any more", () => {
  const { admission, apply, log, turn } = admissionOf();
  for (const name of names(33)) apply(name);
  admission.close();
  apply("late");
  expect(log.slice(-2)).toEqual(["s32: the xDS server is stopping", "late: the xDS server is stopping"]);
  expect(turn(1)).toEqual([]);
});
