import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { check } from "./check.ts";
import { compile } from "./compile.ts";
import { estimateCost, loopWork } from "./cost.ts";
import { displayValue } from "./display.ts";
import { environment } from "./environment.ts";
import { evaluateText, readVariables } from "./evaluate.ts";
import { parse } from "./parse.ts";
import { valueToJson } from "./proto-json.ts";
import { formatProblem } from "./source.ts";
import { DYN, parseType } from "./type.ts";
import { CelError, Failure, OUT_OF_WORK, Unknown } from "./value.ts";

const DYNAMIC = environment({ variables: ["a", "b", "x"].map((name) => [name, { type: DYN }] as const) });

function run(source: string, variables: Readonly<Record<string, unknown>> = {}, work?: number): unknown {
  const parsed = parse(source);
  if (!parsed.ok) throw new Error(parsed.problems[0]?.message);
  const checked = check(parsed.expr, source, DYNAMIC);
  if (!checked.ok) throw new Error(checked.problems[0]?.message);
  return compile(checked.tree, DYNAMIC).evaluate(new Map(Object.entries(variables)), work);
}

function problemOf(source: string): string {
  const result = evaluateText(source, new Map());
  return result.ok ? "" : result.problems.map((problem) => formatProblem(source, problem)).join("\n");
}

describe("errors and unknowns", () => {
  const error = new CelError("broken");
  const unknown = new Unknown("hidden");

  test.each([
    ["a && b", error, false, false],
    ["a && b", unknown, false, false],
    ["a || b", error, true, true],
    ["a || b", unknown, true, true],
    ["a && b && true && true && true && true", error, false, false],
    ["true || a", error, error, true],
  ])("%s of %s and %s is decided", (source, a, b, expected) => {
    expect(run(source, { a, b })).toBe(expected);
    expect(run(source.replace(/\ba\b/, "c").replace(/\bb\b/, "a").replace("c", "b"), { a, b })).toBe(expected);
  });

  test("an unknown is stronger than an error, on either side", () => {
    for (const source of ["a && b", "a || b", "a + b", "a == b"]) {
      expect(run(source, { a: error, b: unknown }), source).toBeInstanceOf(Unknown);
      expect(run(source, { a: unknown, b: error }), source).toBeInstanceOf(Unknown);
    }
  });

  test("what cannot be read inside a list counts only where nothing else decides", () => {
    expect(run(`"p" in a`, { a: [unknown, "p"] })).toBe(true);
    expect(run(`"q" in a`, { a: [unknown, "p"] })).toBe(unknown);
    expect(run(`a == ["x", "y"]`, { a: [unknown, "z"] })).toBe(false);
    expect(run(`a == ["x", "z"]`, { a: [unknown, "z"] })).toBeInstanceOf(Unknown);
    expect(run(`a.exists(e, e == "p")`, { a: [unknown, "p"] })).toBe(true);
    expect(run(`a.all(e, e == "p")`, { a: [unknown, "p"] })).toBeInstanceOf(Unknown);
  });

  test("a bound failure matters where it is read", () => {
    expect(run("cel.bind(v, 1 / 0, true)")).toBe(true);
    expect(run("cel.bind(v, 1 / 0, v == 1)")).toBeInstanceOf(CelError);
    expect(run("optional.of(1).orValue(1 / 0)")).toBe(1n);
  });

  test("a program can be used again after a failure", () => {
    const parsed = parse("a / b");
    if (!parsed.ok) throw new Error("does not parse");
    const program = compile(parsed, DYNAMIC);
    expect(program.evaluate(new Map([["a", 1n]]))).toBeInstanceOf(Failure);
    expect(program.evaluate(new Map(Object.entries({ a: 6n, b: 3n })))).toBe(2n);
  });
});

