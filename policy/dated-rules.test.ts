import { describe, expect, test } from "vitest";
import { ruleFindings } from "./analysis-rules.ts";
import { compilePolicy } from "./decide.ts";
import { diffPrograms } from "./diff.ts";
import { ALLOW_ALL, modelInput, modelTarget, PLAIN, program, removals, rule } from "./fixtures.ts";

const FROM = "2026-08-02T00:00:00Z";
const TO = "2027-12-02T00:00:00Z";
const BOUNDS = [
  ["2026-08-01T23:59:59.999Z", false],
  ["2026-08-02T00:00:00.000Z", true],
  ["2027-12-01T23:59:59.999Z", true],
  ["2027-12-02T00:00:00.000Z", false],
] as const;
const DENY = rule("deny", { effect: "deny", effectiveFrom: FROM, effectiveTo: TO });

describe("a rule with dates", () => {
  test.each(BOUNDS)("denies at %s: %s", (at, inForce) => {
    const policy = compilePolicy(program({ rules: [ALLOW_ALL, DENY] }));
    expect(policy.decide({ ...PLAIN, now: Date.parse(at) }).effect).toBe(inForce ? "deny" : "allow");
  });

  test("removes targets within its dates, by one compiled policy and in any order of times", () => {
    const target = modelTarget("a", 1);
    const restrict = rule("r", {
      effect: "restrict",
      require: 'target.country == "US"',
      effectiveFrom: FROM,
      effectiveTo: TO,
    });
    const policy = compilePolicy(program({ rules: [ALLOW_ALL, restrict], targets: [target] }));
    const request = modelInput("a", [target]);
    for (const [at, inForce] of [...BOUNDS, ...BOUNDS, ...BOUNDS.toReversed()]) {
      const verdict = policy.decideAgain({ ...request, now: Date.parse(at) });
      expect(removals(verdict), at).toEqual(inForce ? { "model/a-1": "r" } : {});
    }
  });

  test("in shadow mode says what it would do, within its dates", () => {
    const policy = compilePolicy(program({ rules: [ALLOW_ALL, { ...DENY, mode: "shadow" }] }));
    const shadow = BOUNDS.map(([at]) => policy.decideAgain({ ...PLAIN, now: Date.parse(at) }).shadow);
    expect(shadow).toEqual([[], ["deny by deny"], ["deny by deny"], []]);
  });

  test("whose dates are no times is always in force", () => {
    const policy = compilePolicy(
      program({ rules: [ALLOW_ALL, { ...DENY, effectiveFrom: "soon", effectiveTo: "later" }] }),
    );
    expect(policy.decide(PLAIN).effect).toBe("deny");
  });

  test.each([
    [{}, { effectiveFrom: "2026-08-03T00:00:00Z" }, true],
    [{}, { effectiveTo: "2027-12-01T00:00:00Z" }, true],
    [{}, { effectiveFrom: "2026-08-01T00:00:00Z", effectiveTo: "2028-01-01T00:00:00Z" }, false],
  ])("%j → %j loosens: %s", (from, to, loosens) => {
    const [change] = diffPrograms(
      program({ rules: [ALLOW_ALL, { ...DENY, ...from }] }),
      program({ rules: [ALLOW_ALL, { ...DENY, ...to }] }),
    );
    expect(change?.loosens !== undefined).toBe(loosens);
  });

  test("shadows only what is in force within its dates", () => {
    const always = rule("always", { effect: "deny" });
    const codes = (...rules: Parameters<typeof rule>[1][]) =>
      ruleFindings(program({ rules: rules.map((each, index) => ({ ...rule("r", each), id: `r${index}` })) })).map(
        ({ code, about }) => `${about.key} ${code}`,
      );
    expect(codes(DENY, always)).toEqual(["r0 rule-shadowed"]);
    expect(codes(DENY, { effect: "allow" })).toEqual([]);
    expect(codes(DENY, DENY)).toEqual(["r1 rule-shadowed"]);
  });
});

test("countries that are added to the adequate ones loosen", () => {
  const adequate = [{ country: "CH" }];
  expect(diffPrograms(program(), program({ adequate }))).toEqual([
    { kind: "adequacy", key: "CH", change: "added", loosens: "personal data may be processed in CH" },
  ]);
  expect(diffPrograms(program({ adequate }), program())).toEqual([{ kind: "adequacy", key: "CH", change: "removed" }]);
});
