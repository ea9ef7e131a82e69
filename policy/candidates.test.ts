import { describe, expect, test } from "vitest";
import {
  ALLOW_ALL,
  allowed,
  application,
  decide,
  denied,
  input,
  modelFacts,
  modelInput,
  modelTarget,
  pools,
  removals,
  rule,
  upstreamTarget,
} from "./fixtures.ts";
import type { Target } from "./program.ts";

describe("which candidates may answer", () => {
  const versions = [0, 1, 2].map((age) => modelTarget("a", age));

  test("the newest version first, older ones behind", () => {
    const verdict = decide({}, modelInput("a", versions));
    expect(pools(verdict)).toEqual(["model/a-2", "model/a-1", "model/a-0"]);
  });

  test("the version asked for first, newer ones not at all", () => {
    const requested = { model: "a", version: "a@1", stream: false };
    const verdict = decide({}, modelInput("a", versions, { requested }));
    expect(pools(verdict)).toEqual(["model/a-1", "model/a-0"]);
    expect(removals(verdict)).toEqual({ "model/a-2": "chancery:model" });
  });

  test("a version that nobody deploys is no older than any, and none is older than one of its own age", () => {
    const asking = (version: string, targets: readonly Target[]) =>
      decide({}, modelInput("a", targets, { requested: { model: "a", version, stream: false } }));
    expect(denied(asking("a@9", versions)).code).toBe("no_legal_target");
    const twin = modelTarget("a", 1, { version: "a@twin", deployment: "twin" });
    expect(pools(asking("a@1", [...versions, twin]))).toEqual(["model/a-1", "model/a-0"]);
  });

  test("another model is not an answer, unless the application accepts it, in its order", () => {
    const targets = [
      ...versions.slice(2),
      modelTarget("b", 7),
      modelTarget("c", 1),
      modelTarget("c", 2),
      modelTarget("d", 0),
    ];
    const request = modelInput("a", targets, { application: application({ substitutes: ["c", "b"] }) });
    const verdict = decide({}, request);
    expect(pools(verdict)).toEqual(["model/a-2", "model/c-2", "model/c-1", "model/b-7"]);
    expect(removals(verdict)).toEqual({ "model/d-0": "chancery:model" });
  });

  test("a substitute must be open to the caller, and its own rules bind it", () => {
    const targets = [modelTarget("a", 0), modelTarget("b", 0), modelTarget("c", 0), modelTarget("d", 0)];
    const request = modelInput("a", targets, { application: application({ substitutes: ["b", "c", "d"] }) });
    const rules = [
      ALLOW_ALL,
      rule("not-b", { effect: "deny", when: `has(model.name) && model.name == "b"` }),
      rule("c-closed", { effect: "restrict", require: "false", target: { kind: "Model", key: "c" } }),
    ];
    const verdict = decide({ rules }, request);
    expect(pools(verdict)).toEqual(["model/a-0", "model/d-0"]);
    expect(removals(verdict)).toEqual({ "model/b-0": "not-b", "model/c-0": "c-closed" });
  });

  test("approval is needed where the model says so, or is not known", () => {
    const request = modelInput("a", versions.slice(0, 2));
    const approval = { key: "k", version: "a@0", application: request.application.key, jurisdictions: [] };
    const required = { models: [modelFacts("a", { approval: "required" })] };
    expect(removals(decide({ ...required, approvals: [approval] }, request))).toEqual({
      "model/a-1": "chancery:approval",
    });
    expect(denied(decide(required, request)).code).toBe("no_legal_target");
    expect(denied(decide({ models: [] }, request)).reason).toContain("has no valid approval");
  });

  test("maturity", () => {
    const targets = (["experimental", "shadow", "canary", "production", "deprecated", "retired"] as const).map(
      (maturity, age) => modelTarget("a", age, { deployment: maturity, maturity }),
    );
    const answering = (minimumMaturity?: "experimental" | "shadow" | "canary" | "production" | "retired") => {
      const facts = application(minimumMaturity === undefined ? {} : { minimumMaturity });
      const verdict = decide({}, modelInput("a", targets, { application: facts }));
      return verdict.effect === "deny" ? [] : pools(verdict).map((pool) => pool.slice("model/".length));
    };
    expect(answering()).toEqual(["deprecated", "production", "canary"]);
    expect(answering("experimental")).toEqual(["deprecated", "production", "canary", "experimental"]);
    expect(answering("shadow")).toEqual(["deprecated", "production", "canary"]);
    expect(answering("production")).toEqual(["deprecated", "production"]);
    expect(answering("retired")).toEqual([]);
  });

  test("minimum scores", () => {
    const score = (value: number) => [{ metric: "accuracy", slice: "de", value }];
    const targets = [
      modelTarget("a", 0, { scores: score(0.9) }),
      modelTarget("a", 1, { scores: score(0.7) }),
      modelTarget("a", 2, { scores: [{ metric: "accuracy", slice: "all", value: 1 }] }),
      // What is no number reaches nothing.
      modelTarget("a", 3, { scores: score(Number.NaN) }),
    ];
    const facts = application({ minimumScores: [{ metric: "accuracy", slice: "de", value: 0.8 }] });
    const verdict = decide({}, modelInput("a", targets, { application: facts }));
    expect(pools(verdict)).toEqual(["model/a-0"]);
    const removed = ["model/a-1", "model/a-2", "model/a-3"].map((pool) => [pool, "chancery:scores"]);
    expect(removals(verdict)).toEqual(Object.fromEntries(removed));
  });

  test("one chain has one provider API and one kind of credential", () => {
    const targets = [
      modelTarget("a", 3),
      modelTarget("a", 2, { api: "anthropic-messages" }),
      modelTarget("a", 1, {}, { credential: "passThrough" }),
      modelTarget("a", 0, {}, { credential: "none" }),
    ];
    const verdict = decide({}, modelInput("a", targets));
    expect(pools(verdict)).toEqual(["model/a-3", "model/a-0"]);
    expect(removals(verdict)).toEqual({ "model/a-2": "chancery:api", "model/a-1": "chancery:api" });
  });

  test("the rule of the design: data of EU customers stays in the EU", () => {
    const fence = rule("eu", {
      effect: "restrict",
      when: `subject.region == "EU" && "pii" in application.dataClasses`,
      require: `target.country in countries.EU && target.trainingData.gdprBasis != ""`,
    });
    const targets = [
      modelTarget("a", 2, { deployment: "us", country: "US" }),
      modelTarget("a", 2, { deployment: "ie", country: "IE" }),
      modelTarget("a", 1, { deployment: "fr", country: "FR", trainingData: { gdprBasis: "" } }),
    ];
    const request = modelInput("a", targets);
    const rules = [ALLOW_ALL, fence];
    expect(pools(decide({ rules }, request))).toEqual(["model/ie"]);
    const stranger = { ...request, subject: { ...request.subject, fields: {} } };
    expect(pools(decide({ rules }, stranger))).toEqual(["model/ie"]);
    const american = { ...request, subject: { ...request.subject, fields: { region: "US" } } };
    expect(pools(decide({ rules }, american))).toHaveLength(3);
  });
});

