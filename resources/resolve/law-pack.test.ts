import { describe, expect, it } from "vitest";
import { clean, onlyProblem, said, unmark, yaml } from "../fixtures.ts";
import { parseResources } from "../load.ts";

const HEAD = "instrument: Law\njurisdiction: EU\nversion: 2026-11-21\nsource: a book\nasOf: 2026-11-01";
const RULE =
  "id: a, article: Art. 1, effect: deny, effectiveFrom: 2026-08-02T00:00:00Z, review: sourced, reason: because";
const pack = (rule = RULE, ...lines: string[]) =>
  yaml("LawPack", "law", [HEAD, ...lines, "rules:", `  - { ${rule} }`].join("\n"));
const one = (text: string) => said(onlyProblem({ "a.yaml": text }));

describe("LawPack", () => {
  it("is never stronger than its mode", () => {
    const modes = (packMode: string, ruleMode: string) =>
      clean({ "a.yaml": pack(`${RULE}, mode: ${ruleMode}`, `mode: ${packMode}`) }).inventory.lawPacks[0]?.rules[0]
        ?.mode;
    expect(modes("enforce", "enforce")).toBe("enforce");
    expect(modes("shadow", "enforce")).toBe("shadow");
    expect(modes("shadow", "off")).toBe("off");
    expect(modes("off", "enforce")).toBe("off");
  });

  it.each([
    [RULE.replace("effect: deny", "effect: ▸allow"), 'must be one of "deny", "restrict"'],
    [
      RULE.replace("effect: deny", "effect: restrict, require: 'true', effectiveTo: ▸2026-08-01T00:00:00Z"),
      "later than",
    ],
    [`${RULE}, ▸require: 'true'`, 'a rule of effect deny has no "require"'],
    [RULE.replace("review: sourced", "review: ▸unreviewed"), "a rule that is unreviewed must be off"],
    [RULE.replace("reason: because", "reason: ▸''"), "must not be empty"],
    [`${RULE} }\n  - { ${RULE.replace("id: a", "id: ▸a")}`, 'two rules of this pack have the id "a"'],
  ])("refuses %s", (rule, message) => {
    expect(one(pack(rule)).message).toContain(message);
  });

  it("needs what a restriction demands", () => {
    const { files } = unmark({ "a.yaml": pack(RULE.replace("effect: deny", "effect: restrict")) });
    expect(parseResources(files).problems.map(({ code }) => code)).toEqual(["missing-field"]);
  });

  it("says in the root alone which countries are adequate", () => {
    const adequacy = (country: string) => `adequacy: [{ country: ${country}, reference: r, review: reviewed }]`;
    clean({ "a.yaml": pack(RULE, adequacy("CH")) });
    expect(one(pack(RULE, adequacy("▸UK"))).message).toContain("must be a country code");
    const text = pack(RULE, adequacy("CH").replace("[{", "▸[{"));
    expect(said(onlyProblem({ "team/a.yaml": text }))).toMatchObject({ code: "not-allowed" });
  });
});
