import { describe, expect, it } from "vitest";
import { APPLICATION, APPROVAL, clean, GATEWAY, MODEL, onlyProblem, said, unmark, VERSION, yaml } from "../fixtures.ts";
import { parseResources } from "../load.ts";

const KEY = "ab".repeat(32);
const application = (name: string, ...lines: string[]) =>
  yaml("Application", name, ["purpose: Helps", "riskTier: limited", ...lines].join("\n"));
const one = (...texts: string[]) => said(onlyProblem({ "a.yaml": texts.join("") }));

describe("Application", () => {
  it("has defaults", () => {
    expect(clean({ "a.yaml": APPLICATION }).inventory.applications[0]).toEqual({
      key: "assistant",
      name: "assistant",
      scope: ".",
      labels: {},
      annotations: {},
      mode: "enforce",
      purpose: "Helps",
      riskTier: "limited",
      riskBasis: [],
      decidesAboutPeople: false,
      declarations: {
        disclosure: "",
        contentMarking: "",
        humanOversight: "",
        humanReview: "",
        specialCategoryCondition: "",
      },
      recordRetentionDays: 0,
      dataClasses: [],
      jurisdictions: [],
      minimumScores: [],
      durability: "strict",
      substitutes: [],
      apiKeys: [{ id: "k1", sha256: KEY, subject: {} }],
      jwt: [],
      anonymous: false,
    });
  });

  it("reads identities and substitutes", () => {
    const text = application(
      "a",
      "substitutes: [atlas, { name: atlas, namespace: . }]",
      `apiKeys: [{ id: k, sha256: ${KEY.toUpperCase()}, subject: { region: EU } }]`,
      "jwt: [{ issuer: 'https://id.example', audiences: [x], jwks: { file: jwks.json }, claims: { app: a }, subject: { tenant: tid } }]",
      "minimumMaturity: canary",
      "minimumScores: [{ metric: accuracy, value: 0.8 }]",
    );
    expect(clean({ "a.yaml": MODEL, "team/a.yaml": text }).inventory.applications[0]).toMatchObject({
      substitutes: ["atlas"],
      apiKeys: [{ id: "k", sha256: KEY, subject: { region: "EU" } }],
      jwt: [
        {
          issuer: "https://id.example",
          audiences: ["x"],
          jwks: { file: "team/jwks.json" },
          claims: { app: "a" },
          subject: { tenant: "tid" },
        },
      ],
      minimumMaturity: "canary",
      minimumScores: [{ metric: "accuracy", slice: "all", value: 0.8 }],
    });
  });

  it("wants hashes of keys, and never repeats what stands there", () => {
    const hint = "write its hash instead, sha256: … as printed by: printf %s KEY | sha256sum";
    const keys = (text: string) => one(application("a", `apiKeys: [{ id: k, ${text} }]`));
    expect(keys("sha256: ▸sk-hunter2")).toEqual({
      code: "inline-secret",
      message: "spec.apiKeys[0].sha256: not a SHA-256 (64 hex digits); this looks like a key itself".replace(
        /^[^:]*: /,
        "",
      ),
      hint,
    });
    expect(keys(`sha256: ${KEY}, ▸key: sk-hunter2`)).toEqual({
      code: "inline-secret",
      message: "a key does not belong into the YAML",
      hint,
    });
    expect(keys("sha256: ▸12345678").hint).toBe(hint);
  });

  it.each([
    ["riskTier: ▸extreme", "must be one of"],
    ["jurisdictions: [▸eu]", "must be a jurisdiction in capital letters"],
    ["dataClasses: [pii, ▸pii]", "the same value as entry 1"],
    [`apiKeys: [{ id: k, sha256: ${KEY}, subject: { ▸kind: x } }]`, "this name is taken"],
    [`apiKeys: [{ id: k, sha256: ${KEY}, subject: { ▸a-b: x } }]`, "must be an identifier"],
    ["anonymous: ▸'yes'", "must be true or false, not a string"],
    ["jwt: [{ issuer: x, jwks: ▸{} }]", "jwks needs exactly one of file and url"],
    ["jwt: [{ issuer: x, jwks: { url: ▸'http://x' } }]", "must be an https URL"],
    ["jwt: [{ issuer: x, jwks: { file: ▸../x.json } }]", "this path leads out of the resource tree"],
    ["substitutes: [▸nope]", 'there is no Model "nope" in scope "." or above it'],
  ])("refuses %s", (line, message) => {
    const base = line.startsWith("riskTier") ? yaml("Application", "a", `purpose: x\n${line}`) : application("a", line);
    const text = /anonymous|apiKeys|jwt|riskTier/.test(line) ? base : base.replace("spec:", "spec:\n  anonymous: true");
    expect(one(text).message).toContain(message);
  });

  it("warns about one that no request can belong to", () => {
    const { files, marks } = unmark({ "a.yaml": application("a").replace("name: a", "name: ▸a") });
    const { problems, inventory } = parseResources(files);
    expect(problems.map(({ severity, code }) => [severity, code])).toEqual([["warning", "unreachable"]]);
    expect(problems[0]?.at).toEqual(marks[0]);
    expect(inventory.applications).toHaveLength(1);
  });

  it("has keys and tokens of its own", () => {
    expect(
      said(onlyProblem({ "a.yaml": APPLICATION, "b.yaml": application("b", `apiKeys: [{ id: k, sha256: ▸${KEY} }]`) })),
    ).toEqual({
      code: "conflict",
      message: 'the same key as in application "assistant" (a.yaml:9)',
      hint: "a key belongs to one application: make a new one",
    });
    expect(
      one(application("a", `apiKeys: [{ id: k, sha256: ${KEY} }, { id: ▸k, sha256: ${"c".repeat(64)} }]`)).message,
    ).toBe('two keys of this application have the id "k"');
    const jwt = (name: string, rest: string) => application(name, `jwt: [${rest}]`);
    const first = jwt("a", "{ issuer: i, jwks: { file: j.json }, claims: { app: a } }");
    expect(one(first, jwt("b", "{ issuer: i, jwks: ▸{ url: 'https://i/j' }, claims: { app: b } }")).message).toBe(
      'issuer "i" has another jwks in application "a" (a.yaml:8)',
    );
    expect(one(first, jwt("b", "▸{ issuer: i, jwks: { file: j.json }, claims: { app: a } }")).message).toBe(
      'application "a" asks for the same issuer, audiences and claims',
    );
    clean({ "a.yaml": first + jwt("b", "{ issuer: i, jwks: { file: j.json }, claims: { app: b } }") });
  });

  it("is anonymous once in a tree", () => {
    const anonymous = application("a", "anonymous: true");
    expect(said(onlyProblem({ "a.yaml": anonymous, "b/b.yaml": application("b", "anonymous: ▸true") }))).toEqual({
      code: "conflict",
      message: '"a" is the anonymous application already (a.yaml:8)',
      hint: "at most one in a tree may be",
    });
  });
});

