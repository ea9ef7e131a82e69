import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileExpression } from "./cel.ts";
import { input, modelFacts } from "./fixtures.ts";
import { ModelView, RequestFacts, RuleContext } from "./views.ts";

function doubtsOf(text: string) {
  const compiled = compileExpression(text, "target", "bool");
  if (!compiled.ok) throw new Error(`${text}: ${compiled.errors[0]?.message}`);
  return compiled.doubts();
}

/** Paths that are read without asking, as the messages quote them. */
function unguarded(text: string): readonly string[] {
  return doubtsOf(text)
    .filter(({ kind }) => kind === "optional-field" || kind === "model-field")
    .map(({ message }) => /^"(.*)" can be missing/.exec(message)?.[1] ?? message);
}

describe("a field that is not asked for first", () => {
  test.each([
    [`source.principal == "a"`, "source.principal"],
    [`request.size > 10`, "request.size"],
    [`application.minimumMaturity != ""`, "application.minimumMaturity"],
    [`target.cost.input > 1.0`, "target.cost"],
    [`target.trainingData.cutoff < "2026"`, "target.trainingData.cutoff"],
    [`subject.region == "EU"`, "subject.region"],
    [`subject["region"] == "EU"`, "subject.region"],
    [`subject.claims.role == "admin"`, "subject.claims.role"],
    [`request.headers["x-role"] == "admin"`, `request.headers["x-role"]`],
    [`"admin" in request.header_values["x-role"]`, `request.header_values["x-role"]`],
    [`application.labels.tier == "gold"`, "application.labels.tier"],
    [`target.scores["accuracy/de"] > 0.5`, `target.scores["accuracy/de"]`],
    [`metadata["envoy.filters.http.x"].y == 1`, `metadata["envoy.filters.http.x"].y`],
    [`xds.other == ""`, "xds.other"],
    [`model.name == "orion"`, "model.name"],
    [`!(subject.region == "EU")`, "subject.region"],
    [`subject.region == "EU" || request.method == "GET"`, "subject.region"],
    [`has(subject.region) || subject.region == "EU"`, "subject.region"],
    [`!has(subject.region) && subject.region == "EU"`, "subject.region"],
    [`has(subject.tenant) && subject.region == "EU"`, "subject.region"],
    [`has(subject.region) ? true : subject.region == "EU"`, "subject.region"],
    [`(has(subject.region) || has(subject.tenant)) && subject.region == "EU"`, "subject.region"],
    [`has(subject.claims.realm.roles)`, "subject.claims.realm"],
    [`"x" in subject.claims.realm && subject.claims.realm.y == 1`, "subject.claims.realm.y"],
    [`has(subject.claims.realm) && subject.claims.realm.role == "a"`, "subject.claims.realm.role"],
    [`subject.?region.value() == "EU"`, "subject.region"],
    [`subject.claims.roles.exists(r, r == "admin")`, "subject.claims.roles"],
    [`["a"].exists(r, r == subject.region)`, "subject.region"],
    [`["a"].exists(r, has(subject.region)) || subject.region == "EU"`, "subject.region"],
    [`["a"].all(r, has(subject.region)) && subject.region == "EU"`, "subject.region"],
    [`cel.bind(c, subject.claims, c.role == "admin")`, "subject.claims.role"],
    [`cel.bind(c, has(subject.region), true) && subject.region == "EU"`, "subject.region"],
    [`[1].map(i, subject.region) == ["EU"]`, "subject.region"],
    [`!has(target.cost) && target.cost.input > 1.0`, "target.cost"],
    [`subject.region == "EU" && subject.region != "" && subject.region != "x"`, "subject.region"],
    [`request.headers[request.method] == "x"`, "request.headers[request.method]"],
    [`request.path in request.headers && request.headers[request.method] == "x"`, "request.headers[request.method]"],
    [`request.headers["x-" + request.method] == "x"`, `request.headers["x-" + request.method]`],
    [`["a"].exists(k, subject.claims[k] == "x")`, "subject.claims[k]"],
    [`["a"].exists(k, k in subject.claims) && ["b"].exists(k, subject.claims[k] == "x")`, "subject.claims[k]"],
    [`subject.claims.exists(k, request.headers[k] == "x")`, "request.headers[k]"],
    [`subject.claims.exists(k, subject.claims[k].inner == "x")`, "subject.claims[k].inner"],
    [`cel.bind(k, request.method, request.headers[k] == "x")`, "request.headers[request.method]"],
    [`target.scores[request.method] > 0.5`, "target.scores[request.method]"],
  ])("%s", (text, path) => {
    expect(unguarded(text)).toEqual([path]);
  });
});

