import { describe, expect, test } from "vitest";
import { compileExpression } from "./cel.ts";
import type { DecisionInput } from "./decision.ts";
import { EXPRESSION_LIMITS, type ExpressionScope, type ExpressionType, isUnknown } from "./expression.ts";
import { input, modelFacts, modelTarget, NOW, SUBJECT, upstreamTarget } from "./fixtures.ts";
import { processingOf } from "./processing.ts";
import type { Target } from "./program.ts";
import { scoresOf } from "./standing.ts";
import { ModelView, RequestFacts, RuleContext, type TargetStanding, TargetView } from "./views.ts";

const MODEL_TARGET = modelTarget("gpt", 1, {
  country: "DE",
  cost: { inputPerMillion: 2, outputPerMillion: 8, currency: "USD" },
  capacity: { requestsPerMinute: 600 },
  documentation: { provider: "https://vendor.example/card" },
  subprocessors: [
    { name: "Support Ltd", country: "IN" },
    { name: "Hosting GmbH", country: "DE" },
  ],
  agreements: [
    { kind: "data-processing", reference: "c-1" },
    { kind: "data-processing", subprocessor: "Hosting GmbH", reference: "c-2" },
    { kind: "business-associate", reference: "c-3", validUntil: "2026-11-21T12:00:00Z" },
  ],
  safeguards: [{ country: "IN", kind: "standard-clauses", reference: "s-1", validFrom: "2026-11-21T12:00:00Z" }],
  scores: [
    { metric: "accuracy", slice: "all", value: 0.9, n: 200, evaluatedAt: "2026-11-20T12:00:00Z" },
    { metric: "accuracy", slice: "de", value: 0.8 },
  ],
});

/** What the target is to the caller, an hour or so before or after noon. */
function standingOf({ model }: Target, now: number): TargetStanding {
  if (model === undefined) {
    return { approved: () => undefined, certifications: undefined, scores: undefined, processing: undefined, now };
  }
  const processing = processingOf(model, [{ country: "CH" }]);
  return { approved: () => true, certifications: ["iso-42001"], scores: scoresOf(model), processing, now };
}

function context(changes: Partial<DecisionInput> = {}, target: Target = MODEL_TARGET): RuleContext {
  const standing = standingOf(target, changes.now ?? NOW);
  const model = target.kind === "model" ? modelFacts("gpt", { names: ["gpt", "gpt-latest"] }) : undefined;
  return new RuleContext(new RequestFacts(input(changes)), new ModelView(model), new TargetView(target, standing));
}

function run(text: string, where = context(), expected: ExpressionType = "bool", scope: ExpressionScope = "target") {
  const compiled = compileExpression(text, scope, expected);
  if (!compiled.ok) throw new Error(`${text}: ${compiled.errors[0]?.message}`);
  const result = compiled.expression.evaluate(where);
  return isUnknown(result) ? "unknown" : result;
}

function errorsOf(text: string, scope: ExpressionScope = "target", expected: ExpressionType = "bool") {
  const compiled = compileExpression(text, scope, expected);
  return compiled.ok ? [] : compiled.errors;
}

describe("where and under which terms a target processes", () => {
  test.each([
    [`target.countries == ["DE", "IN"]`, true],
    [`target.countries.all(country, country in countries.EEA)`, false],
    [`target.countries.all(country, country in countries.EEA || country in target.safeguardedCountries)`, true],
    [`target.agreements == ["data-processing"]`, true],
    [`"data-processing" in target.subprocessorAgreements`, false],
    [`target.scoreTimes["accuracy"] > now - duration("48h") && target.scoreSamples["accuracy"] == 200`, true],
    [`"accuracy/de" in target.scoreTimes || "accuracy/de" in target.scoreSamples`, false],
    [`target.generalPurpose == "no" && target.systemicRiskDocumentation == ""`, true],
    [`target.providerDocumentation.startsWith("https:") && target.capacity.requestsPerMinute == 600`, true],
    [`has(target.capacity.tokensPerMinute) || has(target.owner) || has(target.digest)`, false],
    [`application.declarations.disclosure == "" && application.recordRetentionDays == 0`, true],
    [`application.riskBasis == [] && !application.decidesAboutPeople && application.durability == "strict"`, true],
    [`has(application.onMarketSince)`, false],
  ])("%s is %s", (text, expected) => {
    expect(run(text)).toBe(expected);
  });

  test("a bound of time is its first moment", () => {
    const before = context({ now: NOW - 1 });
    expect(run(`"business-associate" in target.agreements`, before)).toBe(true);
    expect(run(`"IN" in target.safeguardedCountries`, before)).toBe(false);
  });
});

