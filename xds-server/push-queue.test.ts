import { expect, test } from "vitest";
import { createPushQueue } from "./push-queue.ts";

/** A queue whose pushes take 1 ms each, in slices of 3 ms; turns are given by hand. */
function queueOf() {
  let time = 0;
  const pushed: string[] = [];
  const turns: (() => void)[] = [];
  const queue = createPushQueue<string>({
    push: (item, urgent) => {
      time += 1;
      pushed.push(urgent ? `${item}!` : item);
    },
    sliceMs: 3,
    elapsed: () => time,
    yieldTurn: (callback) => void turns.push(callback),
  });
  const turn = () => {
    pushed.length = 0;
    turns.shift()?.();
    return [...pushed];
  };
  return { queue, pushed, turns, turn };
}

test("a long push is made in slices, in order, and each item once", () => {
  const { queue, pushed, turns, turn } = queueOf();
  queue.add(["a", "b", "c", "d", "e"], false);
  queue.add(["b"], false);
  queue.run();
  expect(pushed).toEqual(["a", "b", "c"]);
  expect(turn()).toEqual(["d", "e"]);
  expect(turns).toEqual([]);
});

test("what is urgent overtakes a long push at the next turn", () => {
  const { queue, turn } = queueOf();
  queue.add(["a", "b", "c", "d", "e", "f", "g", "h"], false);
  queue.run();
  queue.add(["x"], true);
  queue.run();
  expect(turn().indexOf("x!")).toBeLessThanOrEqual(1);
});

test("urgent pushes without end do not starve the others", () => {
  const { queue, turn } = queueOf();
  queue.add(["a", "b"], false);
  const seen: string[] = [];
  for (let round = 0; round < 6; round++) {
    queue.add(["x", "y", "z", "w"], true);
    queue.run();
    seen.push(...turn());
  }
  expect(seen).toEqual(expect.arrayContaining(["a", "b"]));
});

test("what is removed is not pushed, and nothing is pushed after the end", () => {
  const { queue, pushed, turn } = queueOf();
  queue.add(["a", "b", "c", "d", "e"], false);
  queue.remove("b");
  queue.run();
  expect(pushed).toEqual(["a", "c", "d"]);
  queue.close();
  expect(turn()).toEqual([]);
});
