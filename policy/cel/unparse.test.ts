import { expect, test } from "vitest";
import type { Expr } from "./ast.ts";
import { parse } from "./parse.ts";
import { unparse, writtenParts } from "./unparse.ts";

function tree(source: string): Expr {
  const parsed = parse(source);
  if (!parsed.ok) throw new Error(`${source}: ${parsed.problems[0]?.message}`);
  return parsed.expr;
}

test.each([
  "a && b && (c || d) && !e",
  "!(a || b)",
  "-(-a)",
  "a - (b - c) - d",
  "(a + b) * c / d % 2",
  "(a ? b : c) ? d : e ? f : g",
  'a.b["c d"].`x-y`.?z[?0] == null',
  "has(a.b.c) && a.b.c in [1, 2u, 1.5, true]",
  '"x" in {"a": 1, "b": [?x, y]}',
  'b"\\x00\\xff" == bytes("a\\n")',
  "l.all(x, x > 0) && l.exists_one(x, x == 1) && l.existsOne(i, x, x == i)",
  "l.filter(x, x > 0).map(x, x > 1, x + 1)",
  "m.transformMap(k, v, v > 0, v * 2) == m.transformList(k, v, k)",
  "cel.bind(x, a + 1, x * x)",
  "google.protobuf.Int32Value{value: 1}",
  "(1 + 2).type.size() > size(b)",
  "(a ? b : c).d",
  "a.?b.optMap(x, x + 1).optFlatMap(y, y.?c).orValue(1)",
  "(a ? b : c).sortBy(x, -x.y).first()",
  "1.0 / -0.0 < 2.0",
  "math.greatest([1, 2, 3]) > math.least(a, b)",
])("%s", (source) => {
  expect(unparse(tree(source))).toBe(source);
});

test("what a macro was given are its parts, and not its expansion", () => {
  expect(writtenParts(tree("l.map(x, x > 1, x + 1)")).map(unparse)).toEqual(["l", "x > 1", "x + 1"]);
  expect(writtenParts(tree("cel.bind(x, a + 1, x * x)")).map(unparse)).toEqual(["a + 1", "x * x"]);
  expect(writtenParts(tree("a.optMap(x, x + 1)")).map(unparse)).toEqual(["a", "x + 1"]);
  expect(writtenParts(tree("a.optFlatMap(x, x.?b)")).map(unparse)).toEqual(["a", "x.?b"]);
  expect(writtenParts(tree("a.sortBy(x, -x)")).map(unparse)).toEqual(["a", "-x"]);
  expect(writtenParts(tree("a && b")).map(unparse)).toEqual(["a", "b"]);
});