describe("Approval", () => {
  const base = MODEL + VERSION + APPLICATION;

  it("names version and application, nearest upwards or by scope", () => {
    expect(clean({ "a.yaml": base + APPROVAL }).inventory.approvals[0]).toMatchObject({
      version: "atlas-v2",
      application: "assistant",
      jurisdictions: [],
      approvers: ["alice"],
    });
    const lower = APPROVAL.replace("application: assistant", "application: { name: assistant, namespace: team }");
    const { inventory } = clean({ "a.yaml": MODEL + VERSION + lower, "team/a.yaml": APPLICATION });
    expect(inventory.approvals[0]?.application).toBe("team/assistant");
  });

  it.each([
    [
      "its own scope's application, for a version above it",
      {
        "a.yaml": MODEL + VERSION,
        "team/a.yaml": APPLICATION + APPROVAL.replace("version: atlas-v2", "version: ▸atlas-v2"),
      },
      'a version of "."',
    ],
    [
      "an application above it",
      {
        "a.yaml": MODEL + VERSION + APPLICATION,
        "team/a.yaml":
          APPROVAL.replace("version: atlas-v2", "version: { name: own, namespace: team }").replace(
            "application: assistant",
            "application: ▸assistant",
          ) + VERSION.replaceAll("atlas-v2", "own").replace("version: v2", "version: own"),
      },
      'an application of "."',
    ],
  ])("is not given in a lower scope: %s", (_, files, what) => {
    const problem = onlyProblem(files);
    expect(problem.message).toBe(`an approval in scope "team" cannot speak for ${what}`);
  });

  it("does not speak for another team", () => {
    const text = APPROVAL.replace("application: assistant", "application: ▸{ name: assistant, namespace: a }");
    const files = { "a/a.yaml": APPLICATION, "b/b.yaml": MODEL + VERSION + text };
    expect(said(onlyProblem(files))).toEqual({
      code: "not-allowed",
      message: 'an approval in scope "b" cannot speak for an application of "a"',
      hint: 'move it to scope "a" or above it',
    });
  });

  it.each([
    ["approvers: ▸[]", "an approval needs at least 1 approver"],
    ["approvers: [a, ▸a]", "the same value as entry 1"],
    ["approvers: [a]\nvalidFrom: 2026-01-01T00:00:00Z\nvalidUntil: ▸2026-01-01T00:00:00Z", "validUntil must be later"],
    ["approvers: [a]\nvalidUntil: ▸tomorrow", "not an RFC 3339 date and time"],
    ["approvers: [a]\njurisdictions: [▸Europe]", "must be a jurisdiction in capital letters"],
  ])("refuses %s", (line, message) => {
    expect(one(base, yaml("Approval", "x", `version: atlas-v2\napplication: assistant\n${line}`)).message).toContain(
      message,
    );
  });
});

