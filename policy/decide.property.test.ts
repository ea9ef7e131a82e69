import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compilePolicy } from "./decide.ts";
import type { DecisionInput, Verdict } from "./decision.ts";
import { ALLOW_ALL, application, modelFacts, modelInput, modelTarget, program, rule, SUBJECT } from "./fixtures.ts";
import type { ProgramRule, Restriction, SplitFacts, Target } from "./program.ts";
import { scopeChain } from "./rules.ts";

/**
 * Conditions with what they come to, worked out by hand: the oracle of these tests never asks the expression engine.
 * `undefined` is unknown.
 */
interface Condition {
  readonly text: string;
  readonly holds: (request: DecisionInput) => boolean | undefined;
}
interface Demand {
  readonly text: string;
  readonly holds: (target: Target) => boolean | undefined;
}

const CONDITIONS: readonly Condition[] = [
  { text: "true", holds: () => true },
  { text: "false", holds: () => false },
  {
    text: `subject.region == "EU"`,
    holds: ({ subject }) => (subject.fields.region === undefined ? undefined : subject.fields.region === "EU"),
  },
  { text: `"pii" in application.dataClasses`, holds: (request) => request.application.dataClasses.includes("pii") },
  { text: `subject.nothing == "1"`, holds: () => undefined },
  { text: `has(subject.region)`, holds: ({ subject }) => subject.fields.region !== undefined },
];
const DEMANDS: readonly Demand[] = [
  { text: "true", holds: () => true },
  { text: "false", holds: () => false },
  { text: `target.country == "IE"`, holds: ({ model }) => model?.country === "IE" },
  { text: `target.trainingData.gdprBasis != ""`, holds: ({ model }) => model?.trainingData.gdprBasis !== "" },
  { text: `target.scores.accuracy > 0.5`, holds: ({ model }) => (model?.scores.length === 0 ? undefined : true) },
  { text: `target.age < 2`, holds: ({ model }) => (model?.age ?? 0) < 2 },
];

const SCOPES = [".", "bank", "bank/retail", "bank/retail/chat", "insurance"];
const MODELS = ["a", "b", "c"];

const scope = fc.constantFrom(...SCOPES);
const condition = fc.constantFrom(...CONDITIONS).map(({ text }) => text);
const demand = fc.constantFrom(...DEMANDS).map(({ text }) => text);
const attachment = fc.oneof(
  { weight: 4, arbitrary: fc.constant(undefined) },
  { weight: 1, arbitrary: fc.constantFrom(...MODELS).map((key) => ({ kind: "Model", key }) as const) },
  { weight: 1, arbitrary: fc.constantFrom("edge", "other").map((key) => ({ kind: "Gateway", key }) as const) },
);

function ruleOf(effect: ProgramRule["effect"], mode: ProgramRule["mode"] = "enforce"): fc.Arbitrary<ProgramRule> {
  return fc.record({ scope, condition, demand, attachment, to: fc.constantFrom(...MODELS) }).map((parts) =>
    rule(effect, {
      effect,
      mode,
      scope: parts.scope,
      when: parts.condition,
      ...(parts.attachment === undefined ? {} : { target: parts.attachment }),
      ...(effect === "restrict" ? { require: parts.demand } : {}),
      ...(effect === "reroute" ? { to: { model: parts.to } } : {}),
      ...(effect === "prefer" ? { score: "target.age * 7 % 5" } : {}),
    }),
  );
}
const anyRule = fc.oneof(
  ruleOf("deny"),
  ruleOf("allow"),
  ruleOf("restrict"),
  ruleOf("restrict"),
  ruleOf("reroute"),
  ruleOf("prefer"),
);
/** Mostly few denials, so that much is allowed. */
const rules = fc
  .tuple(fc.array(anyRule, { maxLength: 6 }), fc.boolean())
  .map(([some, open]) => numbered(open ? [ALLOW_ALL, ...some] : some));

function numbered(list: readonly ProgramRule[]): readonly ProgramRule[] {
  return list.map((one, index) => ({ ...one, id: `${index}-${one.effect}` }));
}

const target = fc
  .record({
    model: fc.constantFrom(...MODELS),
    age: fc.nat({ max: 3 }),
    deployment: fc.constantFrom("p", "q"),
    country: fc.constantFrom("IE", "US"),
    gdprBasis: fc.constantFrom("", "consent"),
    scored: fc.boolean(),
    weight: fc.nat({ max: 3 }),
  })
  .map(({ model, age, deployment, country, gdprBasis, scored, weight }) =>
    modelTarget(model, age, {
      deployment: `${model}-${age}-${deployment}`,
      country,
      weight,
      trainingData: { gdprBasis },
      scores: scored ? [{ metric: "accuracy", slice: "all", value: 0.9 }] : [],
    }),
  );
