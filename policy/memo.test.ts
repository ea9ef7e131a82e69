import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileExpression } from "./cel.ts";
import { compilePolicy } from "./decide.ts";
import type { DecisionInput } from "./decision.ts";
import {
  ALLOW_ALL,
  application,
  modelFacts,
  modelInput,
  modelTarget,
  NOW,
  program,
  rule,
  SUBJECT,
} from "./fixtures.ts";
import { dependenciesOf, Memo } from "./memo.ts";

describe("what an expression reads", () => {
  const keys = (text: string) => {
    const compiled = compileExpression(text, "target", "bool");
    if (!compiled.ok) throw new Error(compiled.errors[0]?.message);
    const dependencies = dependenciesOf(compiled.tree);
    if (dependencies === undefined || dependencies.timed) return undefined;
    const { reads } = dependencies;
    const roots = [...(reads.application ? ["application"] : []), ...(reads.model ? ["model"] : [])];
    return [...reads.fields.map(({ key }) => key.replaceAll("\n", ".")), ...roots];
  };

  test.each<[string, readonly string[] | undefined]>([
    [`target.country in countries.EU && target.trainingData.gdprBasis != ""`, []],
    [`target.country == subject.region`, ["subject.region"]],
    [`has(subject.claims.team) && subject.claims["team"] == target.provider`, ["subject.claims.team"]],
    [`target.region in application.jurisdictions`, ["application"]],
    [`model.name == target.model`, ["model"]],
    [`target.certifications.exists(c, c == "iso")`, undefined],
    [`target.approved`, undefined],
    [`now > timestamp("2026-01-01T00:00:00Z") && target.age < 2`, undefined],
    [`subject.claims.exists(name, name == target.pool)`, undefined],
    [`subject.claims.roles.exists(role, role == target.pool)`, ["subject.claims.roles"]],
    [`application.dataClasses.all(subject, subject != target.pool)`, ["application"]],
    [`size(request.header_values) > target.age`, undefined],
    [`target == target`, undefined],
    [`metadata.a == target.pool`, undefined],
  ])("%s", (text, expected) => {
    expect(keys(text)).toEqual(expected);
  });
});

describe("Memo", () => {
  test("keeps what is asked for, within its bounds", () => {
    const memo = new Memo(10);
    for (let index = 0; index < 1_000; index += 1) {
      memo.set(`${index}`, index);
      expect(memo.get("0")).toBe(0);
      expect(memo.size).toBeLessThanOrEqual(10);
    }
    expect(memo.get("500")).toBeUndefined();
    expect(memo.get("999")).toBe(999);
  });
});

const REQUIRE = [
  `target.country == "IE"`,
  `target.country in countries.EU && target.provider == subject.tenant`,
  `subject.claims.level == "3" || target.age > 0`,
  `target.region in application.jurisdictions`,
  `"eu" in subject.claims.groups || target.approved`,
  `target.certifications.exists(c, c == "iso")`,
  `now < timestamp("2026-11-21T12:00:01Z") || target.age == 0`,
  `request.headers["x-team"] == target.provider`,
  `request.url_path.startsWith("/v1") && target.country == "US"`,
  `has(subject.claims.nested.team) ? subject.claims.nested.team == target.provider : target.age == 1`,
  `target.scores.accuracy > 0.5`,
  `model.name == target.model`,
  `metadata.size() == 0 || target.age == 0`,
];
const rules = fc
  .array(
    fc.record({
      effect: fc.constantFrom("restrict" as const, "restrict" as const, "prefer" as const),
      when: fc.constantFrom(undefined, ...REQUIRE),
      what: fc.constantFrom(...REQUIRE),
      shadow: fc.boolean(),
    }),
    { minLength: 1, maxLength: 5 },
  )
  .map((list) =>
    list.map(({ effect, when, what, shadow }, index) =>
      rule(`r${index}`, {
        effect,
        mode: shadow ? "shadow" : "enforce",
        ...(when === undefined ? {} : { when }),
        ...(effect === "restrict" ? { require: what } : { score: `(${what}) ? target.age : 0` }),
      }),
    ),
  );