describe("the vocabulary in expressions", () => {
  test.each([
    [`request.method == "POST"`, true],
    [`request.url_path.startsWith("/v1/")`, true],
    [`request.size > 500 && request.size < 1000`, true],
    [`request.time < now`, true],
    [`request.headers["x-team"] == "risk"`, true],
    [`"admin" in request.header_values["x-role"]`, true],
    [`"x-role" in request.headers`, true],
    [`"x-none" in request.headers`, false],
    [`source.address == "10.1.2.3" && source.port == 40000`, true],
    [`connection.mtls && connection.requested_server_name == "ai.acme.example"`, true],
    [`has(source.principal)`, false],
    [`metadata["envoy.filters.http.jwt_authn"].claims.sub == "user-1"`, true],
    [`xds.route == "bank/chat/0/0"`, true],
    [`subject.kind == "jwt" && subject.id == "user-1"`, true],
    [`subject.region == "EU"`, true],
    [`subject.claims.level >= 3 && subject.claims.level == 3`, true],
    [`"staff" in subject.claims.groups`, true],
    [`subject.claims.groups.exists(g, g.startsWith("st"))`, true],
    [`subject.claims.nested.team == "risk"`, true],
    [`has(subject.floor)`, false],
    [`"pii" in application.dataClasses && application.labels.tier == "gold"`, true],
    [`application.scope == "bank/retail" && application.name == "bank/retail/chat"`, true],
    [`model.name == "gpt" && "gpt-latest" in model.names`, true],
    [`target.country in countries.EU && target.country in countries.EEA`, true],
    [`size(countries.EU) == 27 && size(countries.EEA) == 30 && !("CH" in countries.EEA)`, true],
    [`target.trainingData.gdprBasis != ""`, true],
    [`target.scores["accuracy/de"] >= 0.8 && target.scores.accuracy > 0.85`, true],
    [`"iso-42001" in target.certifications`, true],
    [`target.cost.input < 3.0 && target.cost.output < 10`, true],
    [`target.approved && target.age == 1`, true],
    [`now > timestamp("2026-11-01T00:00:00Z") && now - timestamp("2026-11-21T00:00:00Z") < duration("13h")`, true],
    [`now.getFullYear() == 2026 && now.getHours("Asia/Tokyo") == 21`, true],
    [`application.jurisdictions.all(j, j in ["EU", "US"])`, true],
    [`request.host.matches("^ai\\\\.")`, true],
    [`"\u212Aill".lowerAscii() == "kill"`, false],
  ])("%s is %s", (text, expected) => {
    expect(run(text)).toBe(expected);
  });

  test("the extensions are there", () => {
    expect(run(`cel.bind(m, request.method, m == "POST" || m == "PUT")`)).toBe(true);
    expect(run(`subject.claims.groups.sort()[0] == "eu" && math.greatest(target.age, 0) == 1`)).toBe(true);
    expect(run(`source.?principal.orValue("nobody") == "nobody"`)).toBe(true);
    expect(run(`subject.claims.nested.all(k, v, k == v)`)).toBe(false);
  });

  test("numbers for scores come from integers and doubles", () => {
    expect(run("target.age * 10", context(), "number")).toBe(10);
    expect(run("-target.cost.input", context(), "number")).toBe(-2);
    expect(run("0.0 / 0.0", context(), "number")).toBe("unknown");
  });
});

