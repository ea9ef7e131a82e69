import { describe, expect, test } from "vitest";
import { checkProgram, RULE_PROBLEM_CODES } from "./check.ts";
import { ExpressionChecks } from "./expression-checks.ts";
import { modelTarget, rule } from "./fixtures.ts";
import type { ProgramRule } from "./program.ts";

const move = (from: string, to: string, changes: Partial<ProgramRule> = {}) =>
  rule(`${from}-${to}`, { effect: "reroute", target: { kind: "Model", key: from }, to: { model: to }, ...changes });

const EUROPEAN = `has(subject.region) && subject.region == "EU"`;

describe("checkProgram", () => {
  test("says nothing of rules that are right", () => {
    const rules = [
      rule("d", { effect: "deny", when: `request.method == "TRACE"` }),
      rule("a", { effect: "allow" }),
      rule("r", { effect: "restrict", when: EUROPEAN, require: "target.country in countries.EU" }),
      rule("p", { effect: "prefer", score: "has(target.cost) ? -target.cost.input : -1000.0" }),
      move("x", "y"),
    ];
    expect(checkProgram(rules)).toEqual([]);
  });

  test("names rule, field and place of each error", () => {
    const rules = [
      rule("d", { effect: "deny", when: `true &&\n request.foo == 1` }),
      rule("r", { effect: "restrict", when: "target.kind == 1", require: "target.kind" }),
      rule("p", { effect: "prefer", score: `"high"` }),
      rule("off", { effect: "allow", when: "target.kind == 'model'", mode: "off" }),
    ];
    expect(checkProgram(rules)).toEqual([
      expect.objectContaining({ rule: "d", field: "when", severity: "error", offset: 17, line: 2, column: 10 }),
      expect.objectContaining({ rule: "r", field: "when", code: "expression" }),
      expect.objectContaining({ rule: "r", field: "require", message: expect.stringContaining("type string") }),
      expect.objectContaining({ rule: "p", field: "score", message: expect.stringContaining("type string") }),
      expect.objectContaining({ rule: "off", field: "when", message: expect.stringContaining("restrict and prefer") }),
    ]);
  });

  test("says the same of a program whose expressions were checked before, wherever they stand", () => {
    const doubtful = `subject.region == "EU"`;
    const before = [rule("a", { effect: "allow", when: doubtful }), rule("b", { effect: "deny", when: "target.kind" })];
    const after = [rule("c", { effect: "deny", when: doubtful }), rule("d", { effect: "restrict", require: doubtful })];
    const checks = new ExpressionChecks();
    for (const rules of [before, after, before, before, [], after]) {
      expect(checkProgram(rules, checks)).toEqual(checkProgram(rules));
    }
    const problems = checkProgram(after, checks).map(({ rule: id, field, code }) => [id, field, code]);
    expect(problems).toContainEqual(["c", "when", "optional-field"]);
    expect(problems).toContainEqual(["d", "require", "optional-field"]);
  });

  test.each([
    `"roles" in subject && subject.roles.exists(r, subject.roles.exists(s, r == s))`,
    `request.header_values.all(n, request.header_values[n].all(v, v != n))`,
    "lists.range(100).all(a, lists.range(200).all(b, a + b >= 0))",
  ])("warns of loops in loops over what a request brings along: %s", (when) => {
    const costly = expect.objectContaining({ severity: "warning", code: "costly" });
    expect(checkProgram([rule("d", { effect: "deny", when })])).toContainEqual(costly);
  });

  test.each([
    `"roles" in subject && subject.roles.exists(r, r.startsWith("a"))`,
    `"roles" in subject && subject.roles.exists(r, r in application.dataClasses)`,
    "application.dataClasses.all(d, application.jurisdictions.exists(j, j == d))",
    `cel.bind(m, request.method, m == "GET" || m == "HEAD")`,
  ])("does not warn of what stays within its bounds: %s", (when) => {
    expect(checkProgram([rule("d", { effect: "deny", when })])).toEqual([]);
  });

  test("names parts that are missing or of no use", () => {
    const rules = [
      rule("r", { effect: "restrict", score: "1" }),
      rule("m", { effect: "reroute", to: {} }),
      rule("d", { effect: "deny", require: "true" }),
    ];
    expect(checkProgram(rules).map(({ rule: id, field, code }) => `${id} ${field} ${code}`)).toEqual([
      "r require missing-field",
      "r score conflict",
      "m to missing-field",
      "d require conflict",
    ]);
  });

  test("refuses unguarded optional fields where unknown denies, and shows the fix", () => {
    const when = `request.method == "GET" &&\n source.principal == "a"`;
    const found = checkProgram([
      rule("d", { effect: "deny", when }),
      rule("r", { effect: "restrict", when: "true", require: `target.labels.stage == "live"` }),
      rule("a", { effect: "allow", when }),
      rule("p", { effect: "prefer", score: "target.cost.input" }),
    ]);
    expect(found).toEqual([
      expect.objectContaining({
        rule: "d",
        field: "when",
        severity: "error",
        code: "optional-field",
        line: 2,
        column: 2,
      }),
      expect.objectContaining({ rule: "r", field: "require", severity: "error", code: "optional-field" }),
    ]);
    expect(found[0]?.hint).toMatch(/has\(source\.principal\) && …/);
  });

  test("warns of what plain routes have not, where a rule is for more than a Model", () => {
    const deny = { effect: "deny", when: `model.name == "a"` } as const;
    expect(checkProgram([rule("all", deny)])).toEqual([
      expect.objectContaining({ rule: "all", severity: "warning", code: "model-field" }),
    ]);
    expect(checkProgram([rule("one", { ...deny, target: { kind: "Model", key: "a" } })])).toEqual([]);
    expect(checkProgram([rule("asks", { effect: "deny", when: `has(model.name) && model.name == "a"` })])).toEqual([]);
  });

  test.each([
    ["subject.kind == 1", '"==" is always false: string and int'],
    ["has(subject.tier) && subject.tier != 3", '"!=" is always true: string and int'],
    ["has(subject.tier) && subject.tier in [1, 2]", '"in" is always false: string and list(int)'],
    ["dyn(1) in subject", '"in" is always false: int and map(string, dyn)'],
    ["dyn(request.method) == dyn(null)", '"==" is always false: string and null'],
    [`subject.claims == dyn("x")`, '"==" is always false: map(string, dyn) and string'],
  ])("warns that %s says the same for every request", (when, message) => {
    expect(checkProgram([rule("a", { effect: "allow", when })])).toEqual([
      expect.objectContaining({ severity: "warning", code: "never-equal", message: expect.stringContaining(message) }),
    ]);
  });

  test.each([
    `has(subject.claims.level) && subject.claims.level == 3`,
    `has(subject.claims.level) && subject.claims.level == "3"`,
    `subject.kind == "jwt"`,
    `subject.id in ["a", "b"]`,
    `subject.id in [1, "b"]`,
    `has(request.size) && dyn(request.size) == 1.0`,
    `[] == dyn([1])`,
  ])("says nothing of types in %s", (when) => {
    expect(checkProgram([rule("a", { effect: "allow", when })])).toEqual([]);
  });

  test("finds circles of reroutes", () => {
    const circle = [move("a", "b"), move("b", "c"), move("c", "a"), move("d", "a")];
    expect(checkProgram(circle)).toEqual([
      expect.objectContaining({ rule: "a-b", severity: "error", message: expect.stringContaining("a → b → c → a") }),
    ]);
    expect(checkProgram([move("a", "a")])).toEqual([]);
  });

  test("through conditions on the model's name, and through versions", () => {
    const rules = [
      rule("one", { effect: "reroute", when: `model.name == "a"`, to: { version: "b@1" } }),
      rule("two", { effect: "reroute", when: `model.name in ["b", "c"]`, to: { model: "a" } }),
    ];
    expect(checkProgram({ rules, targets: [modelTarget("b", 1)] })).toEqual([
      expect.objectContaining({ rule: "one", code: "reroute-cycle", severity: "error" }),
    ]);
    expect(checkProgram(rules)).toEqual([]);
  });

  test("a circle that depends on who asks is a warning", () => {
    const rules = [
      move("a", "b", { when: `subject.region == "EU"` }),
      move("b", "a", { when: `subject.region == "US"` }),
    ];
    expect(checkProgram(rules)).toEqual([expect.objectContaining({ severity: "warning", code: "reroute-cycle" })]);
    expect(checkProgram([move("a", "b"), move("b", "a", { mode: "shadow" })])).toEqual([
      expect.objectContaining({ severity: "warning" }),
    ]);
  });

  test("warns where more reroutes follow each other than are followed", () => {
    const row = [move("a", "b"), move("b", "c"), move("c", "d")];
    expect(checkProgram(row)).toEqual([
      expect.objectContaining({
        rule: "a-b",
        code: "reroute-too-long",
        message: expect.stringContaining("a → b → c → d"),
      }),
    ]);
    expect(checkProgram(row.slice(1))).toEqual([]);
  });

  test("every code is described", () => {
    for (const text of Object.values(RULE_PROBLEM_CODES)) expect(text).toMatch(/\.$/);
  });
});
