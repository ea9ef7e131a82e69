import { describe, expect, test } from "vitest";
import { endingSoon } from "./analysis-dates.ts";
import {
  type ApprovalRuleFacts,
  approvalsByRule,
  checkApprovalRule,
  MOST_CONDITIONS,
  type VersionFacts,
} from "./approval-rules.ts";
import { application, decide, modelFacts, modelInput, modelTarget, program, removals } from "./fixtures.ts";

const DAY = 86_400_000;
const VERSION: VersionFacts = {
  model: "atlas",
  version: "atlas-2",
  versionName: "2",
  age: 1,
  provider: "Acme",
  maturity: "production",
  trainingData: { gdprBasis: "6(1)(f)" },
  certifications: [],
  scores: [],
  labels: { tier: "gold" },
};
const APPLICATION = application({ key: "chat" });

function score(value: number, evaluatedAt?: string, n?: number, metric = "accuracy") {
  const more = { ...(evaluatedAt === undefined ? {} : { evaluatedAt }), ...(n === undefined ? {} : { n }) };
  return { metric, slice: "all", value, ...more };
}

function rule(when: string, version: Partial<VersionFacts> = {}, more: Partial<ApprovalRuleFacts> = {}) {
  return {
    key: "auto",
    scope: ".",
    versions: [{ ...VERSION, ...version }],
    applications: [APPLICATION],
    jurisdictions: [],
    when,
    conditions: [],
    validForMs: 30 * DAY,
    validUntil: "2027-01-01T00:00:00.000Z",
    ...more,
  };
}

/** From when until when it approves, as days; "…" for no start. */
function approved(...parameters: Parameters<typeof rule>): readonly string[] {
  const day = (time = "…") => time.replace(/T00:00:00\.000Z$/, "");
  return approvalsByRule(rule(...parameters)).map(
    ({ validFrom, validUntil }) => `${day(validFrom)} ${day(validUntil)}`,
  );
}

const ACCURATE = "target.scores.accuracy >= 0.9";

