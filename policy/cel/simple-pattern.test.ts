import fc from "fast-check";
import { RE2JS } from "re2js";
import { describe, expect, test } from "vitest";
import { simplePattern } from "./simple-pattern.ts";

/** Simple patterns against RE2: the same answer. */

const SIMPLE = [
  "literal",
  "^/v1/",
  "\\.internal$",
  "^/v1/[a-z]+/[0-9]+$",
  "^(GET|HEAD|OPTIONS)$",
  "^/v1/models|^/v1/chat$",
  "^.*\\.internal$",
  "^/v1/.*/chat$",
  "^/v1/.*/chat",
  ".*secret.*",
  "[0-9]+-[0-9]+",
  "^[^@\\s]+@[^@\\s]+$",
  "^[\\w-]{1,63}$",
  "^(?:team)-([a-z]{2})-\\d{4}$",
  "^https?://",
  "^a*?b+?$",
  "[]a]",
  "^$",
  "",
  "a|",
];

const NOT_SIMPLE = [
  "(?i)get",
  "(?m)^a$",
  "^(a+)+$",
  "^a*a*$",
  "^.*.*x$",
  "^[a-z]*a$x|^[a-z]+[a-c]+$",
  "(a|ab)c",
  "\\bword\\b",
  "[[:alpha:]]",
  "\\pL",
  "a[0-9]+b",
  "^😀$",
  "\\x41",
  "\\Qa.b\\E",
];

function agree(pattern: string, texts: readonly string[]): boolean {
  const expected = RE2JS.compile(pattern);
  const matcher = simplePattern(pattern);
  if (matcher === undefined) return false;
  for (const text of texts) {
    expect(matcher(text), `${JSON.stringify(pattern)} on ${JSON.stringify(text)}`).toBe(expected.test(text));
  }
  return true;
}

const character = fc.constantFrom("a", "b", "c", "1", "2", "-", ".", "/", "@", " ", "\n", "é", "😀", "\ud83d", "\v");
const anyText = fc.string({ unit: character, maxLength: 12 });

const single = fc.constantFrom(
  ..."abc12-/@é",
  ".",
  "\\.",
  "\\d",
  "\\D",
  "\\w",
  "\\W",
  "\\s",
  "\\S",
  "[a-c]",
  "[^a]",
  "[^/\\n]",
  "[ab1-]",
  "[\\d.]",
  "[é-ü]",
);
const quantifier = fc.constantFrom("", "", "", "*", "+", "?", "*?", "+?", "{2}", "{1,3}", "{2,}", "{0,1}");
const group = fc
  .array(fc.string({ unit: fc.constantFrom("a", "b", "1"), minLength: 1, maxLength: 3 }), {
    minLength: 1,
    maxLength: 3,
  })
  .map((texts) => `(${texts.join("|")})`);
const piece = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(single, quantifier).map((parts) => parts.join("")) },
  { weight: 1, arbitrary: group },
);
const sequence = fc
  .tuple(fc.constantFrom("", "^", "^"), fc.array(piece, { maxLength: 5 }), fc.constantFrom("", "$", "$"))
  .map(([start, pieces, end]) => start + pieces.join("") + end);
const anyPattern = fc.array(sequence, { minLength: 1, maxLength: 2 }).map((sequences) => sequences.join("|"));

describe("patterns that do not need RE2", () => {
  test.each(SIMPLE)("%s is one", (pattern) => {
    expect(simplePattern(pattern)).toBeDefined();
  });

  test.each(NOT_SIMPLE)("%s is none", (pattern) => {
    expect(simplePattern(pattern)).toBeUndefined();
  });

  test.each([
    ["^/v1/[a-z]+/[0-9]+$", "/v1/models/17", true],
    ["^/v1/[a-z]+/[0-9]+$", "/v1/models/17\n", false],
    ["^/v1/.*/chat$", "/v1/a/chat/chat", true],
    ["^/v1/.*/chat$", "/v1/chat", false],
    ["^/v1/.*/chat", "/v1/a\nb/chat", false],
    ["^(GET|HEAD)$", "HEADER", false],
    ["[0-9]+-[0-9]+", "tel 030-1", true],
    ["^[é-ü]+$", "éü", true],
  ])("%s on %j is %s", (pattern, text, expected) => {
    expect(simplePattern(pattern)?.(text)).toBe(expected);
  });

  test("a character of two units is one", () => {
    expect(simplePattern("^.$")?.("😀")).toBe(true);
    expect(simplePattern("^a.{1,2}b$")?.("a😀😀b")).toBe(true);
    expect(simplePattern("^..$")?.("😀")).toBe(false);
  });

  test("a long text is left to RE2", () => {
    expect(simplePattern("^a*$")?.("a".repeat(100_000))).toBeUndefined();
  });

  test("they say what RE2 says", () => {
    let simple = 0;
    const runs = 3_000;
    fc.assert(
      fc.property(anyPattern, fc.array(anyText, { minLength: 4, maxLength: 12 }), (pattern, texts) => {
        if (agree(pattern, texts)) simple += 1;
      }),
      { numRuns: runs, seed: 1 },
    );
    // Otherwise the property would say little.
    expect(simple).toBeGreaterThan(runs / 4);
    for (const pattern of SIMPLE)
      fc.assert(
        fc.property(anyText, (text) => void agree(pattern, [text])),
        { seed: 2 },
      );
  });
});
