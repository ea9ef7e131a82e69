import { readFile, writeFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { indexApprovals } from "./approvals.ts";
import { APPLICATION, application, modelTarget, NOW } from "./fixtures.ts";
import type { ApprovalFacts } from "./program.ts";
import { ExpressionCache, scopeChain } from "./rules.ts";
import { certificationsOf, scoreProblem, scoresOf, validCertifications } from "./standing.ts";
import { atOnce } from "./steps.ts";
import { vocabulary } from "./vocabulary.ts";
import { vocabularyPage } from "./vocabulary-page.ts";

function approvalsOf(facts: readonly ApprovalFacts[]) {
  const { approvals } = atOnce(indexApprovals(facts, new ExpressionCache()));
  return (...asked: Parameters<typeof approvals>) => approvals(...asked).length > 0;
}

describe("approvals", () => {
  const approved = (
    changes: { jurisdictions?: readonly string[]; validFrom?: string; validUntil?: string },
    jurisdictions: readonly string[] = ["EU"],
  ) => {
    const fact = { key: "k", version: "m@1", application: APPLICATION.key, jurisdictions: [], ...changes };
    return approvalsOf([fact])("m@1", application({ jurisdictions }), NOW);
  };

  test.each([
    [{}, ["EU", "US"], true],
    [{ jurisdictions: ["EU"] }, ["EU"], true],
    [{ jurisdictions: ["EU", "UK"] }, ["EU"], true],
    [{ jurisdictions: ["EU"] }, ["EU", "US"], false],
    [{ jurisdictions: ["EU"] }, [], false],
    [{}, [], true],
  ])("%j for an application in %j: %s", (changes, jurisdictions, expected) => {
    expect(approved(changes, jurisdictions)).toBe(expected);
  });

  test.each([
    [{ validFrom: "2026-11-21T12:00:00Z" }, true],
    [{ validFrom: "2026-11-21T12:00:01Z" }, false],
    [{ validUntil: "2026-11-21T12:00:00Z" }, false],
    [{ validUntil: "2026-11-21T14:00:01+02:00" }, true],
    [{ validUntil: "next year" }, false],
    [{ validFrom: "last year" }, false],
  ])("%j at noon: %s", (changes, expected) => {
    expect(approved(changes)).toBe(expected);
  });

  test("are of one version and one application", () => {
    const approvals = approvalsOf([{ key: "k", version: "m@1", application: APPLICATION.key, jurisdictions: [] }]);
    expect(approvals("m@2", APPLICATION, NOW)).toBe(false);
    expect(approvals("m@1", application({ key: "other" }), NOW)).toBe(false);
  });

  test("two that cover half each do not make a whole", () => {
    const half = (jurisdiction: string) => ({
      key: jurisdiction,
      version: "m@1",
      application: APPLICATION.key,
      jurisdictions: [jurisdiction],
    });
    const approvals = approvalsOf([half("EU"), half("US")]);
    expect(approvals("m@1", application({ jurisdictions: ["EU", "US"] }), NOW)).toBe(false);
  });
});

describe("what a version shows", () => {
  const of = (changes: Parameters<typeof modelTarget>[2]) => {
    const { model } = modelTarget("m", 1, changes);
    if (model === undefined) throw new Error("not a model");
    return model;
  };

  test("the latest evaluation counts, the lowest of equally late ones", () => {
    const score = (value: number, evaluatedAt?: string, slice = "all") => ({
      metric: "accuracy",
      slice,
      value,
      ...(evaluatedAt === undefined ? {} : { evaluatedAt }),
    });
    const scores = scoresOf(
      of({
        scores: [
          score(0.9, "2026-01-01T00:00:00Z"),
          score(0.7, "2026-06-01T00:00:00Z"),
          score(0.99),
          score(0.5, undefined, "de"),
          score(0.4, undefined, "de"),
        ],
      }),
    );
    expect(Object.fromEntries(scores.values)).toEqual({ accuracy: 0.7, "accuracy/de": 0.4 });
  });

  test("a minimum score can ask for samples and for a date that is not too old", () => {
    const now = Date.parse("2026-11-21T12:00:00Z");
    const model = of({
      scores: [
        { metric: "accuracy", slice: "all", value: 0.9, n: 100, evaluatedAt: "2026-11-20T12:00:00Z" },
        { metric: "toxicity", slice: "all", value: 0.9 },
      ],
    });
    const problem = (metric: string, more: { n?: number; maxAgeMs?: number }) =>
      scoreProblem(scoresOf(model), [{ metric, slice: "all", value: 0.5, ...more }], now);
    const day = 86_400_000;
    expect(problem("accuracy", { n: 100, maxAgeMs: day + 1 })).toBeUndefined();
    expect(problem("accuracy", { maxAgeMs: day })).toMatch(/was evaluated at 2026-11-20T12:00:00.000Z/);
    expect(problem("accuracy", { n: 101 })).toMatch(/rests on 100 samples/);
    expect(problem("toxicity", { n: 1 })).toMatch(/an unknown number of samples/);
    expect(problem("toxicity", { maxAgeMs: day })).toMatch(/has no date/);
    expect(problem("toxicity", {})).toBeUndefined();
  });

  test("certifications count while they are valid", () => {
    const model = of({
      certifications: [
        { name: "always" },
        { name: "over", validUntil: "2026-11-01T00:00:00Z" },
        { name: "coming", validFrom: "2027-01-01T00:00:00Z" },
        { name: "current", validFrom: "2026-01-01T00:00:00Z", validUntil: "2027-01-01T00:00:00Z" },
        { name: "unreadable", validUntil: "?" },
      ],
    });
    expect(validCertifications(certificationsOf(model), NOW)).toEqual(["always", "current"]);
  });
});

describe("scopeChain", () => {
  test.each([
    ["a/b/c", ["a/b/c", "a/b", "a", "."]],
    ["a", ["a", "."]],
    [".", ["."]],
  ])("of %s", (scope, chain) => {
    expect(scopeChain(scope)).toEqual(chain);
  });
});

describe("vocabulary", () => {
  test("lists every word once, described, down to the leaves", () => {
    const words = vocabulary();
    expect(new Set(words.map(({ path }) => path)).size).toBe(words.length);
    for (const { path, type, description } of words) {
      expect(description, path).toMatch(/\.$/);
      expect(type, path).not.toContain("chancery.");
    }
    expect(words).toContainEqual({
      path: "target.trainingData.gdprBasis",
      type: "string",
      required: false,
      presence: "modelTarget",
      description: expect.stringContaining("GDPR"),
      readableIn: "restrict and prefer rules",
    });
    expect(words.find(({ path }) => path === "request.method")?.required).toBe(true);
    expect(words.find(({ path }) => path === "source.principal")?.required).toBe(false);
  });

  test("has Envoy's names for what a CheckRequest carries", () => {
    const words = new Set(vocabulary().map(({ path }) => path));
    const request = [
      "method",
      "host",
      "path",
      "url_path",
      "query",
      "headers",
      "scheme",
      "protocol",
      "size",
      "time",
      "id",
    ];
    const peers = ["source", "destination"].flatMap((end) => [`${end}.address`, `${end}.port`]);
    const names = [
      ...request.map((name) => `request.${name}`),
      "request.header_values",
      ...peers,
      "source.principal",
      "connection.mtls",
      "connection.requested_server_name",
      "metadata",
      "xds.route",
      "subject.id",
      "subject.claims",
      "application.name",
      "model.name",
      "target.pool",
      "now",
      "countries.EU",
    ];
    expect(names.filter((name) => !words.has(name))).toEqual([]);
  });

  test("is what docs/vocabulary.md says", async () => {
    const file = new URL("../docs/vocabulary.md", import.meta.url);
    if (process.env.UPDATE_GOLDEN === "1") await writeFile(file, vocabularyPage());
    expect(await readFile(file, "utf8")).toBe(vocabularyPage());
  });
});
