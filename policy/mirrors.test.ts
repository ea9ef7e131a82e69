import { describe, expect, test } from "vitest";
import { compilePolicy } from "./decide.ts";
import type { DecisionInput, Mirror } from "./decision.ts";
import { explainVerdict } from "./explain.ts";
import { allowed, application, input, modelInput, modelTarget, program, rule, upstreamTarget } from "./fixtures.ts";
import type { PolicyProgram, RolloutFacts, Target } from "./program.ts";

const V0 = modelTarget("atlas", 0);
const SHADOW = modelTarget("atlas", 1, { maturity: "shadow" });
const TARGETS = [V0, SHADOW];
const ROLLOUT: RolloutFacts = {
  kind: "Rollout",
  key: "to-1",
  scope: ".",
  model: "atlas",
  to: "atlas@1",
  share: 0,
  segments: [],
  salt: "to-1",
  holdout: 0,
  mirror: { version: "atlas@1", share: 50 },
};

function mirrorOf(
  changes: Partial<PolicyProgram> = {},
  request: Partial<DecisionInput> = {},
  targets: readonly Target[] = TARGETS,
): Mirror | undefined {
  const policy = compilePolicy(program({ targets, splits: [ROLLOUT], ...changes }));
  const asked = modelInput("atlas", targets, request);
  const verdict = allowed(policy.decide(asked));
  expect(policy.decideAgain(asked)).toEqual(verdict);
  expect(policy.decideAgain(asked)).toEqual(verdict);
  expect(verdict.targets).not.toContain(SHADOW);
  return verdict.mirror;
}

describe("the mirror of a rollout", () => {
  test("is a shadow version, which answers nobody and needs no approval", () => {
    expect(mirrorOf()).toEqual({ by: "Rollout to-1", share: 50, targets: [SHADOW], removed: [] });
  });

  test("is bound by restrict rules as any target is", () => {
    const stays = rule("stays", {
      effect: "restrict",
      require: 'target.maturity == "production"',
      reason: "not this one",
    });
    const mirror = mirrorOf({ rules: [...program().rules, stays] });
    expect(mirror?.targets).toEqual([]);
    expect(mirror?.removed).toEqual([{ pool: SHADOW.pool, rule: "stays", reason: "not this one" }]);
  });

  test("is kept from it where a restrict rule cannot be told", () => {
    const unknown = rule("unknown", { effect: "restrict", when: "target.cost.input > 0.0", require: "false" });
    const mirror = mirrorOf({ rules: [...program().rules, unknown] }, {}, [
      modelTarget("atlas", 0, { cost: { inputPerMillion: 0, outputPerMillion: 0, currency: "EUR" } }),
      SHADOW,
    ]);
    expect(mirror?.removed).toMatchObject([{ pool: SHADOW.pool, rule: "unknown" }]);
  });

  test.each([
    ["version", "atlas@1"],
    ["upstream", "copies"],
  ] as const)("is stopped by a restriction on its %s, authored or given", (kind, value) => {
    const targets = [V0, { ...SHADOW, upstream: "copies" }];
    const restrictions = [{ id: "stop", kind, value, reason: "stopped" }];
    const stopped = { targets: [], removed: [{ rule: "stop" }] };
    expect(mirrorOf({}, { restrictions }, targets)).toMatchObject(stopped);
    expect(mirrorOf({ restrictions }, {}, targets)).toMatchObject(stopped);
  });

  test.each(["experimental", "retired"] as const)("is no %s version", (maturity) => {
    const mirror = mirrorOf({}, {}, [V0, modelTarget("atlas", 1, { maturity })]);
    expect(mirror).toMatchObject({ targets: [], removed: [{ rule: "chancery:maturity" }] });
  });

  test("speaks the API of what answers", () => {
    const mirror = mirrorOf({}, {}, [V0, modelTarget("atlas", 1, { maturity: "shadow", api: "anthropic-messages" })]);
    expect(mirror).toMatchObject({ targets: [], removed: [{ rule: "chancery:api" }] });
  });

  test("is not for requests that name a version, of other scopes, or that its condition leaves out", () => {
    const asked = modelInput("atlas", TARGETS).requested;
    expect(mirrorOf({}, { requested: { ...asked, version: "atlas@0" } })).toBeUndefined();
    expect(mirrorOf({ splits: [{ ...ROLLOUT, scope: "elsewhere" }] })).toBeUndefined();
    expect(mirrorOf({ splits: [{ ...ROLLOUT, when: "false" }] })).toBeUndefined();
    expect(mirrorOf({ splits: [{ ...ROLLOUT, when: "request.headers.missing == 'x'" }] })).toBeUndefined();
  });

  test("gets nothing that only observe mode lets through", () => {
    const deny = rule("no", { effect: "deny", reason: "no" });
    const observing = { application: application({ mode: "observe" }) };
    expect(mirrorOf({}, observing)?.targets).toEqual([SHADOW]);
    expect(mirrorOf({ rules: [...program().rules, deny] }, observing)).toBeUndefined();
  });
});

describe("the mirror of a plain route", () => {
  const [SHOP, COPY] = [upstreamTarget("shop"), upstreamTarget("copy")];
  const mirror = { by: "HTTPRoute shop", target: COPY, share: 10 };
  const decide = (rules: PolicyProgram["rules"]) =>
    allowed(
      compilePolicy(program({ rules, targets: [SHOP, COPY] })).decide(
        input({ candidates: [SHOP], requested: { upstream: "shop", stream: false }, mirror }),
      ),
    );

  test("is judged as a target, and is none", () => {
    const verdict = decide(program().rules);
    expect(verdict.targets).toEqual([SHOP]);
    expect(verdict.mirror).toEqual({ by: "HTTPRoute shop", share: 10, targets: [COPY], removed: [] });
  });

  test("gets nothing where a restrict rule forbids it, and the answer is the same", () => {
    const forbids = rule("no-copies", { effect: "restrict", require: 'target.upstream != "copy"', reason: "private" });
    const verdict = decide([...program().rules, forbids]);
    expect(verdict.targets).toEqual([SHOP]);
    expect(verdict.mirror).toMatchObject({ targets: [], removed: [{ pool: COPY.pool, rule: "no-copies" }] });
    expect(explainVerdict(verdict).join("\n")).toContain("HTTPRoute shop: no copy to upstream/copy (no-copies)");
    expect(explainVerdict(decide(program().rules)).join("\n")).toContain(
      "10 % of requests are copied to upstream/copy",
    );
  });
});
