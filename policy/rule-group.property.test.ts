import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compilePolicy } from "./decide.ts";
import type { Considered, DecisionInput, Verdict } from "./decision.ts";
import { application, modelFacts, modelInput, modelTarget, program, rule } from "./fixtures.ts";
import type { ProgramRule, Restriction } from "./program.ts";

/** Few words, so that much collides. */
const WORDS = ["a", "b", "/a", "/a/", "/a/b", "GET", "POST", ""];
const word = fc.constantFrom(...WORDS);
const literal = word.map((text) => JSON.stringify(text));

const TEXTS = [
  "request.method",
  "request.host",
  "request.url_path",
  "application.name",
  "application.purpose",
  "application.minimumMaturity",
  "subject.kind",
  "subject.id",
  "subject.tenant",
  "subject.claims.tenant",
  "subject.claims.roles",
  "subject.claims.nested.team",
  `request.headers["x-team"]`,
  `request.headers["x-role"]`,
  "application.labels.tier",
  "xds.route",
  "source.principal",
  "model.name",
];
const text = fc.constantFrom(...TEXTS);
const LISTS = ["application.dataClasses", "application.jurisdictions", "subject.claims.roles", "subject.claims.tenant"];
const MAPS = ["request.headers", "subject", "subject.claims", "application.labels", "xds"];
const NAMES = ["tenant", "roles", "x-team", "x-role", "tier", "route", "kind", "claims", "a"];

/** Atoms of every kind, things that only look like them, and things that the index knows nothing of. */
const leaf = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(text, literal).map(([path, value]) => `${path} == ${value}`) },
  { weight: 1, arbitrary: fc.tuple(text, literal).map(([path, value]) => `${value} == ${path}`) },
  { weight: 2, arbitrary: fc.tuple(text, literal).map(([path, value]) => `${path}.startsWith(${value})`) },
  {
    weight: 2,
    arbitrary: fc.tuple(text, fc.array(literal, { maxLength: 3 })).map(([path, list]) => `${path} in [${list}]`),
  },
  { weight: 2, arbitrary: fc.tuple(literal, fc.constantFrom(...LISTS)).map(([value, path]) => `${value} in ${path}`) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.constantFrom(...NAMES), fc.constantFrom(...MAPS))
      .map(([name, map]) => `"${name}" in ${map}`),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(...TEXTS.filter((path) => !path.endsWith("]"))).map((path) => `has(${path})`),
  },
  { weight: 1, arbitrary: fc.tuple(text, literal).map(([path, value]) => `${path} != ${value}`) },
  { weight: 1, arbitrary: fc.constantFrom("true", "false", "request.size > 100", "subject.nothing.at == 1") },
  { weight: 1, arbitrary: literal.map((value) => `[${value}].exists(tenant, tenant == "a")`) },
);
const { condition } = fc.letrec<{ condition: string }>((tie) => ({
  condition: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    { weight: 3, arbitrary: leaf },
    { weight: 3, arbitrary: fc.tuple(tie("condition"), tie("condition")).map(([a, b]) => `(${a} && ${b})`) },
    { weight: 2, arbitrary: fc.tuple(tie("condition"), tie("condition")).map(([a, b]) => `(${a} || ${b})`) },
    { weight: 1, arbitrary: tie("condition").map((inner) => `!(${inner})`) },
  ),
}));

const MODELS = ["a", "b"];
const effect = fc.constantFrom<ProgramRule["effect"]>(
  "deny",
  "allow",
  "allow",
  "restrict",
  "restrict",
  "prefer",
  "reroute",
);
const rules = fc
  .array(
    fc.record({
      effect,
      when: condition,
      scope: fc.constantFrom(".", "bank/retail"),
      shadow: fc.nat({ max: 4 }),
      on: fc.constantFrom(undefined, "a", "b"),
      to: fc.constantFrom(...MODELS),
    }),
    { minLength: 4, maxLength: 24 },
  )
  .map((list) =>
    list.map((each, index) =>
      rule(`${index}-${each.effect}`, {
        effect: each.effect,
        when: each.when,
        scope: each.scope,
        mode: each.shadow === 0 ? "shadow" : "enforce",
        ...(each.on === undefined ? {} : { target: { kind: "Model", key: each.on } as const }),
        ...(each.effect === "restrict" ? { require: `target.country == "IE"` } : {}),
        ...(each.effect === "prefer" ? { score: "target.age" } : {}),
        ...(each.effect === "reroute" ? { to: { model: each.to } } : {}),
      }),
    ),
  );