describe("a field that is asked for, or always there", () => {
  test.each([
    `has(source.principal) && source.principal == "a"`,
    `source.principal == "a" && has(source.principal)`,
    `!has(target.cost) || target.cost.input > 1.0`,
    `target.cost.input > 1.0 || !has(target.cost)`,
    `target.country in countries.EU && target.trainingData.gdprBasis != ""`,
    `subject.kind == "jwt" && subject.id != "" && size(subject.claims) > 0`,
    `xds.route == "r" && xds.layout != "" && xds.node_group == "edge"`,
    `has(subject.region) ? subject.region == "EU" : false`,
    `!has(subject.region) ? false : subject.region == "EU"`,
    `(has(subject.region) ? true : false) && subject.region == "EU"`,
    `!(has(subject.region) && subject.region == "EU")`,
    `!(!has(subject.region) || subject.region != "EU")`,
    `request.method == "GET" && (request.scheme == "http" || (has(subject.region) && subject.region == "EU"))`,
    `has(subject.region) && (subject.region == "EU" || subject.region == "UK")`,
    `has(subject.region) && has(subject.tenant) && subject.region + subject.tenant == "EUacme"`,
    `(has(subject.region) || has(subject.tenant)) && (!has(subject.region) || subject.region == "EU")`,
    `(has(subject.region) && request.method == "GET" || has(subject.region)) && subject.region == "EU"`,
    `"region" in subject && subject["region"] == "EU"`,
    `"x-role" in request.headers && request.headers["x-role"] == "admin"`,
    `"x-role" in request.header_values && "admin" in request.header_values["x-role"]`,
    `!("x-tenant" in request.headers) || request.headers["x-tenant"] == "a"`,
    `has(subject.claims.realm) && has(subject.claims.realm.roles) && "a" in subject.claims.realm.roles`,
    `has(subject.claims.realm) && has(subject.claims.realm.roles) && subject.claims.realm != {}`,
    `subject.?region.orValue("") == "EU"`,
    `subject.claims.?realm.?roles.orValue([]).exists(r, r == "admin")`,
    `subject.claims[?"a b"].orValue("") == "x"`,
    `subject.?region.hasValue() && subject.region == "EU"`,
    `subject.?region.hasValue() ? subject.?region.value() == "EU" : true`,
    `subject.?region.optMap(r, r == "EU").orValue(false)`,
    `subject.?claims.role.orValue("") == "admin"`,
    `has(model.name) && model.name == "orion"`,
    `has(subject.claims.roles) && subject.claims.roles.exists(r, r == "admin")`,
    `["a", "b"].all(r, has(subject.region) && subject.region != r)`,
    `["EU"].exists(r, has(subject.region) && subject.region == r) && subject.region != ""`,
    `subject.claims.all(k, subject.claims[k] != "x")`,
    `cel.bind(c, subject.claims, has(c.role) && c.role == "admin")`,
    `has(subject.claims.a) && cel.bind(c, subject.claims.a, has(c.b) && c.b == 1)`,
    `[{"region": 1}].exists(subject, subject.region == 1)`,
    `false && subject.region == "EU"`,
    `true || subject.region == "EU"`,
    `request.method in request.headers && request.headers[request.method] == "x"`,
    `request.headers[?request.method].orValue("") == "x"`,
    `request.headers[?request.method].hasValue() && request.headers[request.method] == "x"`,
    `"x" in request.headers && request.headers["x"] in subject.claims && subject.claims[request.headers.x] == "y"`,
    `(request.method + "-role") in request.headers && request.headers[request.method + "-role"] == "x"`,
    `["a", "b"].exists(k, k in subject.claims && subject.claims[k] == "x")`,
    `subject.claims.exists(k, v, subject.claims[k] == v)`,
    `cel.bind(k, request.method, k in request.headers && request.headers[k] == "x")`,
    `request.method in request.headers && cel.bind(h, request.headers, h[request.method] == "x")`,
    `has(subject.claims.roles) && subject.claims.roles[0] == "admin"`,
  ])("%s", (text) => {
    expect(unguarded(text)).toEqual([]);
  });
});