const targets = fc.uniqueArray(target, { selector: ({ pool }) => pool, minLength: 1, maxLength: 10 });

const request = fc
  .record({
    targets,
    wanted: fc.constantFrom(...MODELS),
    region: fc.constantFrom("EU", "US", undefined),
    at: fc.constantFrom("bank/retail", "bank/retail/chat", "bank", "."),
    pii: fc.boolean(),
    substitutes: fc.subarray(MODELS),
    observe: fc.boolean(),
    draw: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  })
  .map((parts) =>
    modelInput(parts.wanted, parts.targets, {
      models: MODELS,
      draw: parts.draw,
      observe: parts.observe,
      application: application({
        scope: parts.at,
        dataClasses: parts.pii ? ["pii"] : [],
        substitutes: parts.substitutes,
      }),
      subject: { ...SUBJECT, fields: parts.region === undefined ? {} : { region: parts.region } },
    }),
  );

function compiled(list: readonly ProgramRule[], asked: DecisionInput, splits: readonly SplitFacts[] = []) {
  const models = MODELS.map((key) => modelFacts(key));
  return compilePolicy(program({ rules: list, targets: asked.candidates, models, splits }));
}

function decide(list: readonly ProgramRule[], asked: DecisionInput): Verdict {
  return compiled(list, asked).decide(asked);
}

const version = fc.tuple(fc.constantFrom(...MODELS), fc.nat({ max: 3 })).map(([model, age]) => `${model}@${age}`);
const split: fc.Arbitrary<SplitFacts> = fc
  .record({
    rollout: fc.boolean(),
    key: fc.constantFrom("s", "t"),
    scope: fc.constantFrom(".", "bank", "bank/retail", "shop"),
    model: fc.constantFrom(...MODELS),
    versions: fc.uniqueArray(version, { minLength: 2, maxLength: 4 }),
    when: fc.constantFrom(...CONDITIONS.map(({ text }) => text), undefined),
    share: fc.nat({ max: 100 }),
    holdout: fc.nat({ max: 50 }),
  })
  .map(({ rollout, key, scope, model, versions, when, share, holdout }): SplitFacts => {
    const common = { key, scope, model, salt: key, share, holdout, ...(when === undefined ? {} : { when }) };
    const [to = "", pinned = ""] = versions;
    if (rollout)
      return { kind: "Rollout", ...common, to, segments: [{ when: `subject.id == "user-1"`, version: pinned }] };
    const arms = versions.map((each, index) => ({ name: `arm-${index}`, version: each, weight: index + 1 }));
    return { kind: "Experiment", ...common, arms };
  });

/** Pools that enforcing lets answer. */
function legal(verdict: Verdict): ReadonlySet<string> {
  if (verdict.effect === "deny" || verdict.observed !== undefined) return new Set();
  return new Set(verdict.targets.map(({ pool }) => pool));
}

function insert(list: readonly ProgramRule[], added: ProgramRule, place: number): readonly ProgramRule[] {
  const at = place % (list.length + 1);
  return [...list.slice(0, at), { ...added, id: "added" }, ...list.slice(at)];
}

const restriction = fc
  .record({
    kind: fc.constantFrom("version", "application", "upstream", "region", "rule", "model"),
    version: fc.tuple(fc.constantFrom(...MODELS), fc.nat({ max: 3 })).map(([model, age]) => `${model}@${age}`),
    rule: fc
      .tuple(fc.nat({ max: 6 }), fc.constantFrom("allow", "reroute", "deny"))
      .map(([at, effect]) => `${at}-${effect}`),
  })
  .map(({ kind, version, rule: id }): Restriction => {
    const values = {
      version,
      rule: id,
      model: version[0] ?? "",
      application: "bank/retail/chat",
      upstream: "provider",
      region: "eu-west-1",
    };
    return { id: `stop-${kind}`, kind, value: values[kind], reason: "incident" };
  });

const enforced = request.map((asked): DecisionInput => ({ ...asked, observe: false }));