describe("order", () => {
  const deployments = (["p", "q", "r"] as const).map((deployment, index) =>
    modelTarget("a", 1, { deployment, weight: [70, 20, 10][index] ?? 0 }),
  );

  test.each([
    [0, ["model/p", "model/q", "model/r"]],
    [0.69, ["model/p", "model/r", "model/q"]],
    [0.71, ["model/q", "model/p", "model/r"]],
    [0.95, ["model/r", "model/p", "model/q"]],
  ])("draw %d", (draw, expected) => {
    const verdict = decide({}, modelInput("a", deployments.toReversed(), { draw }));
    expect(pools(verdict)).toEqual(expected);
  });

  test("preferences stand before the draw and behind the version asked for, parents first", () => {
    const targets = [...deployments, modelTarget("a", 0, { deployment: "old" })];
    const rules = [
      ALLOW_ALL,
      rule("child", { effect: "prefer", scope: "bank/retail", score: `target.deployment == "r" ? 1 : 0` }),
      rule("parent", { effect: "prefer", scope: ".", score: `target.deployment in ["q", "r", "old"] ? 1 : 0` }),
    ];
    const verdict = decide({ rules }, modelInput("a", targets));
    expect(pools(verdict)).toEqual(["model/r", "model/q", "model/p", "model/old"]);
  });

  test("plain backends go by a preference that tells them apart, and by their weights where none does", () => {
    const candidates = ["x", "y", "z"].map((name) =>
      upstreamTarget(name, { labels: { tier: name === "y" ? "b" : "a" } }),
    );
    const requested = { upstream: "z", stream: false };
    const by = (score: string) =>
      allowed(decide({ rules: [ALLOW_ALL, rule("p", { effect: "prefer", score })] }, input({ candidates, requested })));
    const preferred = by(`target.labels["tier"] == "b" ? 2 : 1`);
    expect(preferred.preferred).toBe(true);
    expect(pools(preferred)).toEqual(["upstream/y", "upstream/z", "upstream/x"]);
    const alike = by("1");
    expect(alike.preferred).toBeUndefined();
    expect(pools(alike)[0]).toBe("upstream/z");
  });

  test("a cheaper, faster, nearer or better deployment goes first, equal ones by weight and name", () => {
    const cost = (inputPerMillion: number) => ({ cost: { inputPerMillion, outputPerMillion: 1, currency: "EUR" } });
    const targets = [
      modelTarget("a", 1, { deployment: "p", ...cost(3), latencyMs: 200, region: "us" }),
      modelTarget("a", 1, { deployment: "q", ...cost(1), latencyMs: 300, region: "us" }),
      modelTarget("a", 1, { deployment: "r", ...cost(2), latencyMs: 100, region: "EU" }),
    ];
    const first = (score: string) =>
      pools(decide({ rules: [ALLOW_ALL, rule("p", { effect: "prefer", score })] }, modelInput("a", targets)));
    expect(first("-target.cost.input")).toEqual(["model/q", "model/r", "model/p"]);
    expect(first("-target.latencyMs")).toEqual(["model/r", "model/p", "model/q"]);
    expect(first("target.region == subject.region ? 1 : 0")).toEqual(["model/r", "model/p", "model/q"]);
  });

  test("plain backends go by their weights, the drawn one first", () => {
    const candidates = ["x", "y", "z"].map((name) => upstreamTarget(name));
    const weights = new Map([
      ["upstream/x", 1],
      ["upstream/y", 9],
      ["upstream/z", 0],
    ]);
    expect(pools(decide({}, input({ candidates, weights, draw: 0.5 })))).toEqual([
      "upstream/y",
      "upstream/x",
      "upstream/z",
    ]);
    const requested = { upstream: "x", stream: false };
    expect(allowed(decide({}, input({ candidates, weights, requested }))).preferred).toBeUndefined();
    expect(pools(decide({}, input({ candidates, weights, draw: 0.5, requested })))[0]).toBe("upstream/x");
  });
});