describe("the fix", () => {
  test.each([
    [
      `subject.claims.role == "admin"`,
      `ask first: has(subject.claims.role) && …, or !has(subject.claims.role) || … where a missing one should count, ` +
        `or read subject.claims.?role.orValue("")`,
    ],
    [
      `request.headers["x-role"] == "admin"`,
      `ask first: "x-role" in request.headers && …, or !("x-role" in request.headers) || … where a missing one should ` +
        `count, or read request.headers[?"x-role"].orValue("")`,
    ],
    [
      `subject.claims.a.b == "c"`,
      `ask first: has(subject.claims.a) && has(subject.claims.a.b) && …, or !has(subject.claims.a) || ` +
        `!has(subject.claims.a.b) || … where a missing one should count, or read subject.claims.?a.?b.orValue("")`,
    ],
    [
      `request.headers[request.method] == "a"`,
      "ask first: request.method in request.headers && …, or !(request.method in request.headers) || … where a missing " +
        `one should count, or read request.headers[?request.method].orValue("")`,
    ],
    [
      `target.cost.input > 1.0`,
      "ask first: has(target.cost) && …, or !has(target.cost) || … where a missing one should count",
    ],
  ])("of %s", (text, hint) => {
    expect(doubtsOf(text).map((doubt) => doubt.hint)).toEqual([hint]);
  });

  test("does away with the doubt, in each of its forms", () => {
    for (const path of [
      "subject.region",
      "subject.claims.a.b",
      `request.headers["x-role"]`,
      "source.principal",
      "request.headers[request.method]",
      `subject.claims.a["x" + request.method]`,
    ]) {
      const [doubt] = doubtsOf(`${path} == "v"`);
      const [, guards = "", otherwise = "", read = ""] =
        /^ask first: (.*) && …, or (.*) \|\| … where a missing one should count, or read (.*)$/.exec(
          doubt?.hint ?? "",
        ) ?? [];
      for (const fixed of [`${guards} && ${path} == "v"`, `${otherwise} || ${path} == "v"`, `${read} == "v"`]) {
        expect(unguarded(fixed), fixed).toEqual([]);
      }
    }
  });

  test("stands at the start of the path", () => {
    expect(doubtsOf(`request.method == "GET" &&\n  subject.claims.role == "a"`)).toMatchObject([
      { kind: "optional-field", line: 2, column: 3, offset: 29 },
    ]);
  });
});

/** Two fields that may be there, one of them with a member that may be there. */
const QUESTIONS = [
  "has(subject.a)",
  `"b" in subject`,
  "has(subject.claims.c)",
  "subject.?a.hasValue()",
  "subject.a in subject.claims",
  `subject.?b.orValue("x") in subject.claims`,
];
const READS = [
  `subject.a == "1"`,
  `subject.b != "1"`,
  `subject.claims.c.d == "1"`,
  "has(subject.claims.c.d)",
  `subject.claims.?c.d.orValue("") == "1"`,
  `subject.claims[subject.a].d == "1"`,
  `subject.claims[subject.?b.orValue("x")] != "1"`,
  `subject.claims.exists(k, subject.claims[k].d == "1")`,
  `["c"].exists(k, k in subject.claims && subject.claims[k].?d.orValue("") == "1")`,
  `["1"].exists(v, v == subject.a)`,
  `["1", "2"].all(v, subject.b != v)`,
  "true",
  "false",
];

const condition = fc.letrec<{ any: string }>((tie) => ({
  any: fc.oneof(
    { depthSize: "medium", withCrossShrink: true },
    fc.constantFrom(...QUESTIONS, ...READS),
    tie("any").map((inner) => `!(${inner})`),
    fc.tuple(tie("any"), tie("any")).map(([a, b]) => `(${a} && ${b})`),
    fc.tuple(tie("any"), tie("any")).map(([a, b]) => `(${a} || ${b})`),
    fc.tuple(tie("any"), tie("any"), tie("any")).map(([a, b, c]) => `(${a} ? ${b} : ${c})`),
    tie("any").map((inner) => `["x"].exists(e, ${inner})`),
    tie("any").map((inner) => `["x", "y"].all(e, ${inner})`),
    fc.tuple(tie("any"), tie("any")).map(([a, b]) => `cel.bind(v, ${a}, v && ${b})`),
  ),
})).any;

/** The condition where each of the fields is there or not. */
function resultsOf(text: string): readonly unknown[] {
  const compiled = compileExpression(text, "request", "bool");
  if (!compiled.ok) throw new Error(compiled.errors[0]?.message);
  const claims = [{}, { c: {} }, { c: { d: "1" } }, { c: { d: "2" } }];
  const fields = [{}, { a: "1" }, { b: "1" }, { a: "2", b: "2" }, { a: "c", b: "c" }].flatMap((each) =>
    claims.map((claim) => ({ fields: each, claims: claim })),
  );
  return fields.map((each) => {
    const facts = new RequestFacts(input({ subject: { kind: "jwt", id: "u", ...each } }));
    return compiled.expression.evaluate(new RuleContext(facts, new ModelView(modelFacts("m"))));
  });
}

test("a condition without a doubt is never unknown for want of a field", () => {
  let certain = 0;
  fc.assert(
    fc.property(condition, (text) => {
      if (unguarded(text).length > 0) return;
      certain += 1;
      for (const result of resultsOf(text)) expect(typeof result, text).toBe("boolean");
    }),
    { numRuns: 1_000, seed: 20_261_121 },
  );
  expect(certain).toBeGreaterThan(100);
});
