import { expect, it } from "vitest";
import { APPLICATION, clean, MODEL, VERSION, yaml } from "../fixtures.ts";
import { parseResources } from "../load.ts";

const quarantine = (...lines: string[]) => yaml("Quarantine", "stop", ["reason: incident 7", ...lines].join("\n"));
const POLICY = yaml("Policy", "limits", "rules:\n  - { id: all, effect: allow }");
const TREE = MODEL + VERSION + APPLICATION + POLICY;
/** The one thing that is wrong, with its line in the file of the quarantine. */
function one(text: string, file = "b.yaml"): object {
  const { problems } = parseResources(
    new Map([
      ["a.yaml", TREE],
      [file, text],
    ]),
  );
  expect(problems).toHaveLength(1);
  return { ...problems[0], line: problems[0]?.at.line };
}

it.each([
  ["targetRef: { kind: ModelVersion, name: atlas-v2 }", "version", "atlas-v2"],
  ["targetRef: { kind: Model, name: atlas }", "model", "atlas"],
  ["targetRef: { kind: Application, name: assistant }", "application", "assistant"],
  ["targetRef: { kind: Policy, name: limits, rule: all }", "rule", "limits/all"],
  ["region: eu-1", "region", "eu-1"],
])("%s", (line, kind, value) => {
  const text = quarantine(line, "until: 2026-12-01T00:00:00Z");
  const { inventory } = clean({ "a.yaml": MODEL + VERSION + APPLICATION + POLICY, "b.yaml": text });
  expect(inventory.quarantines).toMatchObject([
    { key: "stop", kind, value, reason: "incident 7", until: "2026-12-01T00:00:00Z" },
  ]);
});

it("names exactly one thing that there is", () => {
  const which = { code: "invalid-value", message: "a quarantine names one thing: targetRef or region" };
  expect(one(quarantine())).toMatchObject(which);
  expect(one(quarantine("region: eu-1", "targetRef: { kind: Model, name: atlas }"))).toMatchObject(which);
  expect(one(quarantine("targetRef: { kind: ModelVersion, name: atlas-v9 }"))).toMatchObject({
    code: "dangling-reference",
    hint: 'did you mean "atlas-v2"?',
  });
  expect(one(quarantine("targetRef: { kind: Policy, name: limits }"))).toMatchObject({ code: "missing-field" });
  expect(one(quarantine("targetRef: { kind: Policy, name: limits, rule: most }"))).toMatchObject({
    message: 'Policy "limits" has no rule "most"',
    hint: "its rules: all",
  });
  expect(one(quarantine("targetRef: { kind: Model, name: atlas, rule: all }"))).toMatchObject({
    message: "a Model has no rules",
  });
});

it("speaks for its own scope alone", () => {
  expect(one(quarantine("targetRef: { kind: Model, name: atlas }"), "team/b.yaml")).toMatchObject({
    code: "not-allowed",
    message: 'a quarantine in scope "team" cannot speak for a Model of "."',
  });
  expect(one(quarantine("region: eu-1"), "team/b.yaml")).toMatchObject({ code: "not-allowed", line: 7 });
});
