import { describe, expect, test } from "vitest";
import { compilePolicy } from "./decide.ts";
import type { DecisionInput } from "./decision.ts";
import {
  ALLOW_ALL,
  allowed,
  decide,
  denied,
  input,
  modelInput,
  modelTarget,
  PLAIN,
  pools,
  program,
  removals,
  rule,
  WEB,
} from "./fixtures.ts";
import type { ProgramRule } from "./program.ts";

/** What `when` can come to. */
const WHENS = [
  ["true", "true", "true"],
  ["false", "false", "false"],
  ["a missing field", `subject.floor == "1"`, "unknown"],
  ["not a boolean", "subject.claims.sub", "unknown"],
  ["an error", "1 / (size(application.labels) - 1) > 0", "unknown"],
  ["no expression at all", "nonsense(", "unknown"],
] as const;

describe("each effect with each outcome of its condition", () => {
  test.each(WHENS)("deny when %s", (_name, when, result) => {
    const rules = [ALLOW_ALL, rule("no", { effect: "deny", when })];
    const verdict = decide({ rules }, PLAIN);
    expect(verdict.effect).toBe(result === "false" ? "allow" : "deny");
    if (result !== "false") expect(verdict).toMatchObject({ code: "denied", rule: "no" });
    expect(verdict.considered).toContainEqual(expect.objectContaining({ rule: "no", effect: "deny", result }));
    expect(verdict.errors.map(({ rule: id }) => id)).toEqual(result === "unknown" ? ["no"] : []);
  });

  test.each(WHENS)("allow when %s", (_name, when, result) => {
    const verdict = decide({ rules: [rule("yes", { effect: "allow", when })] }, PLAIN);
    expect(verdict).toMatchObject(
      result === "true"
        ? { effect: "allow", rule: "yes", reason: "because of yes" }
        : { effect: "deny", code: "not_allowed", rule: "chancery:default-deny" },
    );
    expect(verdict.considered).toContainEqual(expect.objectContaining({ rule: "yes", result }));
  });

  test.each(WHENS)("restrict when %s", (_name, when, result) => {
    for (const [, require, required] of WHENS) {
      const rules = [ALLOW_ALL, rule("fence", { effect: "restrict", when, require })];
      const verdict = decide({ rules }, PLAIN);
      const survives = result === "false" || required === "true";
      expect(verdict.effect, `require ${require}`).toBe(survives ? "allow" : "deny");
      if (!survives) {
        expect(verdict).toMatchObject({ code: "no_legal_target", rule: "chancery:no-legal-target" });
        expect(denied(verdict).reason).toContain("upstream/web: because of fence");
        expect(removals(verdict)).toEqual({ "upstream/web": "fence" });
      }
    }
  });

  test.each(WHENS)("reroute when %s", (_name, when, result) => {
    const targets = [modelTarget("a", 0), modelTarget("b", 0)];
    const rules = [ALLOW_ALL, rule("move", { effect: "reroute", when, to: { model: "b" } })];
    const verdict = decide({ rules }, modelInput("a", targets));
    expect(pools(verdict)).toEqual(result === "true" ? ["model/b-0"] : ["model/a-0"]);
    expect(verdict.rerouted).toEqual(result === "true" ? [{ rule: "move", to: "b" }] : []);
    expect(verdict.errors.map(({ rule: id }) => id)).toEqual(result === "unknown" ? ["move"] : []);
  });

  test.each(WHENS)("prefer when %s", (_name, when, result) => {
    const targets = ["p", "q"].map((deployment) => modelTarget("a", 0, { deployment }));
    const score = `target.deployment == "q" ? 1 : 0`;
    const rules = [ALLOW_ALL, rule("taste", { effect: "prefer", when, score })];
    const verdict = decide({ rules }, modelInput("a", targets));
    expect(pools(verdict)).toEqual(result === "true" ? ["model/q", "model/p"] : ["model/p", "model/q"]);
  });

  test.each([
    ["a number", "target.deployment == 'q' ? 2 : 1", ["model/q", "model/p"]],
    ["missing for one", "target.scores.speed", ["model/q", "model/p"]],
    ["not a number", "subject.claims.sub", ["model/p", "model/q"]],
    ["no expression at all", "nonsense(", ["model/p", "model/q"]],
  ])("prefer with a score that is %s", (_name, score, expected) => {
    const speed = [{ metric: "speed", slice: "all", value: -3 }];
    const targets = [modelTarget("a", 0, { deployment: "p" }), modelTarget("a", 0, { deployment: "q", scores: speed })];
    const verdict = decide(
      { rules: [ALLOW_ALL, rule("taste", { effect: "prefer", score })] },
      modelInput("a", targets),
    );
    expect(pools(verdict)).toEqual(expected);
  });
});