describe("what is missing, odd or of another type is unknown, never false", () => {
  test.each([
    `subject.floor == "1"`,
    `subject.floor != "1"`,
    `subject.claims.floor == "1"`,
    `subject.claims.nested.floor == 1`,
    `subject.claims.level.deeper == 1`,
    `source.principal == "spiffe://x"`,
    `request.headers["x-none"] == "1"`,
    `request.headers["x-role"] == "admin"`,
    `request.headers["x-role"] != "admin"`,
    `dyn(request.headers)["x-role"] == "admin"`,
    `request.header_values["x-role"][7] == "a"`,
    `"a" in subject.claims.level`,
    `subject.claims.level.startsWith("3")`,
    `subject.claims.groups > 3`,
    `subject.claims.groups`,
    `subject.claims.sub`,
    `!subject.claims.sub`,
    `subject.claims.sub && true`,
    `int(subject.id) > 3`,
    `1 / (size(application.labels) - 1) > 0`,
    `9223372036854775807 + size(application.labels) > 0`,
    `timestamp(subject.id) < now`,
    `target.scores.speed > 1.0`,
  ])("%s", (text) => {
    expect(run(text)).toBe("unknown");
  });

  test("a plain upstream has no model fields", () => {
    const plain = context({}, upstreamTarget("web"));
    expect(run(`target.country in countries.EU`, plain)).toBe("unknown");
    expect(run(`target.scores.accuracy > 0.5`, plain)).toBe("unknown");
    expect(run(`has(target.country)`, plain)).toBe(false);
    expect(run(`model.name == "gpt"`, plain)).toBe("unknown");
    expect(run(`has(model.name)`, plain)).toBe(false);
    expect(run(`target.kind == "upstream"`, plain)).toBe(true);
  });

  test("three-valued logic absorbs an unknown only where it cannot matter", () => {
    expect(run(`subject.floor == "1" && false`)).toBe(false);
    expect(run(`false && subject.floor == "1"`)).toBe(false);
    expect(run(`subject.floor == "1" || true`)).toBe(true);
    expect(run(`subject.floor == "1" && true`)).toBe("unknown");
    expect(run(`subject.floor == "1" || false`)).toBe("unknown");
    expect(run(`!(subject.floor == "1")`)).toBe("unknown");
    expect(run(`subject.floor == "1" ? true : true`)).toBe("unknown");
    expect(run(`subject.claims.groups.exists(g, g.missing == 1 || g == "eu")`)).toBe(true);
    expect(run(`subject.claims.groups.exists(g, g.missing == 1)`)).toBe("unknown");
    expect(run(`subject.claims.groups.all(g, g == "eu" && g.missing == 1)`)).toBe(false);
  });
});

describe("prototype names lead nowhere", () => {
  test.each([
    "constructor",
    "toString",
    "hasOwnProperty",
    "valueOf",
    "__defineGetter__",
    "__proto__",
    "prototype",
    "get",
  ])("%s", (name) => {
    for (const left of ["subject", "subject.claims", "subject.claims.nested", "metadata", "request.headers", "xds"]) {
      expect(run(`dyn(${left})["${name}"] == "x"`), left).toBe("unknown");
      expect(run(`"${name}" in dyn(${left})`), left).toBe(false);
    }
    for (const left of ["request", "application", "target", "model", "countries", "target.trainingData"]) {
      expect(errorsOf(`${left}["${name}"] == "x"`), left).toHaveLength(1);
      expect(run(`dyn(${left})["${name}"] == "x"`), left).toBe("unknown");
    }
  });

  test("claims that are named like them are data", () => {
    const claims: Record<string, unknown> = JSON.parse(`{"__proto__": {"admin": true}, "constructor": "c"}`);
    const where = context({ subject: { ...SUBJECT, claims } });
    expect(run(`subject.claims["__proto__"].admin`, where)).toBe(true);
    expect(run(`subject.claims.constructor == "c"`, where)).toBe(true);
    expect(run(`subject.claims.admin`, where)).toBe("unknown");
  });

  test("a mapped field cannot replace what identity says", () => {
    const where = context({ subject: { ...SUBJECT, fields: { kind: "mtls", id: "root", claims: "none" } } });
    expect(run(`subject.kind == "jwt" && subject.id == "user-1" && subject.claims.level == 3`, where)).toBe(true);
  });
});

