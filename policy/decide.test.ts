import { describe, expect, test } from "vitest";
import { compilePolicy } from "./decide.ts";
import type { Allow, DecisionInput, Deny, Restriction, Verdict } from "./decision.ts";
import {
  ALLOW_ALL,
  application,
  input,
  modelFacts,
  modelInput,
  modelTarget,
  program,
  rule,
  upstreamTarget,
} from "./fixtures.ts";
import type { PolicyProgram, ProgramRule } from "./program.ts";

function decide(changes: Partial<PolicyProgram>, request: DecisionInput): Verdict {
  return compilePolicy(program({ targets: request.candidates, ...changes })).decide(request);
}
function allowed(verdict: Verdict): Allow {
  if (verdict.effect === "deny") throw new Error(`denied: ${verdict.code} ${verdict.rule} ${verdict.reason}`);
  return verdict;
}
function denied(verdict: Verdict): Deny {
  if (verdict.effect === "allow") throw new Error(`allowed by ${verdict.rule}`);
  return verdict;
}
function pools(verdict: Verdict): readonly string[] {
  return allowed(verdict).targets.map(({ pool }) => pool);
}
function removals(verdict: Verdict): Readonly<Record<string, string>> {
  return Object.fromEntries(verdict.removed.map(({ pool, rule: by }) => [pool, by]));
}

const WEB = [upstreamTarget("web")];
const PLAIN = input({ candidates: WEB });

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

describe("levels", () => {
  const yes = (id: string, scope: string, changes: Partial<ProgramRule> = {}) =>
    rule(id, { effect: "allow", scope, ...changes });
  const no = (id: string, scope: string, changes: Partial<ProgramRule> = {}) =>
    rule(id, { effect: "allow", scope, when: "false", ...changes });

  test.each<[string, readonly ProgramRule[], string]>([
    ["nothing allows by itself", [], "chancery:default-deny"],
    ["one allow rule at the root is enough", [yes("r", ".")], "r"],
    ["one rule of a level is enough", [no("r1", "."), yes("r2", ".")], "r2"],
    ["every level that has allow rules needs one", [yes("r", "."), no("b", "bank")], "chancery:default-deny"],
    ["and none can speak for another", [no("r", "."), yes("b", "bank/retail")], "chancery:default-deny"],
    ["the nearest rule is named", [yes("r", "."), yes("b", "bank"), yes("c", "bank/retail")], "c"],
    ["rules of other scopes are not asked", [yes("r", "."), no("x", "insurance"), no("y", "bank/retail/deeper")], "r"],
    ["a scope that only begins alike is another", [yes("r", "."), no("x", "ban"), no("y", "bank/ret")], "r"],
  ])("%s", (_name, rules, expected) => {
    expect(decide({ rules }, PLAIN).rule).toBe(expected);
  });

  test("policies attached to a gateway, route or model bind whoever calls", () => {
    const foreign = { scope: "security" };
    for (const target of [
      { kind: "Gateway", key: "edge" },
      { kind: "HTTPRoute", key: "bank/chat" },
      { kind: "Model", key: "a" },
    ] as const) {
      const request = modelInput("a", [modelTarget("a", 0)]);
      const stop = rule("stop", { effect: "deny", ...foreign, target });
      expect(decide({ rules: [ALLOW_ALL, stop] }, request).rule).toBe("stop");
      expect(decide({ rules: [ALLOW_ALL, no("level", "security", { target })] }, request).effect).toBe("deny");
      expect(decide({ rules: [yes("level", "security", { target })] }, request).rule).toBe("level");
      const elsewhere = { ...target, key: "other" };
      expect(decide({ rules: [ALLOW_ALL, { ...stop, target: elsewhere }] }, request).rule).toBe("allow-all");
    }
  });

  test("an allow rule that one team attaches to a gateway does not satisfy another team's level there", () => {
    const target = { kind: "Gateway", key: "edge" } as const;
    const rules = [no("security", "security", { target }), yes("team", "bank/retail", { target })];
    expect(denied(decide({ rules }, PLAIN)).code).toBe("not_allowed");
  });

  test("an application of the root scope has the root level only", () => {
    const request = input({ candidates: WEB, application: application({ key: "chat", scope: "." }) });
    expect(decide({ rules: [ALLOW_ALL, no("b", "bank")] }, request).effect).toBe("allow");
  });
});

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
    expect(answering("experimental")).toEqual(["deprecated", "production", "canary", "shadow", "experimental"]);
    expect(answering("shadow")).toEqual(["deprecated", "production", "canary", "shadow"]);
    expect(answering("production")).toEqual(["deprecated", "production"]);
    expect(answering("retired")).toEqual([]);
  });

  test("minimum scores", () => {
    const score = (value: number) => [{ metric: "accuracy", slice: "de", value }];
    const targets = [
      modelTarget("a", 0, { scores: score(0.9) }),
      modelTarget("a", 1, { scores: score(0.7) }),
      modelTarget("a", 2, { scores: [{ metric: "accuracy", slice: "all", value: 1 }] }),
    ];
    const facts = application({ minimumScores: [{ metric: "accuracy", slice: "de", value: 0.8 }] });
    const verdict = decide({}, modelInput("a", targets, { application: facts }));
    expect(pools(verdict)).toEqual(["model/a-0"]);
    expect(removals(verdict)).toEqual({ "model/a-1": "chancery:scores", "model/a-2": "chancery:scores" });
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
    expect(pools(decide({}, input({ candidates, weights, draw: 0.5, requested })))[0]).toBe("upstream/x");
  });
});

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
    expect(denied(decide({}, under(stop("rule", "allow-all")))).code).toBe("not_allowed");
    const move = rule("move", { effect: "reroute", to: { version: "a@0" } });
    expect(denied(decide({ rules: [ALLOW_ALL, move] }, under(stop("rule", "move")))).rule).toBe("stop-rule");
    const deny = rule("no", { effect: "deny" });
    expect(denied(decide({ rules: [ALLOW_ALL, deny] }, under(stop("rule", "no")))).rule).toBe("no");
  });

  test("they end when they say so, and not when that cannot be read", () => {
    expect(pools(decide({}, under(stop("version", "a@1", "2026-11-21T12:00:00Z"))))).toHaveLength(2);
    expect(pools(decide({}, under(stop("version", "a@1", "2026-11-21T12:00:01Z"))))).toHaveLength(1);
    expect(pools(decide({}, under(stop("version", "a@1", "soon"))))).toHaveLength(1);
  });

  test("observe mode does not loosen them", () => {
    const observed = { ...request, observe: true };
    expect(pools(decide({ rules: [] }, under(stop("version", "a@1"), observed)))).toEqual(["model/a-0"]);
    expect(decide({}, under(stop("model", "a"), observed)).effect).toBe("deny");
    expect(decide({}, under(stop("application", request.application.key), observed)).effect).toBe("deny");
  });
});

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
