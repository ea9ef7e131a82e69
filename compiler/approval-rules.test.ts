import { expect, test } from "vitest";
import { freeze, type LoadResult, parseResources, resourceFiles } from "../resources/index.ts";
import { compile } from "./index.ts";

const object = (kind: string, name: string, spec: object, labels = {}) =>
  `${JSON.stringify({ apiVersion: "chancery.dev/v1", kind, metadata: { name, labels }, spec })}\n---\n`;
const application = (name: string, id: string, labels = {}) =>
  object(
    "Application",
    name,
    { purpose: "x", riskTier: "limited", apiKeys: [{ id, sha256: id.repeat(64) }] },
    { ...labels },
  );
const version = (name: string, value: number) =>
  object("ModelVersion", name, {
    model: "atlas",
    version: name,
    provider: "Acme",
    maturity: "production",
    scores: [{ metric: "accuracy", value, evaluatedAt: "2026-03-01T00:00:00Z" }],
  });
const rule = (when: string, who: string) => `
apiVersion: chancery.dev/v1
kind: ApprovalRule
metadata: { name: auto }
spec:
  model: atlas
  ${who}
  when: >-
    target.scores.accuracy > 0.9 &&
    ${when}
  validFor: 240h
  validUntil: 2027-01-01T00:00:00Z
  reason: Accurate enough
  owner: model-board
---
`;

function compiled(files: Readonly<Record<string, string>>) {
  const loaded = parseResources(new Map(Object.entries(files)));
  expect(loaded.problems).toEqual([]);
  return compile(loaded.inventory, { jwks: new Map(), positions: loaded.positions });
}

const VERSIONS = object("Model", "atlas", {}) + version("v1", 0.95) + version("v2", 0.7);

test("a rule approves the versions that satisfy it for the applications that carry its labels", () => {
  const { parts, problems } = compiled({
    "models.yaml": VERSIONS,
    "a.yaml": application("outside", "a", { tier: "internal" }),
    "team/models.yaml": object("Model", "atlas", {}) + version("v3", 0.99) + version("v4", 0.1),
    "team/apps.yaml": application("inside", "b", { tier: "internal" }) + application("other", "c", { tier: "public" }),
    "team/auto.yaml": rule('application.riskTier != "high"', "applicationLabels: { tier: internal }"),
  });
  expect(problems).toEqual([]);
  expect(parts.program.approvals).toEqual([
    {
      key: "team/auto:team/v3:team/inside",
      version: "team/v3",
      application: "team/inside",
      jurisdictions: [],
      validFrom: "2026-03-01T00:00:00.000Z",
      validUntil: "2026-03-11T00:00:00.000Z",
      rule: "team/auto",
    },
  ]);
});

test("a condition that is wrong is shown where it stands", () => {
  const { problems, parts } = compiled({
    "models.yaml": VERSIONS + application("chat", "a"),
    "auto.yaml": rule("target.maturty == 'production'", "applications: [chat]"),
  });
  expect(problems).toMatchObject([
    { severity: "error", code: "expression", scope: ".", at: { file: "auto.yaml", line: 10, column: 12 } },
  ]);
  expect(problems[0]?.message).toBe('ApprovalRule "auto", when: There is no field "maturty"');
  expect(parts.program.approvals).toEqual([]);
});

test("the conditions of a rule and of an approval go with every approval, and are shown where they are wrong", () => {
  const approval = (conditions: string) => `
apiVersion: chancery.dev/v1
kind: Approval
metadata: { name: pilot }
spec:
  version: v2
  application: chat
  approvers: [ann]
  conditions: ${conditions}
`;
  const files = (conditions: string) => ({
    "models.yaml": VERSIONS + application("chat", "a"),
    "auto.yaml": rule("true", "applications: [chat]").replace(
      "  validFor",
      "  conditions: [connection.mtls]\n  validFor",
    ),
    "pilot.yaml": approval(conditions),
  });
  const right = compiled(files(`['subject.kind == "jwt"', 'request.method != "GET"']`));
  expect(right.problems).toEqual([]);
  expect(right.parts.program.approvals.map(({ key, conditions }) => [key, conditions])).toEqual([
    ["pilot", ['subject.kind == "jwt"', 'request.method != "GET"']],
    ["auto:v1:chat", ["connection.mtls"]],
  ]);
  expect(compiled(files(`[connection.mtls, 'subject.kind == jwt']`)).problems).toMatchObject([
    {
      code: "expression",
      severity: "error",
      message: expect.stringContaining('Approval "pilot", conditions.1: '),
      at: { file: "pilot.yaml", line: 9, column: 50 },
    },
  ]);
});

test("a granted approval on a condition that cannot be evaluated is left out", () => {
  const check = ({ inventory, positions }: LoadResult) => compile(inventory, { jwks: new Map(), positions }).problems;
  const put = (sequence: number, conditions: readonly string[]) => {
    const spec = { version: "v2", application: "chat", approvers: ["bob"], conditions };
    const object = { apiVersion: "chancery.dev/v1", kind: "Approval", metadata: { name: `a-${sequence}` }, spec };
    return { sequence, at: "2026-01-01T00:00:00Z", by: "bob", operation: { type: "put" as const, object } };
  };
  const files = resourceFiles(new Map([["models.yaml", VERSIONS + application("chat", "a")]]));
  const log = [put(1, ["logs are kept for 30 days"]), put(2, ["connection.mtls"])];
  const result = freeze(files, undefined, { log, check });
  if (result.outcome !== "inForce") throw new Error("refused");
  expect(result.loaded.inventory.approvals.map(({ key }) => key)).toEqual(["a-2"]);
  expect(result.leftOut).toMatchObject([{ code: "expression", at: { file: "log:1" } }]);
});
