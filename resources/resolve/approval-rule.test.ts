import { describe, expect, test } from "vitest";
import { APPLICATION, clean, MODEL, onlyProblem, said, VERSION, yaml } from "../fixtures.ts";

const LINES = {
  model: "model: atlas",
  applications: "applications: [assistant]",
  when: "when: target.scores.accuracy >= 0.9",
  validFor: "validFor: 720h",
  validUntil: "validUntil: 2027-01-01T00:00:00Z",
  reason: "reason: Accurate enough",
  owner: "owner: model-board",
};
const TREE = [MODEL, VERSION, APPLICATION].join("");

function rule(changes: Partial<typeof LINES> = {}): string {
  const lines = Object.values({ ...LINES, ...changes }).filter((line) => line !== "");
  return yaml("ApprovalRule", "auto", lines.join("\n"));
}

describe("ApprovalRule", () => {
  test("names a model or versions, and applications by key or by label", () => {
    expect(clean({ "a.yaml": TREE + rule() }).inventory.approvalRules).toEqual([
      {
        key: "auto",
        name: "auto",
        scope: ".",
        labels: {},
        annotations: {},
        model: "atlas",
        versions: [],
        applications: ["assistant"],
        jurisdictions: [],
        conditions: [],
        when: "target.scores.accuracy >= 0.9",
        validForMs: 720 * 3_600_000,
        validUntil: "2027-01-01T00:00:00Z",
        reason: "Accurate enough",
        owner: "model-board",
      },
    ]);
    const other = rule({ model: "versions: [atlas-v2]", applications: "applicationLabels: { tier: internal }" });
    expect(clean({ "a.yaml": TREE + other }).inventory.approvalRules).toMatchObject([
      { versions: ["atlas-v2"], applications: [], applicationLabels: { tier: "internal" } },
    ]);
  });

  test("needs one of the two ways to say what it is about, and an end", () => {
    const problem = (changes: Partial<typeof LINES>) =>
      said(onlyProblem({ "a.yaml": TREE + rule(changes).replace("spec:\n  ", "spec:\n  ▸") }));
    expect(problem({ model: "" }).message).toBe("an approval rule is about one of model and versions");
    expect(problem({ model: "model: atlas\nversions: [atlas-v2]" }).code).toBe("invalid-value");
    expect(problem({ applications: "" }).message).toBe(
      "an approval rule has one of applications and applicationLabels",
    );
    const endless = TREE + rule({ validUntil: "" }).replace("spec:", "▸spec:");
    expect(said(onlyProblem({ "a.yaml": endless })).message).toBe('"validUntil" is missing');
  });

  test("cannot speak for what is not of its scope or below", () => {
    const speaks = (changes: Partial<typeof LINES>, own: string) =>
      said(onlyProblem({ "a.yaml": TREE, "team/a.yaml": own + rule(changes) }));
    const hint = 'move it to scope "." or above it';
    const own = APPLICATION.replace("k1", "k2").replaceAll("ab", "cd");
    const ownModel = MODEL.replaceAll("atlas", "mine");
    expect(speaks({ model: "model: ▸atlas" }, own)).toEqual({
      code: "not-allowed",
      message: 'an approval rule in scope "team" cannot speak for a model of "."',
      hint,
    });
    expect(speaks({ model: "versions: [▸atlas-v2]" }, own).message).toContain('a version of "."');
    expect(speaks({ model: "model: mine", applications: "applications: [▸assistant]" }, ownModel).message).toContain(
      'an application of "."',
    );
  });
});