describe("an approval rule", () => {
  test("approves what satisfies it, until its evidence is too old, and says by which rule", () => {
    const scores = [score(0.95, "2026-03-01T00:00:00Z")];
    expect(approvalsByRule(rule(ACCURATE, { scores }, { jurisdictions: ["EU"] }))).toEqual([
      {
        key: "auto:atlas-2:chat",
        version: "atlas-2",
        application: "chat",
        jurisdictions: ["EU"],
        validFrom: "2026-03-01T00:00:00.000Z",
        validUntil: "2026-03-31T00:00:00.000Z",
        rule: "auto",
      },
    ]);
  });

  test("does not approve on a score that is missing, has no date, is too low, or is an error", () => {
    expect(approved(ACCURATE)).toEqual([]);
    expect(approved(ACCURATE, { scores: [score(0.95)] })).toEqual([]);
    expect(approved(ACCURATE, { scores: [score(0.8, "2026-03-01T00:00:00Z")] })).toEqual([]);
    expect(approved("1 / int(target.scores.size()) > 0")).toEqual([]);
  });

  test("holds as long as the oldest of the scores that it reads counts", () => {
    const scores = [score(0.95, "2026-03-01T00:00:00Z"), score(0.1, "2026-03-11T00:00:00Z", 9, "harm")];
    expect(approved(`${ACCURATE} && target.scores.harm < 0.2`, { scores })).toEqual(["2026-03-11 2026-03-31"]);
    expect(approved(`${ACCURATE} || target.scores.harm < 0.2`, { scores })).toEqual(["2026-03-01 2026-04-10"]);
    expect(approved('target.scoreSamples["harm"] >= 9', { scores })).toEqual(["2026-03-11 2026-04-10"]);
  });

  test("goes on with a score that follows, and ends where one that follows is too low", () => {
    const [old, next] = ["2026-03-01T00:00:00Z", "2026-03-21T00:00:00Z"];
    expect(approved(ACCURATE, { scores: [score(0.95, old), score(0.97, next)] })).toEqual(["2026-03-01 2026-04-20"]);
    expect(approved(ACCURATE, { scores: [score(0.95, old), score(0.5, next)] })).toEqual(["2026-03-01 2026-03-21"]);
  });

  test("holds while the certifications that it reads are valid, in every one of their periods", () => {
    const certifications = [
      { name: "iso", validUntil: "2026-02-01T00:00:00Z" },
      { name: "iso", validFrom: "2026-05-01T00:00:00Z", validUntil: "2026-06-01T00:00:00Z" },
    ];
    const when = '"iso" in target.certifications';
    expect(approved(when, { certifications })).toEqual(["… 2026-02-01", "2026-05-01 2026-06-01"]);
    expect(approvalsByRule(rule(when, { certifications })).map(({ key }) => key)).toEqual([
      "auto:atlas-2:chat",
      "auto:atlas-2:chat:2",
    ]);
  });

  test("never goes beyond its own dates", () => {
    const when = 'target.trainingData.gdprBasis != "" && application.riskTier != "high"';
    expect(approved(when)).toEqual(["… 2027-01-01"]);
    expect(approved(when, {}, { validFrom: "2026-06-01T00:00:00Z" })).toEqual(["2026-06-01 2027-01-01"]);
    expect(approved(when, { trainingData: { gdprBasis: "" } })).toEqual([]);
    const scores = [score(0.95, "2026-12-20T00:00:00Z")];
    expect(approved(ACCURATE, { scores })).toEqual(["2026-12-20 2027-01-01"]);
    expect(approved(ACCURATE, { scores }, { validUntil: "2026-12-01T00:00:00Z" })).toEqual([]);
  });

  test("is held to the clock of the decision", () => {
    const target = modelTarget("atlas", 1, { version: "atlas-2" });
    const scores = [score(0.95, "2026-03-01T00:00:00Z")];
    const answers = (now: string) => {
      const request = modelInput("atlas", [target], { application: APPLICATION, now: Date.parse(now) });
      const approvals = approvalsByRule(rule(ACCURATE, { scores }));
      return removals(decide({ models: [modelFacts("atlas", { approval: "required" })], approvals }, request));
    };
    const refused = { [target.pool]: "chancery:approval" };
    expect(answers("2026-02-28T23:59:59.999Z")).toEqual(refused);
    expect(answers("2026-03-01T00:00:00Z")).toEqual({});
    expect(answers("2026-03-30T23:59:59.999Z")).toEqual({});
    expect(answers("2026-03-31T00:00:00Z")).toEqual(refused);
  });

  test("is warned of where the last of its periods ends", () => {
    const certifications = [
      { name: "iso", validUntil: "2026-02-01T00:00:00Z" },
      { name: "iso", validFrom: "2026-05-01T00:00:00Z", validUntil: "2026-06-01T00:00:00Z" },
    ];
    const approvals = approvalsByRule(rule('"iso" in target.certifications', { certifications }));
    const warned = (now: string) =>
      endingSoon(program({ approvals }), { now: Date.parse(now), withinMs: DAY }).map(({ message, about }) => ({
        message,
        about,
      }));
    expect(warned("2026-03-01T00:00:00Z")).toEqual([]);
    expect(warned("2026-05-31T00:00:00Z")).toEqual([
      {
        message: "the approval of atlas-2 for chat ends at 2026-06-01T00:00:00.000Z",
        about: { kind: "ApprovalRule", key: "auto" },
      },
    ]);
  });

  test("reads only what a version has by itself", () => {
    const said = (when: string) => checkApprovalRule(rule(when)).map(({ code, message }) => `${code}: ${message}`);
    expect(said('target.labels["tier"] == "gold" && target.maturity == "production"')).toEqual([]);
    expect(said('target.country == "DE"')).toEqual(['expression: "country" is not known of a version by itself']);
    expect(said("target.constructor")).toEqual(['expression: There is no field "constructor"']);
    expect(said("target.approved")).toEqual(['expression: "approved" is not known of a version by itself']);
    expect(said('now > timestamp("2026-01-01T00:00:00Z")')).toEqual([
      'expression: "now" cannot be read in approval rules: they are evaluated without a request',
    ]);
    expect(said("target.scores.size()")).toEqual(["expression: The expression is of type int; bool is needed"]);
    expect(approvalsByRule(rule('target.country == ""'))).toEqual([]);
  });

  test("asks no more than its bound, and approves nothing where it would", () => {
    const applications = Array.from({ length: MOST_CONDITIONS + 1 }, () => APPLICATION);
    const large = rule("true", {}, { applications });
    expect(checkApprovalRule(large)).toMatchObject([{ severity: "error", code: "invalid-value" }]);
    expect(approvalsByRule(large)).toEqual([]);
  });
});
