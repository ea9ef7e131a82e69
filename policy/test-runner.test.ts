import { describe, expect, it } from "vitest";
import { compilePolicy } from "./decide.ts";
import { ALLOW_ALL, input, modelInput, modelTarget, program, rule } from "./fixtures.ts";
import type { ProgramRule } from "./program.ts";
import { type ExpectedDecision, type PolicyCase, runCases } from "./test-runner.ts";
import { coverageOf } from "./test-runner-coverage.ts";
import { mutantsOf, runMutants } from "./test-runner-mutants.ts";
import { conditionsOf, conjunctsOf, normalised, tokensOf } from "./test-runner-text.ts";

const TARGETS = [modelTarget("m", 2), modelTarget("m", 1, { country: "US" })];
const RESTRICT = rule("p/eu", {
  effect: "restrict",
  when: '"EU" in application.jurisdictions',
  require: 'target.country in countries.EU && target.trainingData.gdprBasis != ""',
});

function asking(expectation: ExpectedDecision, changes: Parameters<typeof input>[0] = {}): PolicyCase {
  const made = modelInput("m", TARGETS, changes);
  return { name: "case", asked: { kind: "decision", input: made }, expect: expectation };
}

function results(rules: readonly ProgramRule[], ...cases: readonly PolicyCase[]) {
  const made = program({ rules, targets: TARGETS });
  return { made, ran: runCases(compilePolicy(made), cases) };
}

describe("runCases", () => {
  it("passes what is as expected, targets by pool or by key", () => {
    const { ran } = results(
      [ALLOW_ALL, RESTRICT],
      asking({ effect: "allow", rule: "allow-all", targets: ["m-2"], rerouted: [], removed: { "m-1": "p/eu" } }),
      asking({ effect: "allow", targets: ["model/m-2"], removed: { "model/m-1": "p/eu" } }),
      asking({ effect: "allow" }),
    );
    expect(ran.map(({ differences }) => differences)).toEqual([[], [], []]);
  });

  it("says field by field what is otherwise", () => {
    const { ran } = results(
      [ALLOW_ALL, RESTRICT],
      asking({ effect: "deny", code: "denied", rule: "x", removed: { "m-2": "p/eu", "m-9": "p/eu" } }),
      asking({ effect: "allow", targets: ["m-2", "m-1"], rerouted: [{ to: "n" }] }),
    );
    expect(ran[0]?.differences).toEqual([
      { field: "effect", expected: "deny", actual: "allow" },
      { field: "code", expected: "denied", actual: "none" },
      { field: "rule", expected: "x", actual: "allow-all" },
      { field: "removed", key: "m-2", expected: "p/eu", actual: "not removed: it may answer" },
      { field: "removed", key: "m-9", expected: "p/eu", actual: "no candidate" },
    ]);
    expect(ran[1]?.differences).toEqual([
      { field: "targets", expected: "m-2, m-1", actual: "m-2" },
      { field: "rerouted", expected: "n", actual: "none" },
    ]);
  });

  it("takes a refusal before any rule for a denial with its code", () => {
    const asked = { kind: "refused", code: "no_route", reason: "nothing matches" } as const;
    const { ran } = results([ALLOW_ALL], { name: "c", asked, expect: { effect: "deny", code: "no_route" } });
    expect(ran[0]?.differences).toEqual([]);
  });
});

describe("coverageOf", () => {
  it("counts what each rule and each condition came out as", () => {
    const { made, ran } = results(
      [ALLOW_ALL, RESTRICT],
      asking({ effect: "allow" }),
      asking({ effect: "allow" }, { application: { ...input().application, jurisdictions: ["US"] } }),
    );
    const coverage = coverageOf(made, ran);
    expect(coverage).toMatchObject({ coveredRules: 2, coveredOutcomes: 5, outcomes: 6 });
    expect(coverage.rules[1]).toMatchObject({
      rule: "p/eu",
      covered: true,
      evaluated: 2,
      when: { true: 1, false: 1, unknown: 0 },
      conditions: [
        { field: "when", text: '"EU" in application.jurisdictions', true: 1, false: 1 },
        { field: "require", text: "target.country in countries.EU", true: 1, false: 1 },
        { field: "require", text: 'target.trainingData.gdprBasis != ""', offset: 34, true: 1, false: 0 },
      ],
    });
  });

  it("does not call a rule covered that holds but changes nothing", () => {
    const lax = rule("p/lax", { effect: "restrict", require: 'target.kind == "model"' });
    const deny = rule("p/deny", { effect: "deny", when: 'request.method == "TRACE"' });
    const { made, ran } = results([ALLOW_ALL, lax, deny], asking({ effect: "allow" }));
    const [, restrict, never] = coverageOf(made, ran).rules;
    expect(restrict).toMatchObject({ covered: false, when: { true: 1 } });
    expect(never).toMatchObject({ covered: false, when: { true: 0, false: 1 }, conditions: [{ true: 0, false: 1 }] });
  });

  it("asks for conditions wherever the rule is in reach, in batches when there are many", () => {
    const when = Array.from({ length: 60 }, (_, index) => `request.size != ${index}`).join(" && ");
    const many = Array.from({ length: 12 }, (_, index) =>
      rule(`p/r${index}`, { effect: "restrict", when, require: "false" }),
    );
    const { made, ran } = results([ALLOW_ALL, ...many], asking({ effect: "deny" }));
    for (const each of coverageOf(made, ran).rules.slice(1)) {
      expect(each.conditions).toHaveLength(60);
      expect(each.conditions.every((condition) => condition.true === 1 && condition.false === 0)).toBe(true);
    }
  });

  it("tells unknown from false", () => {
    const deny = rule("p/d", { effect: "deny", when: 'subject.region == "EU" || request.headers["x-none"] == "1"' });
    const { made, ran } = results(
      [ALLOW_ALL, deny],
      asking({ effect: "allow" }, { subject: { ...input().subject, fields: {} } }),
    );
    expect(coverageOf(made, ran).rules[1]).toMatchObject({
      conditions: [
        { true: 0, false: 0, unknown: 1 },
        { true: 0, false: 0, unknown: 1 },
      ],
    });
  });
});