describe("Policy", () => {
  const rules = (...lines: string[]) => yaml("Policy", "p", `rules:\n${lines.map((line) => `  - ${line}`).join("\n")}`);

  it("has rules in order, with their references resolved", () => {
    const text = rules(
      "{ id: a, effect: deny, when: 'true', reason: no }",
      "{ id: b, effect: allow, mode: shadow }",
      "{ id: c, effect: restrict, require: target.country == 'DE', reason: no, references: [Art. 1], owner: x }",
      "{ id: d, effect: reroute, to: { model: atlas } }",
      "{ id: e, effect: prefer, score: '1' }",
    );
    expect(clean({ "a.yaml": MODEL, "team/a.yaml": text }).inventory.policies[0]).toMatchObject({
      key: "team/p",
      rules: [
        { id: "a", effect: "deny", when: "true", mode: "enforce", reason: "no", references: [] },
        { id: "b", effect: "allow", mode: "shadow", reason: "", references: [] },
        { id: "c", effect: "restrict", require: "target.country == 'DE'", references: ["Art. 1"], owner: "x" },
        { id: "d", effect: "reroute", to: { model: "atlas" } },
        { id: "e", effect: "prefer", score: "1" },
      ],
    });
  });

  it("is attached to a Gateway, a route or a Model", () => {
    const text = (target: string) => yaml("Policy", "p", `targetRef: ${target}\nrules: [{ id: a, effect: allow }]`);
    const target = (reference: string) =>
      clean({ "a.yaml": GATEWAY + text(reference), "team/a.yaml": MODEL }).inventory.policies[0]?.target;
    expect(target("{ kind: Model, name: atlas, namespace: team }")).toEqual({ kind: "Model", key: "team/atlas" });
    expect(target("{ group: gateway.networking.k8s.io, kind: Gateway, name: edge, namespace: . }")).toEqual({
      kind: "Gateway",
      key: "edge",
    });
    expect(one(GATEWAY, text("{ group: ▸chancery.dev, kind: Gateway, name: edge }")).message).toBe(
      "Gateway is of group gateway.networking.k8s.io",
    );
    expect(one(text("{ kind: ▸Upstream, name: x }")).message).toContain(
      'must be one of "Gateway", "HTTPRoute", "Model"',
    );
    expect(one(text("{ kind: Model, name: ▸x }")).hint).toBe("there is no Model in the whole tree");
  });

  it("is not attached to what a scope above owns: it would bind callers of others", () => {
    const text = yaml("Policy", "p", "targetRef: { kind: Gateway, name: ▸edge }\nrules: [{ id: a, effect: allow }]");
    expect(said(onlyProblem({ "a.yaml": GATEWAY, "team/a.yaml": text }))).toEqual({
      code: "not-allowed",
      message: 'a policy in scope "team" cannot be attached to a Gateway of "."',
      hint: 'move it to scope "." or above it; without targetRef it binds the applications of its own scope',
    });
  });

  it.each([
    ["▸{ id: a, effect: restrict, reason: x }", "missing-field", 'a rule of effect restrict needs "require"'],
    ["▸{ id: a, effect: reroute }", "missing-field", 'a rule of effect reroute needs "to"'],
    ["▸{ id: a, effect: prefer }", "missing-field", 'a rule of effect prefer needs "score"'],
    ["{ id: a, effect: allow, ▸require: 'true' }", "conflict", 'a rule of effect allow has no "require"'],
    ["{ id: a, effect: deny, reason: x, ▸score: '1' }", "conflict", 'a rule of effect deny has no "score"'],
    ["{ id: a, effect: allow, ▸to: { model: atlas } }", "conflict", 'a rule of effect allow has no "to"'],
    ["{ id: a, effect: reroute, to: ▸{} }", "conflict", "a reroute goes to exactly one of model, version and upstream"],
    [
      "{ id: a, effect: reroute, to: ▸{ model: atlas, version: atlas-v2 } }",
      "conflict",
      "a reroute goes to exactly one of",
    ],
    [
      "{ id: a, effect: reroute, to: { version: ▸atlas-v3 } }",
      "dangling-reference",
      'there is no ModelVersion "atlas-v3"',
    ],
    ["{ id: a, effect: ▸block }", "invalid-value", "must be one of"],
    ["{ id: a, effect: allow, when: ▸'  ' }", "invalid-value", "an expression must not be empty"],
    ["{ id: a, effect: allow, when: ▸true }", "invalid-value", "must be a string, not true or false"],
    [`{ id: a, effect: allow, when: ▸"${"x".repeat(8193)}" }`, "invalid-value", "an expression may have 8 KiB"],
    ["{ id: ▸'a b', effect: allow }", "invalid-value", "must be a short name"],
    ["{ id: a, effect: allow, mode: ▸dry-run }", "invalid-value", "must be one of"],
  ])("refuses the rule %s", (line, code, message) => {
    const problem = one(MODEL, VERSION, rules(line));
    expect(problem.code).toBe(code);
    expect(problem.message).toContain(message);
  });

  it("has ids of rules once", () => {
    expect(one(rules("{ id: a, effect: allow }", "{ id: ▸a, effect: allow }")).message).toBe(
      'two rules of this policy have the id "a"',
    );
  });

  it("warns about a refusal without a reason", () => {
    const { problems } = parseResources(new Map([["a.yaml", rules("{ id: a, effect: deny }")]]));
    expect(problems.map(({ severity, code, at }) => `${severity} ${code} ${at.line}:${at.column}`)).toEqual([
      "warning missing-reason 7:7",
    ]);
  });

  it("does not send everyone in a circle", () => {
    const other = MODEL.replace("name: atlas", "name: orion");
    const reroute = (from: string, to: string, rest = "") =>
      yaml(
        "Policy",
        `${from}-${to}`,
        `targetRef: { kind: Model, name: ${from} }\nrules: [{ id: a, effect: reroute, to: ${to.includes("{") ? to : `{ model: ${to} }`}${rest} }]`,
      );
    const there = reroute("atlas", "orion");
    expect(
      said(
        onlyProblem({
          "a.yaml": MODEL + other + there,
          "b.yaml": reroute("orion", "atlas").replace("to: {", "to: ▸{"),
        }),
      ),
    ).toEqual({
      code: "reroute-cycle",
      message: 'this reroute closes a circle: "atlas" → "orion" → "atlas"',
      hint: "end it at a model",
    });
    expect(one(MODEL, reroute("atlas", "atlas").replace("to: {", "to: ▸{")).code).toBe("reroute-cycle");
    clean({ "a.yaml": MODEL + other + there + reroute("orion", "atlas", ", when: 'true'") });
    clean({ "a.yaml": MODEL + other + there + reroute("orion", "atlas", ", mode: shadow") });
    clean({
      "a.yaml": MODEL + VERSION + reroute("atlas", "{ version: atlas-v2 }").replace("atlas-{ version: atlas-v2 }", "x"),
    });
  });
});