describe("the check", () => {
  test.each([
    ["request.methd == 'GET'", /no field "methd"/],
    ["has(request.methd)", /no field "methd"/],
    ["has(target.trainingData.basis)", /no field "basis"/],
    ["requst.method == 'GET'", /Unknown variable "requst"/],
    ["request.method == 3", /no such overload/],
    ["request.method", /is of type string; bool is needed/],
    ["request.method.frob()", /Unknown function|no matching overload/],
    ["frob(1)", /Unknown function "frob"/],
    ["b'x'.json() == {}", /Unknown function "json"/],
    ["request.path.matches(request.query)", /must be a literal/],
    ["request.path.matches('(?=a)')", /Not an RE2 pattern/],
    ["request.path.matches('(a)\\\\1')", /Not an RE2 pattern/],
    ["request.path.matches('((a{1,50}){1,20}){1,9}')", /instructions|RE2/],
    ["request.headers['X-Team'] == 'a'", /lower case/],
    ["'X-Team' in request.headers", /lower case/],
    ["now > timestamp('2026-13-01T00:00:00Z')", /^timestamp\(\) cannot read this text/],
    ["now - timestamp('2026-01-31T00:00:00Z') > duration('1 day')", /^duration\(\) cannot read this text/],
    ["request.size > int('1 MB')", /^int\(\) cannot read this text/],
    ["request.method == 'GET' &&", /unexpected end of the expression/],
  ])("refuses %s", (text, message) => {
    const [error] = errorsOf(text);
    expect(error?.message).toMatch(message);
  });

  test.each([
    ["request.method = 'GET'", "write == to compare"],
    ["request.method == 'GET' and true", "write &&"],
    ["request.method == 'GET' or true", "write ||"],
    ["true & true", "write && for and, || for or"],
    ["request.method == \u201cGET\u201d", `write texts in " or '`],
    ["request.method\u00a0== 'GET'", "write a plain space"],
    ["now > timestamp('tomorrow')", 'for example "2026-01-31T00:00:00Z"'],
  ])("says what to write instead of %s", (text, hint) => {
    expect(errorsOf(text)[0]?.hint).toBe(hint);
  });

  test.each([
    ["nothing", "", /empty/],
    ["9,000 bytes", " ".repeat(9_000), /9000 bytes/],
    ["300 parentheses", `${"(".repeat(300)}true${")".repeat(300)}`, /nested deeper/],
    ["300 sums in a row", `1${" + 1".repeat(300)} > 0`, /nested deeper/],
    ["1,001 links of a chain", `${"!true||".repeat(1_001)}true`, /2000 nodes/],
    ["8,000 negations", `${"!".repeat(8_000)}true`, /nested deeper/],
    ["a list of 2,001 elements", `1 in [${"1,".repeat(2_000)}1]`, /1000 elements/],
  ])("refuses %s", (_name, text, message) => {
    const [error] = errorsOf(text);
    expect(error?.message).toMatch(message);
  });

  test("keeps the target out of rules that are not about one", () => {
    expect(errorsOf("target.kind == 'model'", "request")[0]?.message).toMatch(/restrict and prefer rules only/);
    expect(errorsOf("target.kind == 'model'", "target")).toEqual([]);
  });

  test("says where", () => {
    const [error] = errorsOf(`request.method == "GET"\n  && request.hots == "a"`);
    expect(error).toMatchObject({ line: 2, column: 14, offset: 37 });
  });
});