const claim = fc.oneof(
  word,
  fc.array(
    fc.oneof({ weight: 5, arbitrary: word }, { weight: 1, arbitrary: fc.constantFrom(1, null, "y".repeat(70_000)) }),
    {
      maxLength: 3,
    },
  ),
  fc.constantFrom<unknown>(
    3,
    true,
    null,
    { a: "b" },
    "x".repeat(70_000),
    Array.from({ length: 1_001 }, () => "a"),
  ),
);
/** Claims beyond the bounds of what evaluation reads. */
const flood = fc.constantFrom<Readonly<Record<string, unknown>>>(
  {},
  {},
  {},
  Object.fromEntries(Array.from({ length: 1_001 }, (_, index) => [`c${index}`, index])),
  { pile: Array.from({ length: 11 }, () => Array.from({ length: 999 }, () => 1)) },
);
const some = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const headers = fc
  .array(fc.tuple(fc.constantFrom("x-team", "x-role", "other"), fc.array(word, { maxLength: 2 })), { maxLength: 3 })
  .map((list) => new Map<string, readonly string[]>(list));

const TARGETS = [
  modelTarget("a", 1, { country: "US" }),
  modelTarget("a", 0),
  modelTarget("b", 1),
  modelTarget("b", 0, { country: "US" }),
];

const request = fc
  .record({
    method: fc.constantFrom("GET", "POST"),
    host: word,
    path: word,
    headers,
    tenant: some(word),
    claims: fc.record({
      tenant: some(claim),
      roles: some(claim),
      nested: some(fc.constantFrom<unknown>({}, { team: "a" }, "a")),
    }),
    flood,
    principal: some(word),
    dataClasses: fc.array(word, { maxLength: 2 }),
    minimumMaturity: some(fc.constantFrom("canary" as const)),
    tier: some(word),
    route: some(word),
    model: fc.constantFrom("a", "b", "c"),
    size: fc.constantFrom(-1, 10, 1_000),
  })
  .map((parts): DecisionInput => {
    const base = modelInput(parts.model, TARGETS, { models: MODELS });
    const defined = Object.entries({ ...parts.claims, ...parts.flood }).filter(([, value]) => value !== undefined);
    return {
      ...base,
      request: {
        ...base.request,
        method: parts.method,
        host: parts.host,
        url_path: parts.path,
        headers: parts.headers,
        size: parts.size,
      },
      source: { ...base.source, ...(parts.principal === undefined ? {} : { principal: parts.principal }) },
      xds: parts.route === undefined ? {} : { route: parts.route },
      subject: {
        kind: "jwt",
        id: parts.host,
        claims: Object.fromEntries(defined),
        fields: parts.tenant === undefined ? {} : { tenant: parts.tenant },
      },
      application: application({
        purpose: parts.host,
        dataClasses: parts.dataClasses,
        labels: parts.tier === undefined ? {} : { tier: parts.tier },
        substitutes: MODELS,
        ...(parts.minimumMaturity === undefined ? {} : { minimumMaturity: parts.minimumMaturity }),
      }),
    };
  });

function policyOf(list: readonly ProgramRule[]) {
  return compilePolicy(program({ rules: list, targets: TARGETS, models: MODELS.map((key) => modelFacts(key)) }));
}

function withoutConsidered(verdict: Verdict): Omit<Verdict, "considered"> {
  const { considered: _, ...rest } = verdict;
  return rest;
}

function lineOf({ rule: id, pool, result }: Considered): string {
  return `${id} ${pool ?? ""} ${result}`;
}

describe("the rule index", () => {
  test("decides as if every rule were asked, and leaves out only rules that are false", { timeout: 120_000 }, () => {
    let left = 0;
    let consulted = 0;
    fc.assert(
      fc.property(rules, fc.array(request, { minLength: 3, maxLength: 6 }), (list, requests) => {
        const policy = policyOf(list);
        for (const asked of requests) {
          const indexed = policy.decide(asked);
          const naive = policy.decide({ ...asked, explain: true });
          expect(withoutConsidered(indexed)).toEqual(withoutConsidered(naive));
          const all = new Map(naive.considered.map((each) => [lineOf(each), each]));
          for (const each of indexed.considered) {
            expect(all.get(lineOf(each))).toEqual(each);
            all.delete(lineOf(each));
          }
          for (const each of all.values()) expect(each.result).toBe("false");
          left += all.size;
          consulted += indexed.considered.length;
        }
      }),
      { numRuns: 300 },
    );
    // Else the property would say nothing.
    expect(left).toBeGreaterThan(consulted / 2);
  });

  test("a header that can be asked for by itself gives the same verdict", () => {
    fc.assert(
      fc.property(rules, request, (list, asked) => {
        const policy = policyOf(list);
        const header = (name: string) => asked.request.headers.get(name);
        expect(policy.decide({ ...asked, header })).toEqual(policy.decide(asked));
      }),
      { numRuns: 50 },
    );
  });
});

