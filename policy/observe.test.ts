import { describe, expect, test } from "vitest";
import type { DecisionInput } from "./decision.ts";
import {
  ALLOW_ALL,
  allowed,
  application,
  decide,
  denied,
  modelInput,
  modelTarget,
  pools,
  removals,
  rule,
} from "./fixtures.ts";
import type { PolicyProgram } from "./program.ts";

describe("observe mode", () => {
  const targets = [modelTarget("a", 1, { country: "US" }), modelTarget("a", 0)];
  const request = modelInput("a", targets);
  const ways: readonly [string, DecisionInput, Partial<PolicyProgram>][] = [
    ["of the input", { ...request, observe: true }, {}],
    ["of the application", { ...request, application: application({ mode: "observe" }) }, {}],
    ["of the gateway", request, { observedGateways: ["edge"] }],
  ];

  test.each(ways)("%s lets through what policy denies, and says so", (_name, observed, changes) => {
    const deny = rule("no", { effect: "deny" });
    const verdict = allowed(decide({ rules: [ALLOW_ALL, deny], ...changes }, observed));
    expect(verdict.observed).toEqual({ rule: "no", reason: "because of no" });
    expect(pools(verdict)).toEqual(["model/a-1", "model/a-0"]);
  });

  test("with what would be legal, or else all there is", () => {
    const eu = rule("eu", { effect: "restrict", require: "target.country in countries.EU" });
    const observed = { ...request, observe: true };
    const some = allowed(decide({ rules: [eu] }, observed));
    expect(pools(some)).toEqual(["model/a-0"]);
    expect(some).toMatchObject({ rule: "chancery:observe", observed: { rule: "chancery:default-deny" } });
    const none = rule("none", { effect: "restrict", require: "false" });
    const all = allowed(decide({ rules: [ALLOW_ALL, none] }, observed));
    expect(pools(all)).toEqual(["model/a-1", "model/a-0"]);
    expect(all.observed?.rule).toBe("chancery:no-legal-target");
    expect(removals(all)).toEqual({ "model/a-1": "none", "model/a-0": "none" });
  });

  test("what is allowed anyway is not marked, and no model is found that is not there", () => {
    expect(allowed(decide({}, { ...request, observe: true })).observed).toBeUndefined();
    const unknown = { ...request, observe: true, requested: { modelName: "z", stream: false } };
    expect(denied(decide({}, unknown)).code).toBe("model_not_found");
  });

  test("a reroute that leads nowhere leaves what was asked for", () => {
    const rules = [ALLOW_ALL, rule("lost", { effect: "reroute", to: { model: "z" } })];
    const verdict = allowed(decide({ rules }, { ...request, observe: true }));
    expect(pools(verdict)).toEqual(["model/a-1", "model/a-0"]);
    expect(verdict.observed?.rule).toBe("lost");
  });
});
