import { describe, expect, test } from "vitest";
import {
  ALLOW_ALL,
  decide,
  denied,
  input,
  modelInput,
  modelTarget,
  pools,
  removals,
  rule,
  upstreamTarget,
} from "./fixtures.ts";
import type { ProgramRule } from "./program.ts";

describe("reroutes", () => {
  const targets = ["a", "b", "c", "d"].map((name) => modelTarget(name, 0));
  const move = (from: string, to: string, changes: Partial<ProgramRule> = {}) =>
    rule(`${from}-${to}`, { effect: "reroute", target: { kind: "Model", key: from }, to: { model: to }, ...changes });

  test("two in a row are followed, a third is not", () => {
    const rules = [ALLOW_ALL, move("a", "b"), move("b", "c"), move("c", "d")];
    const verdict = decide({ rules }, modelInput("a", targets));
    expect(pools(verdict)).toEqual(["model/c-0"]);
    expect(verdict.rerouted.map(({ to }) => to)).toEqual(["b", "c"]);
  });

  test("a circle is left where it would close", () => {
    const verdict = decide({ rules: [ALLOW_ALL, move("a", "b"), move("b", "a")] }, modelInput("a", targets));
    expect(pools(verdict)).toEqual(["model/b-0"]);
    expect(verdict.errors).toEqual([{ rule: "b-a", message: "leads back to a, and is not followed" }]);
  });

  test("the nearest scope has the first word, then the order of rules", () => {
    const at = (id: string, scope: string, to: string) =>
      rule(id, { effect: "reroute", scope, to: { model: to }, when: `model.name == "a"` });
    const rules = [ALLOW_ALL, at("root", ".", "b"), at("near1", "bank/retail", "c"), at("near2", "bank/retail", "d")];
    expect(pools(decide({ rules }, modelInput("a", targets)))).toEqual(["model/c-0"]);
  });

  test("the new model is checked like any other", () => {
    const request = modelInput("a", targets);
    const deny = rule("no-b", { effect: "deny", when: `model.name == "b"` });
    expect(decide({ rules: [ALLOW_ALL, move("a", "b"), deny] }, request)).toMatchObject({
      effect: "deny",
      rule: "no-b",
    });
    const level = rule("b-level", { effect: "allow", when: "false", target: { kind: "Model", key: "b" } });
    expect(denied(decide({ rules: [ALLOW_ALL, move("a", "b"), level] }, request)).code).toBe("not_allowed");
    const fence = rule("fence", { effect: "restrict", require: "false", target: { kind: "Model", key: "b" } });
    expect(denied(decide({ rules: [ALLOW_ALL, move("a", "b"), fence] }, request)).code).toBe("no_legal_target");
  });

  test("and what was asked for first still binds", () => {
    const request = modelInput("a", targets);
    const deny = rule("no-a", { effect: "deny", when: `model.name == "a"` });
    expect(decide({ rules: [ALLOW_ALL, move("a", "b"), deny] }, request).rule).toBe("no-a");
    const fence = rule("fence", {
      effect: "restrict",
      require: `target.model != "b"`,
      target: { kind: "Model", key: "a" },
    });
    expect(removals(decide({ rules: [ALLOW_ALL, move("a", "b"), fence] }, request))).toMatchObject({
      "model/b-0": "fence",
    });
  });

  test("to a version, to an upstream", () => {
    const two = [modelTarget("a", 0), modelTarget("a", 1), modelTarget("b", 0, {}, { upstream: "other" })];
    const version = rule("v", { effect: "reroute", to: { version: "a@0" } });
    expect(pools(decide({ rules: [ALLOW_ALL, version] }, modelInput("a", two)))).toEqual(["model/a-0"]);
    const candidates = [upstreamTarget("web"), upstreamTarget("spare")];
    const upstream = rule("u", { effect: "reroute", to: { upstream: "spare" } });
    expect(pools(decide({ rules: [ALLOW_ALL, upstream] }, input({ candidates })))).toEqual(["upstream/spare"]);
  });

  test("to what the route does not offer: no legal target, and why", () => {
    for (const to of [{ model: "elsewhere" }, { version: "a@9" }, { upstream: "elsewhere" }]) {
      const rules = [ALLOW_ALL, rule("lost", { effect: "reroute", to })];
      const verdict = denied(decide({ rules }, modelInput("a", targets)));
      expect(verdict).toMatchObject({ code: "no_legal_target", rule: "lost" });
      expect(verdict.reason).toContain("which this route does not offer");
    }
  });

  test("a name that stands for no model can be given one; else it is not found", () => {
    const request = modelInput("a", targets, { requested: { modelName: "gpt-9", stream: false } });
    const denyAll = rule("named", { effect: "deny", when: `model.name == "x"` });
    expect(denied(decide({ rules: [ALLOW_ALL, denyAll] }, request))).toMatchObject({
      code: "model_not_found",
      reason: `There is no model "gpt-9" here`,
    });
    const rules = [ALLOW_ALL, rule("default", { effect: "reroute", when: "!has(model.name)", to: { model: "b" } })];
    expect(pools(decide({ rules }, request))).toEqual(["model/b-0"]);
    const unoffered = { ...request, requested: { modelName: "z", model: "z", stream: false } };
    expect(denied(decide({}, unoffered)).code).toBe("model_not_found");
  });
});