describe("what a hostile request can cost", () => {
  const claims = (value: unknown) => context({ subject: { ...SUBJECT, claims: { value } } });
  const header = (text: string) => context({ request: { ...input().request, headers: new Map([["x", [text]]]) } });

  test("a list of 100,000 elements is unknown, and the rest of the claims can be read", () => {
    const where = context({ subject: { ...SUBJECT, claims: { big: new Array(100_000).fill("a"), ok: true } } });
    expect(run(`subject.claims.big.exists(x, x == "b")`, where)).toBe("unknown");
    expect(run(`"b" in subject.claims.big`, where)).toBe("unknown");
    expect(run(`size(subject.claims.big) > 0`, where)).toBe("unknown");
    expect(run(`subject.claims.ok`, where)).toBe(true);
  });

  test("claims nested 100,000 deep are unknown beyond the limit", () => {
    let deep: unknown = "bottom";
    for (let level = 0; level < 100_000; level += 1) deep = { a: deep };
    expect(run(`has(subject.claims.value.a.a.a.a)`, claims(deep))).toBe(true);
    expect(run(`subject.claims.value.a.a.a.a == "x"`, claims(deep))).toBe(false);
    expect(run(`subject.claims.value.a.a.a.a == subject.claims.value.a.a.a`, claims(deep))).toBe("unknown");
    expect(run(`subject.claims.value.${new Array(30).fill("a").join(".")} == "x"`, claims(deep))).toBe("unknown");
  });

  test("many small lists are unknown beyond the limit of nodes", () => {
    const wide = new Array(900).fill(0).map(() => new Array(900).fill(1));
    expect(run(`subject.claims.value.all(l, l.all(n, n == 1))`, claims(wide))).toBe("unknown");
  });

  test("nested loops run out of work, also where each turn fails", () => {
    const list = new Array(1_000).fill("a");
    expect(run(`subject.claims.value.exists(a, subject.claims.value.exists(b, a == b + "x"))`, claims(list))).toBe(
      "unknown",
    );
    expect(run(`subject.claims.value.exists(a, subject.claims.value.exists(b, b.c.d == a))`, claims(list))).toBe(
      "unknown",
    );
    expect(run(`subject.claims.value.all(a, subject.claims.value.all(b, a == b))`, claims(list))).toBe("unknown");
    expect(run(`size(subject.claims.value.map(a, subject.claims.value.map(b, [a, b]))) > 0`, claims(list))).toBe(
      "unknown",
    );
    expect(run(`subject.claims.value.exists(a, a == "b")`, claims(list))).toBe(false);
  });

  test("text cannot be doubled without bound", () => {
    const doubling = `[request.headers.x]${".map(s, s + s)".repeat(40)}[0] == "x"`;
    expect(run(doubling, header("a".repeat(1_000)))).toBe("unknown");
    expect(run(`size(request.headers.x.split("")) > 3`, header("a".repeat(60_000)))).toBe("unknown");
    expect(run(`duration(request.headers.x) > duration("1s")`, header("1".repeat(60_000)))).toBe("unknown");
  });

  test("patterns that ruin a backtracking matcher are answered", () => {
    const long = header(`${"a".repeat(60_000)}!`);
    expect(run(`request.headers.x.matches("^(a+)+$")`, long)).toBe(false);
    expect(run(`request.headers.x.matches("^(a|aa)+$")`, long)).toBe(false);
    expect(run(`request.headers.x.matches("^(a|a?)+!$")`, long)).toBe(true);
    expect(run(`request.headers.x.matches("(x+x+)+y")`, long)).toBe(false);
  });

  test("a text beyond the limit is unknown", () => {
    const huge = header("a".repeat(1_000_000));
    expect(run(`request.headers.x == "a"`, huge)).toBe("unknown");
    expect(run(`request.headers.x.contains("b")`, huge)).toBe("unknown");
    expect(run(`"x" in request.headers`, huge)).toBe(true);
    expect(run(`request.path == "/"`, context({ request: { ...input().request, path: "/".repeat(70_000) } }))).toBe(
      "unknown",
    );
  });

  test("what is not plain data is unknown", () => {
    expect(
      run(
        `subject.claims.value == "x"`,
        claims(() => true),
      ),
    ).toBe("unknown");
    expect(run(`subject.claims.value == "x"`, claims(new Date()))).toBe("unknown");
  });

  test("the work of one evaluation does not count against the next", () => {
    const compiled = compileExpression(`subject.claims.value.all(a, a == "a")`, "request", "bool");
    if (!compiled.ok) throw new Error("does not compile");
    const where = claims(new Array(900).fill("a"));
    for (let turn = 0; turn < 50; turn += 1) expect(compiled.expression.evaluate(where)).toBe(true);
  });

  test("reasons are short and limits are what they say", () => {
    const compiled = compileExpression(`subject[request.headers.x] == "a"`, "request", "bool");
    if (!compiled.ok) throw new Error("does not compile");
    const result = compiled.expression.evaluate(header("k".repeat(5_000)));
    expect(isUnknown(result) && result.unknown.length).toBeLessThanOrEqual(201);
    expect(EXPRESSION_LIMITS.bytes).toBe(8_192);
  });
});