describe("a verdict that was kept", () => {
  const WEIGHTED = [
    modelTarget("a", 1, { deployment: "a-1-x", weight: 3 }),
    modelTarget("a", 1, { deployment: "a-1-y", weight: 1 }),
    ...TARGETS,
    modelTarget("b", 0, {
      deployment: "b-0-z",
      certifications: [{ name: "iso", validFrom: at(2), validUntil: at(4) }],
    }),
  ];
  const approvals = [
    { key: "k", version: "b@0", application: "first", jurisdictions: [], validFrom: at(1), validUntil: at(3) },
    { key: "l", version: "a@1", application: "second", jurisdictions: [] },
  ];
  const APPLICATIONS = ["first", "second"].map((key) => application({ key, substitutes: MODELS, dataClasses: ["a"] }));
  /** The same until the set changes. */
  const RESTRICTIONS: readonly (readonly Restriction[] | undefined)[] = [
    undefined,
    [{ id: "stop", kind: "version", value: "a@1", reason: "harm", until: at(3) }],
  ];
  const timed = fc.constantFrom(
    `now < timestamp("${at(2)}")`,
    `timestamp("${at(4)}") <= now || request.method == "GET"`,
    `now == timestamp("${at(1)}")`,
    `now.getFullYear() == 2026`,
    `request.url_path.startsWith("/a") && request.url_path.size() > 2`,
    `request.size > 5`,
  );
  const moment = fc.record({
    of: fc.nat(),
    application: fc.constantFrom(...APPLICATIONS),
    now: fc.integer({ min: 1, max: 4 }),
    offset: fc.constantFrom(0, 0, 0, 0, 1, -1),
    restrictions: fc.constantFrom(...RESTRICTIONS),
    observe: fc.constantFrom(false, false, false, true),
    draw: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    suffix: fc.constantFrom("", "/1", "/2", "x".repeat(70)),
  });

  test("is the verdict made afresh, as time, restrictions, draws and requests change", { timeout: 120_000 }, () => {
    let kept = 0;
    let asked = 0;
    fc.assert(
      fc.property(
        rules,
        fc.array(timed, { maxLength: 1 }),
        fc.array(request, { minLength: 1, maxLength: 2 }),
        fc.array(moment, { minLength: 20, maxLength: 50 }),
        (list, conditions, requests, moments) => {
          const more = conditions.map((when, index) => rule(`timed-${index}`, { effect: "deny", when }));
          const standing = rule("standing", { effect: "prefer", when: `"iso" in target.certifications`, score: "1" });
          const policy = compilePolicy(
            program({
              rules: [...list, ...more, standing],
              targets: WEIGHTED,
              models: MODELS.map((key) => modelFacts(key, { approval: key === "a" ? "notRequired" : "required" })),
              approvals,
            }),
          );
          const shared = { candidates: WEIGHTED, models: MODELS };
          const seen = new Set<Verdict>();
          // Time and restrictions change seldom, and then for all.
          moments.sort(
            (a, b) => RESTRICTIONS.indexOf(a.restrictions) - RESTRICTIONS.indexOf(b.restrictions) || a.now - b.now,
          );
          for (const { of, suffix, now, offset, restrictions, ...changes } of moments) {
            const base = requests[of % requests.length];
            if (base === undefined) throw new Error("there is no request");
            const input: DecisionInput = {
              ...base,
              ...shared,
              ...changes,
              ...(restrictions === undefined ? {} : { restrictions }),
              now: Date.parse(at(now)) + offset,
              request: { ...base.request, url_path: `${base.request.url_path}${suffix}` },
            };
            const verdict = policy.decideAgain(input);
            expect(verdict).toEqual(policy.decide(input));
            if (seen.has(verdict)) kept += 1;
            seen.add(verdict);
            asked += 1;
          }
        },
      ),
      { numRuns: 150 },
    );
    // Else the property would say nothing.
    expect(kept).toBeGreaterThan(asked / 20);
  });

  function at(day: number): string {
    return `2026-11-2${day}T00:00:00Z`;
  }
});
