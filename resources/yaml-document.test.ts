import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseYaml, YAML_LIMITS } from "./yaml-document.ts";

const places = (text: string) => parseYaml(text).problems.map(({ code, at }) => `${at.line}:${at.column} ${code}`);

describe("parseYaml", () => {
  it("reads several documents and leaves out empty ones", () => {
    const { documents, problems } = parseYaml("# nothing\n---\na: 1\n---\n---\nb: [x, {y: z}]\n");
    expect(problems).toEqual([]);
    expect(documents.map(({ value }) => value)).toEqual([{ a: 1 }, { b: ["x", { y: "z" }] }]);
  });

  it("knows where keys and values stand", () => {
    const [document] = parseYaml("a:\n  - b: 1\n    c: {d: 2}\n  - null\n").documents;
    expect(document?.at(["a", 0, "b"])).toEqual({ line: 2, column: 8 });
    expect(document?.keyAt(["a", 0, "b"])).toEqual({ line: 2, column: 5 });
    expect(document?.at(["a", 0, "c", "d"])).toEqual({ line: 3, column: 12 });
    expect(document?.at(["a", 1])).toEqual({ line: 4, column: 5 });
    expect(document?.at([])).toEqual({ line: 1, column: 1 });
  });

  it("shows what is missing at the nearest thing above it", () => {
    const [document] = parseYaml("a:\n  b:\n    c: 1\n  list:\n    - x: 1\n  empty:\n").documents;
    expect(document?.at(["a", "b", "z"])).toEqual({ line: 2, column: 3 });
    expect(document?.at(["a", "b", "z", "y"])).toEqual({ line: 2, column: 3 });
    expect(document?.at(["z"])).toEqual({ line: 1, column: 1 });
    expect(document?.at(["a", "list", 0, "z"])).toEqual({ line: 5, column: 7 });
    expect(document?.at(["a", "list", 7])).toEqual({ line: 4, column: 3 });
    expect(document?.at(["a", "empty"])).toEqual({ line: 6, column: 3 });
  });

  it("finds a character inside a scalar of any style", () => {
    const text = "plain: a == b\nquoted: 'x ''== y'\nliteral: |\n  a &&\n  b\nfolded: >-\n  a ||\n  c\nnumber: 1\n";
    const [document] = parseYaml(text).documents;
    expect(document?.within(["plain"], 5)).toEqual({ line: 1, column: 13 });
    expect(document?.within(["quoted"], 2)).toEqual({ line: 2, column: 12 });
    expect(document?.within(["quoted"], 0)).toEqual({ line: 2, column: 10 });
    expect(document?.within(["literal"], 0)).toEqual({ line: 4, column: 3 });
    expect(document?.within(["literal"], 5)).toEqual({ line: 5, column: 3 });
    expect(document?.within(["folded"], 5)).toEqual({ line: 8, column: 3 });
    expect(document?.within(["folded"], 999)).toEqual({ line: 8, column: 4 });
    expect(document?.within(["number"], 1)).toEqual({ line: 9, column: 9 });
    expect(document?.within(["missing"], 3)).toEqual({ line: 1, column: 1 });
  });

  it("counts columns after a byte order mark and with CRLF", () => {
    expect(parseYaml("\uFEFFa: 1\r\nb: 2\r\n").documents[0]?.at(["b"])).toEqual({ line: 2, column: 4 });
    expect(parseYaml("\uFEFFa: 1\r\nb: 2\r\n").documents[0]?.at(["a"])).toEqual({ line: 1, column: 4 });
  });

  it("follows aliases, and shows their anchor", () => {
    const { documents, problems } = parseYaml("base: &b {x: 1}\ncopy: *b\n");
    expect(problems).toEqual([]);
    expect(documents[0]?.value).toEqual({ base: { x: 1 }, copy: { x: 1 } });
    expect(documents[0]?.at(["copy", "x"])).toEqual({ line: 1, column: 14 });
  });

  it.each([
    ["a duplicate key", "a: 1\nb:\n  c: 1\n  c: 2\n", ["4:3 yaml-duplicate-key"]],
    ["a tab as indentation", "a:\n\tb: 1\n", ["2:1 yaml-syntax"]],
    ["an unclosed quote", 'a: "b\n', ["2:1 yaml-syntax"]],
    ["a custom tag", "a: !secret x\n", ["1:12 yaml-tag"]],
    ["a tag of YAML 1.1", "a: !!binary aGk=\n", ["1:13 yaml-tag"]],
    ["an alias without anchor", "a: *nope\n", ["1:4 yaml-alias"]],
    ["an alias inside its own anchor", "a: &x [1, *x]\n", ["1:11 yaml-alias"]],
    ["a key that is no string", "a: {1: x}\n", ["1:5 yaml-syntax"]],
    ["a key that is a list", "? [a]\n: x\n", ["1:3 yaml-syntax"]],
    ["another version of YAML", "%YAML 1.1\n---\na: yes\n", ["2:1 yaml-syntax"]],
    ["a merge key, which YAML 1.2 does not have", "a: &x {b: 1}\nc: {<<: *x}\n", ["2:5 yaml-syntax"]],
    ["half of a surrogate pair", 'a: "\\ud800"\n', ["1:4 yaml-syntax"]],
    ["a key that reaches for the prototype", "a: {__proto__: {x: 1}}\n", ["1:5 unknown-field"]],
  ])("reports %s", (_, text, expected) => {
    expect(places(text)).toEqual(expected);
    expect(parseYaml(text).documents).toEqual([]);
  });

  it("keeps the documents that are right", () => {
    const { documents, problems } = parseYaml("a: 1\n---\nb: !x 1\n---\nc: 3\n");
    expect(documents.map(({ value }) => value)).toEqual([{ a: 1 }, { c: 3 }]);
    expect(problems).toHaveLength(1);
  });

  it("does not touch Object.prototype", () => {
    parseYaml("__proto__: {polluted: true}\nconstructor: {prototype: {polluted: true}}\n");
    expect(Object.hasOwn(Object.prototype, "polluted")).toBe(false);
  });

  it("ends a bomb of aliases", () => {
    const levels = Array.from(
      { length: 12 },
      (_, n) => `l${n + 1}: &l${n + 1} [${Array(9).fill(`*l${n}`).join(", ")}]`,
    );
    const { documents, problems } = parseYaml(`l0: &l0 [x]\n${levels.join("\n")}\n`);
    expect(documents).toEqual([]);
    expect(problems.map(({ code }) => code)).toEqual(["yaml-too-large"]);
  });

  it("bounds documents and depth", () => {
    const many = parseYaml("---\na: 1\n".repeat(YAML_LIMITS.documents + 1));
    expect(many.documents).toHaveLength(YAML_LIMITS.documents);
    expect(many.problems.map(({ code }) => code)).toEqual(["yaml-too-large"]);
    expect(places(`a: ${"[".repeat(70)}${"]".repeat(70)}\n`)).toEqual(["1:68 yaml-too-large"]);
    const [deep] = parseYaml(`a: ${"[".repeat(20_000)}${"]".repeat(20_000)}\n`).problems;
    expect(deep).toMatchObject({ code: "yaml-syntax", message: "nested too deep" });
  });

  it("bounds the number of problems", () => {
    const text = Array.from({ length: 500 }, (_, index) => `k${index}: !x 1`).join("\n");
    expect(parseYaml(text).problems).toHaveLength(YAML_LIMITS.problems);
  });

  it("never throws, whatever the text", () => {
    const piece = fc.constantFrom(
      "a",
      ": ",
      "\n",
      "  ",
      "- ",
      "{",
      "}",
      "[",
      "]",
      "&x ",
      "*x",
      "!t ",
      "|\n",
      "'",
      '"',
      "%",
      "---\n",
      "\t",
      "? ",
      "#",
      ",",
      "<<: ",
      "\uFEFF",
      "\0",
      "1",
      "null",
    );
    const text = fc.oneof(
      fc.string(),
      fc.array(piece, { maxLength: 60 }).map((parts) => parts.join("")),
    );
    fc.assert(
      fc.property(
        text,
        fc.array(fc.oneof(fc.string(), fc.nat(3)), { maxLength: 4 }),
        fc.integer(),
        (source, path, offset) => {
          const { documents } = parseYaml(source);
          for (const document of documents) {
            for (const at of [document.at(path), document.keyAt(path), document.within(path, offset)]) {
              expect(at.line).toBeGreaterThan(0);
              expect(at.column).toBeGreaterThan(0);
            }
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });
});
