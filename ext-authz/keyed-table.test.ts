import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { KeyParts, KeyWords } from "./key-words.ts";
import { KeyedTable } from "./keyed-table.ts";

/** Two parts of a key, each with its kind. */
type Parts = readonly (readonly [kind: number, text: string])[];

const parts: fc.Arbitrary<Parts> = fc.array(
  fc.tuple(
    fc.nat({ max: 3 }),
    fc.oneof(
      fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 6 }),
      // The same length and the same end: only comparing all of it tells them apart.
      fc.string({ unit: fc.constantFrom("a", "b"), minLength: 3, maxLength: 3 }).map((text) => text + "x".repeat(40)),
    ),
  ),
  { minLength: 1, maxLength: 2 },
);

function keyOf(key: Parts): KeyParts {
  const bytes = Buffer.from(key.map(([, text]) => text).join(""));
  const made = new KeyParts(key.length);
  made.clear(new DataView(bytes.buffer, bytes.byteOffset, bytes.length));
  let at = 0;
  for (const [kind, { length }] of key) {
    made.add(kind, at, at + length);
    at += length;
  }
  return made;
}

function wordsOf(key: Parts): KeyWords {
  const made = new KeyWords(64);
  for (const [kind, text] of key) {
    const bytes = Buffer.from(text);
    made.addPart(kind, new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, bytes.length);
  }
  return made;
}

describe("a table by long keys", () => {
  test("finds what was kept for a key last, or nothing", () => {
    fc.assert(
      fc.property(
        fc.array(parts, { maxLength: 200 }),
        fc.nat(),
        fc.constantFrom(40, 200, 4_000),
        (keys, seed, words) => {
          const table = new KeyedTable<string>({ seed, words, entries: 8 });
          for (const key of keys) {
            const value = JSON.stringify(key);
            expect([undefined, value]).toContain(table.find(keyOf(key)));
            if (table.find(keyOf(key)) === undefined) table.add(keyOf(key), value);
            expect(table.find(keyOf(key))).toBe(value);
          }
        },
      ),
    );
  });

  test("knows a key by what it is, not by how it is put together", () => {
    fc.assert(
      fc.property(parts, parts, (one, other) => {
        const words = new Int32Array(64);
        keyOf(one).writeTo(words, 5);
        const { length } = keyOf(one);
        const same = JSON.stringify(one) === JSON.stringify(other);
        expect(keyOf(other).isAt(words, 5, length)).toBe(same);
        expect(wordsOf(other).isAt(words, 5, length)).toBe(same);
        const again = new Int32Array(64);
        wordsOf(one).writeTo(again, 5);
        expect(again).toEqual(words);
      }),
    );
  });

  test("grows with what it is given", () => {
    const table = new KeyedTable<number>({ seed: 7, words: 100_000, entries: 4_096 });
    const key = (number: number): KeyParts => keyOf([[0, `${"long ".repeat(number % 20)}key ${number}`]]);
    for (let number = 0; number < 3_000; number += 1) {
      table.add(key(number), number);
      expect(table.find(key(number))).toBe(number);
    }
    // None of them falls on a place that another one needs.
    for (let number = 0; number < 3_000; number += 1) expect(table.find(key(number))).toBe(number);
  });

  test("keeps the younger of two generations, and what was asked for since", () => {
    const table = new KeyedTable<number>({ seed: 1, words: 1_000, entries: 4 });
    const key = (number: number): KeyParts => keyOf([[0, `key ${number}`]]);
    for (let number = 0; number < 4; number += 1) table.add(key(number), number);
    for (let number = 4; number < 7; number += 1) table.add(key(number), number);
    expect(table.find(key(0))).toBe(0);
    for (let number = 7; number < 11; number += 1) table.add(key(number), number);
    expect(table.find(key(0))).toBe(0);
    expect(table.find(key(1))).toBeUndefined();
  });

  test("holds no more than its weight", () => {
    const table = new KeyedTable<{ weight: number }>({
      seed: 1,
      words: 1_000,
      entries: 64,
      weightOf: ({ weight }) => weight,
      weight: 10,
    });
    const key = (number: number): KeyParts => keyOf([[0, `key ${number}`]]);
    table.add(key(0), { weight: 1 });
    table.grew(10);
    table.add(key(1), { weight: 11 });
    table.add(key(2), { weight: 1 });
    expect(table.find(key(0))).toBeUndefined();
    expect(table.find(key(1))).toEqual({ weight: 11 });
  });

  test("does not keep what is longer than all of it, and forgets all at once", () => {
    const table = new KeyedTable<number>({ seed: 1, words: 20, entries: 64 });
    table.add(keyOf([[0, "x".repeat(100)]]), 1);
    expect(table.find(keyOf([[0, "x".repeat(100)]]))).toBeUndefined();
    table.add(keyOf([[0, "x"]]), 2);
    expect(table.find(keyOf([[0, "x"]]))).toBe(2);
    table.clear();
    expect(table.find(keyOf([[0, "x"]]))).toBeUndefined();
  });
});