describe("mutants", () => {
  it("are valid rules that differ from the rule", () => {
    const rules = [
      ALLOW_ALL,
      RESTRICT,
      rule("p/d", { effect: "deny", when: "request.size > 10 && !(request.port_ == 1)" }),
    ];
    const mutants = mutantsOf({ rules });
    expect(mutants.map(({ rule: id, change }) => `${id} ${change}`)).toEqual([
      "allow-all dropped",
      "allow-all effect deny",
      "p/eu dropped",
      "p/eu when negated",
      "p/eu when always true",
      "p/eu require negated",
      'p/eu when: "EU" → "EU~"',
      "p/eu require: && → ||",
      "p/eu require: != → ==",
      'p/eu require: "" → "~"',
      "p/d dropped",
      "p/d when always true",
    ]);
  });

  it("survive where no case tells them from the rule", () => {
    const made = program({ rules: [ALLOW_ALL, RESTRICT], targets: TARGETS });
    const weak = runMutants(made, [asking({ effect: "allow" })]);
    expect(weak.survivors.map(({ change }) => change)).toContain("when negated");
    const strong = runMutants(made, [
      asking({ effect: "allow", targets: ["m-2"] }),
      asking(
        { effect: "allow", targets: ["m-2", "m-1"] },
        { application: { ...input().application, jurisdictions: [] } },
      ),
    ]);
    expect(strong.killed).toBeGreaterThan(weak.killed);
    expect(strong.survivors.map(({ change }) => change)).not.toContain("when negated");
    expect(strong.untried).toBe(0);
  });

  it("are left untried when the time is up", () => {
    const made = program({ rules: [ALLOW_ALL, RESTRICT], targets: TARGETS });
    let asked = 0;
    const { killed, survivors, untried } = runMutants(made, [asking({ effect: "allow" })], () => ++asked > 3);
    expect(killed + survivors.length).toBe(3);
    expect(untried).toBe(mutantsOf(made).length - 3);
  });
});

describe("expressions as text", () => {
  it.each([
    ["a && b", ["a", "b"]],
    ["(a || !b) && !(c && d)", ["a", "b", "c", "d"]],
    ["a ? b : (c ? d : e)", ["a", "b", "c", "d", "e"]],
    ["!a == b", ["!a == b"]],
    ["list.exists(x, x > 1 && x < 3) || y", ["list.exists(x, x > 1 && x < 3)", "y"]],
    ['x == "a && b" && true', ['x == "a && b"']],
    ["// a && b\n c || d // || e", ["c", "d"]],
    [`r'\\' == "\\"||" && m["a"] in [1, 2]`, [`r'\\' == "\\"||"`, 'm["a"] in [1, 2]']],
    ["(a)", ["a"]],
    ["true", []],
  ])("%s joins %j", (text, conditions) => {
    expect(conditionsOf(text).map((condition) => condition.text)).toEqual(conditions);
    for (const { text: part, offset } of conditionsOf(text))
      expect(text.slice(offset)).toMatch(part === "" ? /^$/ : /^./s);
  });

  it("ends for any text, and loses none of it but space", () => {
    for (const text of ['"open', "'''x", "\u{1f600} && \\", "0x1F + 1.5e-3 - .5", ""]) {
      expect(
        tokensOf(text)
          .map((token) => token.text)
          .join(""),
      ).toBe(text.replaceAll(" ", ""));
    }
  });

  it("has one spelling", () => {
    expect(normalised("( a==b )")).toBe(normalised("a == b // same"));
    expect(conjunctsOf("(a==1) && b")).toEqual(new Set(["a == 1", "b"]));
  });
});