describe("the work of an evaluation", () => {
  const list = new Array(1_000).fill("a");

  test.each([
    `a.all(p, a.all(q, p == q))`,
    `a.exists(p, a.exists(q, p.missing == q))`,
    `a.map(p, a.map(q, [p, q])).size() > 0`,
    `lists.range(1000000).size() > 0`,
    `a.transformMap(i, v, a.size() + i).all(k, a.all(v, v == "a"))`,
    `a.map(p, a).flatten().size() > 0`,
    `["x"].map(s, s${".replace('x', 'xxxxxxxxxxxxxxxx')".repeat(20)})[0] == ""`,
    `"%s%s%s".format([a, a, a]).size() > 0 && a.all(p, "%s".format([a]) != "")`,
    `a.sort() == a && a.all(p, a.sort() == a)`,
    `a.distinct().size() == 1 && a.all(p, a.distinct() == ["a"])`,
    `b.matches("(x+x+)+y") || a.all(p, b.matches("(a|aa)+$"))`,
    `a.all(p, b.split("").size() == 1)`,
  ])("%s ends", (source) => {
    const result = run(source, { a: list, b: "a".repeat(10_000) }, 10_000);
    expect(result instanceof Failure && result.message).toBe(OUT_OF_WORK.message);
  });

  /** Lists that hold the one before twice: short to write, and without end to look through. */
  const doubled = (name: string, leaf: string, inner: string) => {
    const steps = Array.from(
      { length: 50 },
      (_, at) => `cel.bind(${name}${at}, ${at === 0 ? leaf : `[${name}${at - 1}, ${name}${at - 1}]`}, `,
    );
    return `${steps.join("")}${inner}${")".repeat(50)}`;
  };

  test.each([
    doubled("p", "[1]", doubled("q", "[1]", "p49 == q49")),
    doubled("p", "[1]", doubled("q", "[1]", "p49 in [q49]")),
    doubled("p", "{1: 2}", doubled("q", "{1: 2}", "[p49, q49].distinct().size() == 1")),
    doubled("p", "optional.of(1)", doubled("q", "optional.of(1)", "p49 != q49")),
    doubled("p", "'a'", "'%s'.format([p49]) == ''"),
    "a.sortBy(p, b).size() > 0",
    "a.map(p, b + p).sort().size() > 0",
    "lists.range(1000).exists(p, 'y'.matches('(a|b){1,200}' + string(p)))",
  ])("values that are far larger than they look are not gone through: %s", (source) => {
    const long = "a".repeat(60_000);
    const result = run(source, { a: new Array(1_000).fill("a"), b: long }, 10_000);
    expect(result instanceof Failure && result.message).toBe(OUT_OF_WORK.message);
  });

  test("values that are far larger than they look are not written out", () => {
    const value = run(doubled("p", "['a']", "p49"));
    expect(displayValue(value, { length: 100 }).length).toBeLessThan(1_000);
    expect(displayValue(value)).toContain("…");
    expect(valueToJson(value)).toBeInstanceOf(CelError);
  });

  test("what is within it has its value", () => {
    expect(run(`a.all(p, p == "a")`, { a: list }, 10_000)).toBe(true);
    expect(run(`a.exists(p, p == "b")`, { a: list }, 10_000)).toBe(false);
  });

  test.each([
    "a.all(p, a.all(q, p == q))",
    "a.map(p, a.filter(q, q != p)).size() == 0",
    "a.exists(p, p == 'b') || a.exists_one(p, p == 'b')",
    "a.all(p, [1, 2, 3].exists(q, q == 3)) ? true : a.all(p, true)",
    "cel.bind(c, a.map(p, p + 'x'), c.all(p, p != 'x'))",
    "a.transformList(i, p, i > 3, p).size() > 0 && a.all(p, p == 'a' || p == 'b' || p == 'c' || p == 'd')",
  ])("%s: its loops cost what is said before they run, or less", (source) => {
    const parsed = parse(source);
    if (!parsed.ok) throw new Error("does not parse");
    const few = new Array(20).fill("a");
    const most = loopWork(parsed.expr, () => few.length);
    // Some for what functions look at.
    expect(run(source, { a: few }, most + 200)).not.toBeInstanceOf(Failure);
    expect(most).toBeGreaterThanOrEqual(20);
    expect(most).toBeLessThan(1_000);
  });

  test("is estimated from the tree", () => {
    const cost = (source: string) => {
      const parsed = parse(source);
      if (!parsed.ok) throw new Error("does not parse");
      return estimateCost(parsed.expr, { members: 1_000 });
    };
    expect(cost("a == b")).toEqual({ least: 3, most: 3 });
    expect(cost("a && b")).toEqual({ least: 2, most: 3 });
    expect(cost("a ? b : x + 1")).toEqual({ least: 3, most: 5 });
    expect(cost("[1, 2].all(e, e > 0)").most).toBeLessThan(30);
    expect(cost("a.all(p, p.all(q, q > 0))").most).toBeGreaterThan(4_000_000);
    expect(cost("a.all(p, p > 0)").least).toBeLessThan(10);
  });
});

