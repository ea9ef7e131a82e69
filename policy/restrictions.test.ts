import { describe, expect, test } from "vitest";
import { ALLOW_ALL, decide, denied, modelInput, modelTarget, pools, removals, rule } from "./fixtures.ts";
import type { ProgramRule, Restriction } from "./program.ts";

describe("restrictions", () => {
  const targets = [
    modelTarget("a", 1, { region: "eu-1" }),
    modelTarget("a", 0, { region: "us-1" }, { upstream: "other" }),
  ];
  const request = modelInput("a", targets);
  const stop = (kind: Restriction["kind"], value: string, until?: string): Restriction => ({
    id: `stop-${kind}`,
    kind,
    value,
    reason: "incident 7",
    ...(until === undefined ? {} : { until }),
  });
  const under = (restriction: Restriction, base = request) => ({ ...base, restrictions: [restriction] });

  test.each([[stop("version", "a@1")], [stop("upstream", "provider")], [stop("region", "eu-1")]])(
    "%j takes candidates away",
    (restriction) => {
      const verdict = decide({}, under(restriction));
      expect(pools(verdict)).toEqual(["model/a-0"]);
      expect(removals(verdict)).toEqual({ "model/a-1": restriction.id });
    },
  );

  test("on a model, and on an application", () => {
    expect(denied(decide({}, under(stop("model", "a"))))).toMatchObject({ code: "no_legal_target" });
    expect(denied(decide({}, under(stop("application", request.application.key))))).toMatchObject({
      code: "denied",
      rule: "stop-application",
      reason: "incident 7",
    });
  });

  test("on a rule: an allow rule no longer allows, a reroute is refused, a deny rule keeps denying", () => {
    expect(denied(decide({}, under(stop("rule", "allow-all"))))).toMatchObject({
      ...{ code: "denied", rule: "stop-rule" },
      reason: "incident 7 (the allow rule allow-all is out of use by restriction stop-rule)",
    });
    const move = rule("move", { effect: "reroute", to: { version: "a@0" } });
    expect(denied(decide({ rules: [ALLOW_ALL, move] }, under(stop("rule", "move")))).rule).toBe("stop-rule");
    const deny = rule("no", { effect: "deny" });
    expect(denied(decide({ rules: [ALLOW_ALL, deny] }, under(stop("rule", "no")))).rule).toBe("no");
  });

  test("on an allow rule: they are named only where lifting them would open the request", () => {
    const allow = (id: string, changes: Partial<ProgramRule> = {}) => rule(id, { effect: "allow", ...changes });
    const under2 = (rules: readonly ProgramRule[]) => denied(decide({ rules }, under(stop("rule", "one"))));
    // It would not have held, or another level has no rule that does.
    expect(under2([allow("one", { when: "false" })]).code).toBe("not_allowed");
    expect(under2([allow("one", { effectiveTo: "2020-01-01T00:00:00Z" })]).code).toBe("not_allowed");
    const narrower = allow("two", { scope: request.application.scope, when: "false" });
    expect(under2([allow("one"), narrower])).toMatchObject({
      code: "not_allowed",
      reason: expect.stringContaining("(two)"),
    });
    expect(under2([allow("one"), allow("two", { when: "false" })])).toMatchObject({
      code: "denied",
      rule: "stop-rule",
    });
    expect(decide({ rules: [allow("one"), allow("two")] }, under(stop("rule", "one")))).toMatchObject({ rule: "two" });
    const verdict = decide({ rules: [allow("one")] }, under(stop("rule", "one")));
    expect(verdict.considered).toEqual([
      expect.objectContaining({ rule: "one", result: "false", error: "taken back by restriction stop-rule" }),
    ]);
  });

  test("they end when they say so, and not when that cannot be read", () => {
    expect(pools(decide({}, under(stop("version", "a@1", "2026-11-21T12:00:00Z"))))).toHaveLength(2);
    expect(pools(decide({}, under(stop("version", "a@1", "2026-11-21T12:00:01Z"))))).toHaveLength(1);
    expect(pools(decide({}, under(stop("version", "a@1", "soon"))))).toHaveLength(1);
  });

  test("authored ones hold like those that are given, and beside them", () => {
    const restrictions = [stop("version", "a@1", "2026-11-21T12:00:01Z")];
    expect(pools(decide({ restrictions }, request))).toEqual(["model/a-0"]);
    expect(pools(decide({ restrictions }, { ...request, now: request.now + 1_000 }))).toHaveLength(2);
    expect(denied(decide({ restrictions }, under(stop("upstream", "other")))).code).toBe("no_legal_target");
    expect(pools(decide({ restrictions: [stop("region", "nowhere")] }, under(stop("version", "a@1"))))).toEqual([
      "model/a-0",
    ]);
  });

  test("observe mode does not loosen them", () => {
    const observed = { ...request, observe: true };
    expect(pools(decide({ rules: [] }, under(stop("version", "a@1"), observed)))).toEqual(["model/a-0"]);
    expect(decide({}, under(stop("model", "a"), observed)).effect).toBe("deny");
    expect(decide({}, under(stop("application", request.application.key), observed)).effect).toBe("deny");
    const move = rule("move", { effect: "reroute", to: { version: "a@0" } });
    expect(denied(decide({ rules: [ALLOW_ALL, move] }, under(stop("rule", "move"), observed))).rule).toBe("stop-rule");
  });
});
