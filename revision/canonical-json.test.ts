import fc from "fast-check";
import { expect, test } from "vitest";
import { canonicalJson } from "./canonical-json.ts";

test("sorts members, writes no spaces and leaves out what is undefined", () => {
  expect(canonicalJson({ b: [1, "x", null], a: { d: true, c: undefined } })).toBe('{"a":{"d":true},"b":[1,"x",null]}');
});

test("the order of members does not matter", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
      const reversed = Object.fromEntries(Object.entries(value).reverse());
      expect(canonicalJson(reversed)).toBe(canonicalJson(value));
    }),
  );
});

test("reads back as what was written", () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 10 }), (value) => {
      expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
    }),
  );
});

test.each([
  ["NaN", Number.NaN],
  ["a bigint", 1n],
  ["a Map", new Map()],
  ["bytes", new Uint8Array(2)],
  ["undefined in a list", [undefined]],
  ["a hole", new Array(1)],
])("refuses %s", (_, value) => {
  expect(() => canonicalJson({ value })).toThrow("canonical JSON");
});

test("refuses what is nested too deep instead of running out of stack", () => {
  let value: unknown = 1;
  for (let depth = 0; depth < 100_000; depth++) value = [value];
  expect(() => canonicalJson(value)).toThrow("deeper than 64 levels");
});