describe("what is wrong, and where", () => {
  test.each([
    ["1 +", "1:4: unexpected end of the expression"],
    ["a.b.", "1:5: unexpected end of the expression"],
    ["'abc", "1:1: the string has no end"],
    ["'\\xZZ'", "1:2: \\x takes 2 hex digits"],
    ["9223372036854775808", "1:1: 9223372036854775808 does not fit an int"],
    ["let + 1", '1:1: "let" is a reserved word'],
    ["1 § 2", '1:3: "§" has no meaning here'],
    ["true &&\n  1 + 'a' == 2", '2:5: no such overload: no matching overload for "_+_" applied to (int, string)'],
    ["[1].frob()", '1:5: undeclared function "frob"'],
    ["{'a': 1}.a.b", '1:12: type "int" does not support field selection'],
    ["[1].all(x.y, true)", "1:11: the variable of all() must be a simple name"],
    ["has(a)", "1:5: invalid argument of has()"],
    ["[1][5]", "1:4: index out of range: 5"],
    ["'a'.matches('(')", "1:5: not an RE2 pattern"],
  ])("%j", (source, message) => {
    expect(problemOf(source)).toContain(message);
  });

  test.each([
    ["parentheses", `${"(".repeat(100_000)}1`],
    ["brackets", "[".repeat(90_000)],
    ["negations", `${"!".repeat(90_000)}true`],
    ["sums", `1${"+1".repeat(45_000)}`],
    ["selections", `a${".b".repeat(45_000)}`],
    ["conditions", `${"true ? 1 : ".repeat(9_000)}1`],
    ["a long text", " ".repeat(100_001)],
    ["optional maps", `optional.of(1)${".optMap(x, x)".repeat(5_000)}`],
  ])("%s without end are refused", (_name, source) => {
    expect(parse(source).ok).toBe(false);
  });
});

test("a long chain is flat", () => {
  expect(run(`${"true && ".repeat(10_000)}a`, { a: false })).toBe(false);
  expect(run(`${"a || ".repeat(10_000)}true`, { a: "odd" })).toBe(true);
  expect(run(`${"a || ".repeat(1_000)}false`, { a: "odd" })).toBeInstanceOf(CelError);
});

test("any text is parsed or refused, checked or refused, and evaluated, without a throw", () => {
  const words = [
    "a",
    "b",
    "1",
    "2u",
    "1.5",
    "'s'",
    "b'x'",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ".",
    ",",
    "?",
    ":",
    "+",
    "-",
    "&&",
  ];
  const more = [
    "||",
    "!",
    "==",
    "<",
    "in",
    "true",
    "null",
    "has",
    ".all(",
    ".map(",
    "x",
    "size(",
    ".?",
    "[?",
    "`q`",
    "\n",
  ];
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.constantFrom(...words, ...more), fc.string({ maxLength: 3 })), { maxLength: 25 }),
      (parts) => {
        const source = parts.join(" ");
        const parsed = parse(source);
        if (!parsed.ok) return;
        check(parsed.expr, source, DYNAMIC);
        const value = compile(parsed, DYNAMIC).evaluate(
          new Map(Object.entries({ a: [1n, "x"], b: new Map([["x", 2]]) })),
          10_000,
        );
        if (!(value instanceof Failure)) displayValue(value);
      },
    ),
    { numRuns: 3_000, seed: 20_261_121 },
  );
});

test("types are written and read", () => {
  expect(parseType("map<string, list<int>>")).toEqual(parseType("map(string, list(int))"));
  expect(parseType("map(string)")).toMatchObject({ kind: "opaque" });
  expect(parseType("list(")).toBeUndefined();
  expect(parseType("int int")).toBeUndefined();
});

test("variables of JSON are ints where they are written as such", () => {
  expect([...readVariables('{"i": 5, "d": 5.0, "e": 1e2, "big": 9223372036854775807}').values()]).toEqual([
    5n,
    5,
    100,
    9223372036854775807n,
  ]);
  expect(() => readVariables('{"i": 9223372036854775808}')).toThrow("does not fit an int");
});
