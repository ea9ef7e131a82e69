import fc from "fast-check";
import { expect, test } from "vitest";
import { TextClasses } from "./text-classes.ts";

const text = fc.string({ unit: fc.constantFrom("/", "a", "b"), maxLength: 6 });
const asked = fc.array(fc.tuple(fc.constantFrom("equals" as const, "prefix" as const), text), { maxLength: 30 });

test("a text has the class of itself, else of the longest beginning that is asked for", () => {
  fc.assert(
    fc.property(asked, fc.array(text, { minLength: 1 }), (tests, texts) => {
      const classes = new TextClasses();
      const known = { equals: new Map<string, number>(), prefix: new Map<string, number>() };
      for (const [index, [kind, value]] of tests.entries()) {
        expect(classes.add(kind, value, index + 1)).toBe(!known[kind].has(value));
        if (!known[kind].has(value)) known[kind].set(value, index + 1);
      }
      for (const value of texts) {
        const beginnings = [...known.prefix.keys()].filter((each) => value.startsWith(each));
        const longest = beginnings.sort((a, b) => b.length - a.length)[0];
        const expected = known.equals.get(value) ?? (longest === undefined ? 0 : known.prefix.get(longest));
        expect(classes.classOf(value)).toBe(expected);
        const bytes = Buffer.from(`b${value}a`);
        expect(classes.classOfAscii(bytes, 1, bytes.length - 1)).toBe(expected);
      }
    }),
    { numRuns: 1_000 },
  );
});

test("tells texts apart that are no ASCII", () => {
  const classes = new TextClasses();
  classes.add("prefix", "/größe/", 1);
  classes.add("equals", "/größer", 2);
  expect(["/größe/1", "/größer", "/größ", "/groesse/"].map((each) => classes.classOf(each))).toEqual([1, 2, 0, 0]);
});
