import { describe, expect, test } from "vitest";
import { checkProgram, RULE_PROBLEM_CODES } from "./check.ts";
import { modelTarget, rule } from "./fixtures.ts";
import type { ProgramRule } from "./program.ts";

const move = (from: string, to: string, changes: Partial<ProgramRule> = {}) =>
  rule(`${from}-${to}`, { effect: "reroute", target: { kind: "Model", key: from }, to: { model: to }, ...changes });

describe("checkProgram", () => {
  test("says nothing of rules that are right", () => {
    const rules = [
      rule("d", { effect: "deny", when: `request.method == "TRACE"` }),
      rule("a", { effect: "allow" }),
      rule("r", { effect: "restrict", when: `subject.region == "EU"`, require: "target.country in countries.EU" }),
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

  test("warns of unguarded optional fields where unknown denies", () => {
    const when = `source.principal == "a"`;
    const found = checkProgram([rule("d", { effect: "deny", when }), rule("a", { effect: "allow", when })]);
    expect(found).toEqual([expect.objectContaining({ rule: "d", severity: "warning", code: "optional-field" })]);
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