describe("modes", () => {
  const targets = [
    modelTarget("a", 0, { deployment: "p" }),
    modelTarget("a", 0, { deployment: "q" }),
    modelTarget("b", 0),
  ];
  const SUBJECTS: readonly [ProgramRule, readonly string[]][] = [
    [rule("r", { effect: "deny" }), ["deny by r"]],
    [rule("r", { effect: "allow", when: "false" }), []],
    [rule("r", { effect: "allow", when: "false", scope: "bank" }), ["deny by r"]],
    [rule("r", { effect: "restrict", require: `target.deployment != "p"` }), ["removal of model/p by r"]],
    [rule("r", { effect: "reroute", to: { model: "b" } }), ["reroute to b by r"]],
    [rule("r", { effect: "prefer", score: `target.deployment == "q" ? 1 : 0` }), ["preference of model/q by r"]],
  ];

  test.each(SUBJECTS)("shadow and off rules change nothing: %j", (subject, shadow) => {
    const request = modelInput("a", targets);
    const without = allowed(decide({}, request));
    const shadowed = allowed(decide({ rules: [ALLOW_ALL, { ...subject, mode: "shadow" }] }, request));
    const off = allowed(decide({ rules: [ALLOW_ALL, { ...subject, mode: "off" }] }, request));
    expect(pools(shadowed)).toEqual(pools(without));
    expect(shadowed).toMatchObject({ rule: without.rule, shadow, rerouted: [] });
    expect(shadowed.considered).toContainEqual(expect.objectContaining({ rule: "r", mode: "shadow" }));
    expect(off).toEqual(without);
  });

  test("a shadow allow rule neither allows nor makes a level", () => {
    const rules = [rule("r", { effect: "allow", mode: "shadow" })];
    expect(denied(decide({ rules }, PLAIN))).toMatchObject({ code: "not_allowed", shadow: ["allow by r"] });
    const closed = rule("closed", { effect: "allow", when: "false", scope: "bank" });
    expect(denied(decide({ rules: [...rules, closed] }, PLAIN)).shadow).toEqual([]);
  });

  test("a rule that is off is not evaluated, whatever it says", () => {
    const verdict = decide(
      { rules: [ALLOW_ALL, rule("off", { effect: "deny", when: "nonsense(", mode: "off" })] },
      PLAIN,
    );
    expect(verdict).toMatchObject({ effect: "allow", errors: [] });
  });
});

describe("totality", () => {
  test("a route without targets (a redirect) is allowed or denied by its rules", () => {
    expect(pools(decide({}, input()))).toEqual([]);
    expect(decide({ rules: [] }, input()).effect).toBe("deny");
  });

  test("a throw inside is a denial, in observe mode too", () => {
    const request = input({ candidates: WEB, observe: true });
    const broken: DecisionInput = Object.defineProperty({ ...request }, "candidates", {
      get() {
        throw new Error("boom");
      },
    });
    expect(denied(compilePolicy(program()).decide(broken))).toMatchObject({
      code: "evaluation_error",
      rule: "chancery:evaluation-error",
      errors: [{ rule: "chancery:decide", message: "boom" }],
    });
  });

  test("what is too large to be read denies where a deny or restrict rule reads it, and allows nothing", () => {
    const claims = { groups: new Array(100_000).fill("staff") };
    const subject = { ...PLAIN.subject, claims };
    const headers = new Map([["x-team", ["a".repeat(1_000_000)]]]);
    const request = { ...PLAIN, subject, request: { ...PLAIN.request, headers } };
    const some = [`"banned" in subject.claims.groups`, `request.headers["x-team"].matches("^(a+)+$")`];
    for (const when of some) {
      expect(decide({ rules: [ALLOW_ALL, rule("no", { effect: "deny", when })] }, request).rule).toBe("no");
      expect(decide({ rules: [rule("yes", { effect: "allow", when })] }, request).effect).toBe("deny");
      const fence = rule("fence", { effect: "restrict", when, require: "false" });
      expect(denied(decide({ rules: [ALLOW_ALL, fence] }, request)).code).toBe("no_legal_target");
    }
  });

  test("rules that do not compile are listed", () => {
    const rules = [rule("bad", { effect: "deny", when: "request.nope" })];
    expect(compilePolicy(program({ rules })).problems).toEqual([
      { rule: "bad", message: `when does not compile: There is no field "nope"` },
    ]);
  });

  test("explanations are bounded", () => {
    const rules = Array.from({ length: 3_000 }, (_, index) => rule(`r${index}`, { effect: "deny", when: "false" }));
    const verdict = decide({ rules: [ALLOW_ALL, ...rules] }, PLAIN);
    expect(verdict.considered).toHaveLength(1_000);
    expect(verdict.effect).toBe("allow");
  });
});

describe("usable models", () => {
  test("are those that a request for them would be allowed, in the route's order", () => {
    const targets = ["c", "a", "b"].map((name) => modelTarget(name, 0));
    const rules = [ALLOW_ALL, rule("no-a", { effect: "deny", target: { kind: "Model", key: "a" } })];
    const policy = compilePolicy(program({ rules, targets }));
    const request = modelInput("z", targets, { requested: { stream: false } });
    expect(policy.usableModels(request)).toEqual(["c", "b"]);
    for (const model of request.models) {
      const one = policy.decide({ ...request, requested: { model, stream: false } });
      expect(one.effect === "allow").toBe(policy.usableModels(request).includes(model));
    }
  });
});
