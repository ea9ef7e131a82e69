import { expect, test } from "vitest";
import { compilePolicy } from "./decide.ts";
import { explainVerdict } from "./explain.ts";
import { ALLOW_ALL, modelInput, modelTarget, program, rule } from "./fixtures.ts";

const TARGETS = [modelTarget("a", 1, { country: "US", region: "us-1" }), modelTarget("a", 0), modelTarget("b", 0)];
const RULES = [
  ALLOW_ALL,
  rule("eu", { effect: "restrict", require: "target.country in countries.EU" }),
  rule("try", { effect: "deny", when: `subject.floor == "1"`, mode: "shadow" }),
];

test("an allow in words", () => {
  const policy = compilePolicy(program({ rules: RULES, targets: TARGETS }));
  expect(explainVerdict(policy.decide(modelInput("a", TARGETS)))).toEqual([
    "allow by allow-all",
    "  because of allow-all",
    "targets:",
    "  1. model/a-0 (a@0 in eu-west-1, IE)",
    "removed:",
    "  model/a-1 by eu: because of eu",
    "  model/b-0 by chancery:model: a is asked for, and the application accepts no such substitute",
    "rules:",
    '  deny try [shadow]: unknown (no such key: "floor")',
    "  allow allow-all: true",
    "  restrict eu for model/a-1: true",
    "  restrict eu for model/a-0: true",
    "errors:",
    '  try: no such key: "floor"',
    "shadow rules would have:",
    "  deny by try",
  ]);
});

test("a denial in words, and the same in observe mode", () => {
  const deny = rule("no", { effect: "deny" });
  const policy = compilePolicy(program({ rules: [ALLOW_ALL, deny], targets: TARGETS }));
  expect(explainVerdict(policy.decide(modelInput("a", TARGETS)))).toEqual([
    "deny (denied) by no",
    "  because of no",
    "rules:",
    "  deny no: true",
  ]);
  const observed = explainVerdict(policy.decide(modelInput("a", TARGETS, { observe: true })));
  expect(observed).toContain("observe mode: enforced, this is denied by no");
});

test("a reroute in words", () => {
  const move = rule("move", { effect: "reroute", to: { model: "b" } });
  const policy = compilePolicy(program({ rules: [ALLOW_ALL, move], targets: TARGETS }));
  expect(explainVerdict(policy.decide(modelInput("a", TARGETS)))).toContain("  to b by move");
});
