import { describe, expect, test } from "vitest";
import { compilePolicy } from "./decide.ts";
import { formatRules } from "./explain.ts";
import { explainDecision } from "./explain-decision.ts";
import { ALLOW_ALL, input, modelInput, modelTarget, PLAIN, program, rule, SUBJECT } from "./fixtures.ts";

const TARGETS = [modelTarget("a", 1, { country: "US" }), modelTarget("a", 0), modelTarget("b", 0)];
const RULES = [
  ALLOW_ALL,
  rule("get", { effect: "deny", when: `request.method == "GET" && request.size > 10` }),
  rule("floor", { effect: "deny", when: `subject.floor == "1"`, mode: "shadow" }),
  rule("eu", {
    effect: "restrict",
    when: `subject.region == "EU"`,
    require: "target.country in countries.EU && target.age >= 0",
  }),
  rule("other", { effect: "deny", scope: "elsewhere" }),
  rule("off", { effect: "deny", mode: "off" }),
];
const PROGRAM = program({ rules: RULES, targets: TARGETS });

const byId = (id: string, given = modelInput("a", TARGETS), within = PROGRAM) =>
  explainDecision(within, given).rules.find((each) => each.rule === id);

describe("an explanation", () => {
  test("has the verdict that the policy gives, and is plain data", () => {
    const given = modelInput("a", TARGETS);
    const explained = explainDecision(PROGRAM, given);
    expect(explained.verdict).toEqual(compilePolicy(PROGRAM).decide(given));
    expect(JSON.parse(JSON.stringify(explained))).toEqual(explained);
  });

  test("names what rules are found by, and counts those that are not of this request", () => {
    const { atoms, rules, elsewhere } = explainDecision(PROGRAM, modelInput("a", TARGETS));
    expect(atoms).toEqual([
      { field: "request.method", value: "POST" },
      { field: "subject.floor", value: { is: "missing" } },
      { field: "subject.region", value: "EU" },
    ]);
    expect(rules.map((each) => each.rule)).toEqual(["allow-all", "get", "floor", "eu"]);
    expect(elsewhere).toBe(2);
  });

  test("says why a rule was not found", () => {
    expect(byId("get")).toMatchObject({
      status: "notFound",
      falseTests: ['request.method == "GET"'],
      results: [],
      expressions: [],
    });
  });

  test("shows the parts of an expression, for each target, and what was removed", () => {
    const eu = byId("eu");
    expect(eu).toMatchObject({ status: "consulted", attachedTo: "scope .", removed: ["model/a-1"] });
    expect(eu?.expressions.map(({ field, pool }) => [field, pool])).toEqual([
      ["when", "model/a-1"],
      ["when", "model/a-0"],
      ["require", "model/a-1"],
      ["require", "model/a-0"],
    ]);
    expect(eu?.expressions[2]?.trace).toEqual({
      text: "target.country in countries.EU && target.age >= 0",
      values: ["false"],
      parts: [
        {
          text: "target.country in countries.EU",
          values: ["false"],
          parts: [
            { text: "target.country", values: ['"US"'], parts: [expect.objectContaining({ text: "target" })] },
            expect.objectContaining({ text: "countries.EU", values: ["a list of 27"] }),
          ],
        },
        { text: "target.age >= 0", values: [], parts: [] },
      ],
    });
  });

  test("tells an unknown, and what a shadow rule would have done", () => {
    const floor = byId("floor");
    expect(floor).toMatchObject({ mode: "shadow", results: [{ result: "unknown" }], wouldHave: ["deny by floor"] });
    expect(floor?.expressions[0]?.trace.parts[0]).toMatchObject({
      text: "subject.floor",
      values: ['unknown: no such key: "floor"'],
    });
  });

  test("tells the rules that were not reached", () => {
    const rules = [rule("first", { effect: "deny" }), ALLOW_ALL];
    expect(byId("allow-all", PLAIN, program({ rules }))).toMatchObject({ status: "notReached", expressions: [] });
  });

  test("tells a reroute, and the model that each expression was asked for", () => {
    const move = rule("move", { effect: "reroute", when: `model.name == "a"`, to: { model: "b" } });
    const explained = byId("move", modelInput("a", TARGETS), program({ rules: [ALLOW_ALL, move], targets: TARGETS }));
    expect(explained).toMatchObject({
      reroutedTo: "b",
      expressions: [{ model: "a", trace: { values: ["true"] } }, {}],
    });
  });

  test("shows no credential, and no whole maps", () => {
    const headers = new Map([["authorization", ["Bearer very-secret"]]]);
    const deny = rule("d", {
      effect: "deny",
      when: `"authorization" in request.headers && request.headers["authorization"].lowerAscii() == "x" && size(subject.claims) > 99`,
    });
    const given = { ...PLAIN, request: { ...PLAIN.request, headers }, subject: SUBJECT };
    const text = JSON.stringify(explainDecision(program({ rules: [ALLOW_ALL, deny] }), given));
    expect(text).toContain("(not shown)");
    expect(text).not.toContain("very-secret");
    expect(text).not.toContain("Bearer");
  });

  test.each([
    `request.headers.exists(h, request.headers[h] == "x")`,
    `request.headers.all(h, v, v != "x")`,
    `[request.headers].exists(h, size(h) == 0)`,
    `request.header_values.exists(h, request.header_values[h].exists(v, v.lowerAscii().split(" ") == [""]))`,
    `cel.bind(v, request.headers.map(h, h + request.headers[h]), v == [])`,
  ])("shows no credential that is read under another name: %s", (when) => {
    const headers = new Map([
      ["authorization", ["Bearer very-SECRET"]],
      ["x-role", ["reader"]],
    ]);
    const given = { ...PLAIN, request: { ...PLAIN.request, headers } };
    const rules = [ALLOW_ALL, rule("d", { effect: "deny", when })];
    const text = JSON.stringify(explainDecision(program({ rules }), given)).toLowerCase();
    expect(text).toContain('"d"');
    expect(text).not.toContain("very-secret");
  });

  test("is bounded by the number of rules", () => {
    const rules = Array.from({ length: 1_200 }, (_, index) => rule(`r${index}`, { effect: "allow", when: "false" }));
    const { rules: told, moreRules } = explainDecision(program({ rules }), input());
    expect([told.length, moreRules]).toEqual([1_000, 200]);
  });

  test("in words", () => {
    expect(formatRules(explainDecision(PROGRAM, modelInput("a", TARGETS))).join("\n")).toContain(
      [
        "",
        'deny get (scope .): not found: it is false that request.method == "GET"',
        "",
        "deny floor [shadow] (scope .): consulted",
        "  when while a is asked for:",
        '    subject.floor == "1"  →  unknown: no such key: "floor"',
        '      subject.floor  →  unknown: no such key: "floor"',
      ].join("\n"),
    );
  });
});
