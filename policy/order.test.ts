import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { inOrder } from "./order.ts";

const item = (name: string, weight: number, ...keys: number[]) => ({ name, weight, keys });
const names = (items: readonly { readonly name: string }[]) => items.map(({ name }) => name).join("");

describe("inOrder", () => {
  test("keys decide before the draw, left to right", () => {
    const items = [
      item("a", 1, 1, 0),
      item("b", 1, 0, 1),
      item("c", 9, 0, 2),
      item("d", 1, Number.POSITIVE_INFINITY, 0),
    ];
    expect(names(inOrder(items, 0.99))).toBe("bcad");
  });

  test("each comes first as often as its weight says, and second as often as the rest says", () => {
    const items = [item("a", 6, 0), item("b", 3, 0), item("c", 1, 0)];
    const counts = new Map<string, number>();
    const draws = 10_000;
    for (let at = 0; at < draws; at += 1) {
      const order = names(inOrder(items, (at + 0.5) / draws));
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    // P(abc) = 6/10 × 3/4, and so on: an evenly spaced draw hits each share exactly, but for its edges.
    const expected = { abc: 0.45, acb: 0.15, bac: 0.3 * (6 / 7), bca: 0.3 / 7, cab: 0.1 * (2 / 3), cba: 0.1 / 3 };
    for (const [order, share] of Object.entries(expected)) {
      expect(Math.abs((counts.get(order) ?? 0) - share * draws), order).toBeLessThanOrEqual(2);
    }
  });

  test("what has no weight comes last, and alone it still comes", () => {
    expect(names(inOrder([item("z", 0, 0), item("y", 1, 0), item("x", Number.NaN, 0)], 0))).toBe("yxz");
    expect(names(inOrder([item("z", 0, 0)], 0.5))).toBe("z");
    expect(inOrder([], 0.5)).toEqual([]);
  });

  test("is a permutation that does not depend on the order of its input", () => {
    const items = fc.uniqueArray(
      fc.record({
        name: fc.stringMatching(/^[a-z]{1,3}$/),
        weight: fc.nat(5),
        keys: fc.array(fc.nat(2), { minLength: 2, maxLength: 2 }),
      }),
      { selector: ({ name }) => name },
    );
    fc.assert(
      fc.property(items, fc.double({ min: -1, max: 2, noNaN: true }), (list, draw) => {
        const ordered = inOrder(list, draw);
        expect(ordered.map(({ name }) => name).toSorted()).toEqual(list.map(({ name }) => name).toSorted());
        expect(inOrder(list.toReversed(), draw)).toEqual(ordered);
      }),
    );
  });
});