describe("properties of decisions", () => {
  test("a deny or restrict rule, wherever it is added, adds no legal target", () => {
    fc.assert(
      fc.property(
        rules,
        enforced,
        fc.oneof(ruleOf("deny"), ruleOf("restrict")),
        fc.nat(),
        (list, asked, added, place) => {
          const before = decide(list, asked);
          const after = decide(insert(list, added, place), asked);
          if (before.effect === "deny") expect(after.effect).toBe("deny");
          // What shares a chain with its head depends on the head; here all do, so that sets can be compared.
          expect(legal(after).difference(legal(before))).toEqual(new Set());
        },
      ),
    );
  });

  test("a restriction, authored or given, adds no legal target, and nothing that it names is one", () => {
    fc.assert(
      fc.property(rules, enforced, fc.array(restriction, { minLength: 1, maxLength: 3 }), fc.boolean(), (...args) => {
        const [list, asked, restrictions, authored] = args;
        const models = MODELS.map((key) => modelFacts(key));
        const base = { rules: list, targets: asked.candidates, models };
        const before = compilePolicy(program(base)).decide(asked);
        const after = authored
          ? compilePolicy(program({ ...base, restrictions })).decide(asked)
          : compilePolicy(program(base)).decide({ ...asked, restrictions });
        if (before.effect === "deny") expect(after.effect).toBe("deny");
        expect(legal(after).difference(legal(before))).toEqual(new Set());
        const targets = after.effect === "allow" ? after.targets : [];
        for (const { kind, value } of restrictions) {
          if (kind === "application" && value === asked.application.key) expect(after.effect).toBe("deny");
          const named = targets.filter(
            ({ upstream, model }) =>
              (kind === "version" && model?.version === value) ||
              (kind === "model" && model?.model === value) ||
              (kind === "region" && model?.region === value) ||
              (kind === "upstream" && upstream === value),
          );
          expect(named).toEqual([]);
        }
      }),
    );
  });

  test("a level only tightens: its first allow rule, where another level has some, allows nothing new", () => {
    fc.assert(
      fc.property(rules, enforced, ruleOf("allow"), fc.nat(), (list, asked, added, place) => {
        const chain = scopeChain(asked.application.scope);
        const before = decide(list, asked);
        const placed: ProgramRule = { ...added, scope: chain[0] ?? "." };
        const onLevel = list.some(
          (one) =>
            one.effect === "allow" &&
            one.scope === placed.scope &&
            one.target?.kind === placed.target?.kind &&
            one.target?.key === placed.target?.key,
        );
        const elsewhere = list.some(
          (one) =>
            one.effect === "allow" &&
            one.target === undefined &&
            chain.includes(one.scope) &&
            one.scope !== placed.scope,
        );
        fc.pre(!onLevel && elsewhere);
        const after = decide(insert(list, placed, place), asked);
        if (before.effect === "deny") expect(after.effect).toBe("deny");
        expect(legal(after).difference(legal(before))).toEqual(new Set());
      }),
    );
  });

  test("rules of scopes that are not on the caller's way say nothing", () => {
    fc.assert(
      fc.property(rules, request, anyRule, fc.nat(), (list, asked, added, place) => {
        const { target: _attachment, ...plain } = added;
        const before = decide(list, asked);
        expect(decide(insert(list, { ...plain, scope: "insurance/life" }, place), asked)).toEqual(before);
      }),
    );
  });

  test("shadow rules change no verdict", () => {
    const shadows = fc.oneof(
      ...(["deny", "allow", "restrict", "reroute", "prefer"] as const).map((effect) => ruleOf(effect, "shadow")),
    );
    fc.assert(
      fc.property(rules, request, shadows, fc.nat(), (list, asked, added, place) => {
        const before = decide(list, asked);
        const after = decide(insert(list, added, place), asked);
        expect(outcomeOf(after)).toEqual(outcomeOf(before));
      }),
    );
  });

  test("the same request gets the same verdict, whatever the order of candidates", () => {
    fc.assert(
      fc.property(rules, request, (list, asked) => {
        const first = decide(list, asked);
        expect(decide(list, asked)).toEqual(first);
        const turned = decide(list, { ...asked, candidates: asked.candidates.toReversed() });
        expect(turned.effect).toBe(first.effect);
        if (first.effect === "allow" && turned.effect === "allow") expect(turned.targets).toEqual(first.targets);
      }),
    );
  });

  test("every target of an allow satisfies every restrict rule that binds it, and no deny rule holds", () => {
    fc.assert(
      fc.property(rules, enforced, (list, asked) => {
        const verdict = decide(list, asked);
        if (verdict.effect === "deny") return;
        expect(verdict.targets.length).toBeGreaterThan(0);
        const models = [asked.requested.model, ...verdict.rerouted.map(({ to }) => to)];
        for (const answering of verdict.targets) {
          const about = [...models, answering.model?.model];
          const binding = list.filter((one) => applies(one, asked, about));
          for (const one of binding) {
            const held = conditionOf(one).holds(asked);
            if (one.effect === "deny") expect(held, one.id).toBe(false);
            if (one.effect === "restrict" && held !== false) expect(demandOf(one).holds(answering), one.id).toBe(true);
          }
          for (const scopeOf of levelsOf(binding)) {
            expect(
              binding.some(
                (one) => one.effect === "allow" && levelOf(one) === scopeOf && conditionOf(one).holds(asked),
              ),
            ).toBe(true);
          }
          expect(about.slice(0, -1).concat(asked.application.substitutes)).toContain(answering.model?.model);
        }
      }),
    );
  });

  test("splits change the order of what may answer, and nothing else", () => {
    fc.assert(
      fc.property(
        rules,
        enforced,
        fc.array(split, { maxLength: 3 }),
        fc.nat({ max: 9 }),
        (list, asked, splits, user) => {
          const input = { ...asked, subject: { ...asked.subject, id: `user-${user}` } };
          const without = compiled(list, input).decide(input);
          const policy = compiled(list, input, splits);
          const verdict = policy.decide(input);
          expect(verdict.effect).toBe(without.effect);
          expect(legal(verdict)).toEqual(legal(without));
          if (verdict.effect === "allow" && verdict.exposure !== undefined) {
            expect(verdict.targets[0]?.model?.version).toBe(verdict.exposure.version);
          }
          expect(policy.decideAgain(input)).toEqual(verdict);
          expect(policy.decideAgain(input)).toEqual(verdict);
        },
      ),
    );
  });

  test("observe mode lets through whatever has a target, and what it lets through untouched is legal", () => {
    fc.assert(
      fc.property(rules, enforced, (list, asked) => {
        const strict = decide(list, asked);
        const observed = decide(list, { ...asked, observe: true });
        if (strict.effect === "allow") expect(observed).toEqual(strict);
        const reachable = asked.candidates.some(({ model }) => model?.model === asked.requested.model);
        if (strict.effect === "deny" && reachable) {
          expect(observed).toMatchObject({ effect: "allow", observed: { rule: strict.rule } });
        }
      }),
    );
  });

  test("usable models are those that are allowed", () => {
    fc.assert(
      fc.property(rules, request, (list, asked) => {
        const policy = compilePolicy(
          program({ rules: list, targets: asked.candidates, models: MODELS.map((key) => modelFacts(key)) }),
        );
        const one = (model: string) =>
          policy.decide({ ...asked, requested: { model, modelName: model, stream: false } });
        expect(policy.usableModels(asked)).toEqual(MODELS.filter((model) => one(model).effect === "allow"));
      }),
    );
  });
});