const score = [{ metric: "accuracy", slice: "all", value: 0.9 }];
const iso = [{ name: "iso", validUntil: "2026-11-21T12:00:01Z" }];
const TARGETS = [
  modelTarget("a", 2, { country: "US", region: "EU", scores: score }),
  modelTarget("a", 1, { provider: "risk", certifications: iso }),
  modelTarget("a", 0, { scores: score }),
  modelTarget("b", 0, { country: "US", certifications: iso, region: "EU" }),
];
const APPROVALS = [
  { key: "k", version: "a@1", application: "bank/retail/chat", jurisdictions: [], validUntil: "2026-11-21T12:00:01Z" },
];
const APPLICATIONS = [
  application({ substitutes: ["b"] }),
  application({ substitutes: ["a", "b"], jurisdictions: ["US"] }),
  application({ key: "other", jurisdictions: [] }),
];

const request = fc
  .record({
    application: fc.constantFrom(...APPLICATIONS),
    model: fc.constantFrom("a", "b"),
    tenant: fc.constantFrom(undefined, "acme", "risk"),
    level: fc.constantFrom<unknown>(undefined, "3", 3, null, ["3"]),
    groups: fc.constantFrom<unknown>(undefined, [], ["eu"], "eu", [3], { eu: 1 }),
    nested: fc.constantFrom<unknown>(undefined, {}, { team: "acme" }, "acme"),
    team: fc.constantFrom<readonly string[]>([], ["acme"], ["risk"], ["acme", "risk"]),
    path: fc.constantFrom("/v1/x", "/v2"),
    later: fc.boolean(),
  })
  .map((parts): DecisionInput => {
    const base = modelInput(parts.model, TARGETS, { application: parts.application });
    const claims = { level: parts.level, groups: parts.groups, nested: parts.nested };
    return {
      ...base,
      request: { ...base.request, url_path: parts.path, headers: new Map([["x-team", parts.team]]) },
      subject: {
        ...SUBJECT,
        claims: Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined)),
        fields: parts.tenant === undefined ? {} : { tenant: parts.tenant },
      },
      now: parts.later ? NOW + 2_000 : NOW,
    };
  });

test("a policy that has answered others answers as a fresh one", { timeout: 120_000 }, () => {
  fc.assert(
    fc.property(rules, fc.array(request, { minLength: 2, maxLength: 12 }), (list, requests) => {
      const models = [modelFacts("a"), modelFacts("b")];
      const facts = program({ rules: [ALLOW_ALL, ...list], targets: TARGETS, models, approvals: APPROVALS });
      const warm = compilePolicy(facts);
      const fresh = requests.map((asked) => compilePolicy(facts).decide(asked));
      for (const round of ["first", "again"]) {
        for (const [index, asked] of requests.entries()) expect(warm.decide(asked), round).toEqual(fresh[index]);
      }
    }),
    { numRuns: 60 },
  );
});

describe("what a policy keeps", () => {
  const request = modelInput("a", [modelTarget("a", 1)]);

  test("is not what is told to who asks for an explanation", () => {
    const rules = [ALLOW_ALL, rule("never", { effect: "deny", when: 'request.method == "BREW"' })];
    const policy = compilePolicy(program({ rules, targets: request.candidates }));
    const short = policy.decideAgain(request);
    const explained = { ...request, explain: true };
    expect(policy.decideAgain(explained)).toEqual(policy.decide(explained));
    expect(policy.decideAgain(explained).considered.length).toBeGreaterThan(short.considered.length);
    expect(policy.basisOf(explained)).toBeUndefined();
    expect(policy.decideAgain(request)).toEqual(short);
  });

  test("is not a denial that came of a fault", () => {
    const policy = compilePolicy(program({ targets: request.candidates }));
    let faulty = true;
    const broken: DecisionInput = {
      ...request,
      get observe(): boolean {
        if (faulty) throw new Error("a fault");
        return false;
      },
    };
    expect(policy.decideAgain(broken)).toMatchObject({ effect: "deny", code: "evaluation_error" });
    faulty = false;
    expect(policy.basisOf(broken)).toBeUndefined();
    expect(policy.decideAgain(broken).effect).toBe("allow");
    expect(policy.basisOf(broken)).toBeDefined();
  });

  test("is not one of the names that stand for no model here", () => {
    const policy = compilePolicy(program({ targets: request.candidates }));
    const unknown = { ...request, requested: { modelName: "x", model: "x", stream: false } };
    expect(policy.decideAgain(unknown)).toMatchObject({ code: "model_not_found" });
    expect(policy.basisOf(unknown)).toBeUndefined();
  });
});