function outcomeOf(verdict: Verdict) {
  return verdict.effect === "deny"
    ? {
        effect: verdict.effect,
        code: verdict.code,
        rule: verdict.rule,
        reason: verdict.reason,
        removed: verdict.removed,
      }
    : {
        effect: verdict.effect,
        targets: verdict.targets,
        rule: verdict.rule,
        observed: verdict.observed,
        removed: verdict.removed,
      };
}

/** The oracle's own reading of where a rule applies. */
function applies(one: ProgramRule, asked: DecisionInput, models: readonly (string | undefined)[]): boolean {
  if (one.target?.kind === "Model") return models.includes(one.target.key);
  if (one.target?.kind === "Gateway") return one.target.key === asked.gateway;
  const { scope: at } = asked.application;
  return one.scope === "." || at === one.scope || at.startsWith(`${one.scope}/`);
}

function levelOf(one: ProgramRule): string {
  return `${one.scope} ${one.target?.kind ?? ""} ${one.target?.key ?? ""}`;
}
function levelsOf(binding: readonly ProgramRule[]): ReadonlySet<string> {
  return new Set(binding.filter(({ effect }) => effect === "allow").map(levelOf));
}
function conditionOf(one: ProgramRule): Condition {
  return CONDITIONS.find(({ text }) => text === one.when) ?? { text: "", holds: () => one.when === undefined };
}
function demandOf(one: ProgramRule): Demand {
  const known = DEMANDS.find(({ text }) => text === one.require);
  if (known === undefined) throw new Error(`no such demand: ${one.require}`);
  return known;
}
