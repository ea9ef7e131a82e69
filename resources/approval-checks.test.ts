import { describe, expect, test } from "vitest";
import { APPLICATION, clean, MODEL, onlyProblem, said, VERSION, yaml } from "./fixtures.ts";
import { parseResources } from "./load.ts";

const A = `sha256:${"a".repeat(64)}`;
const B = `sha256:${"b".repeat(64)}`;
const version = (text: string, digest?: string) =>
  yaml(
    "ModelVersion",
    "atlas-v2",
    `model: atlas\nversion: ${text}\nprovider: acme\nmaturity: production${digest === undefined ? "" : `\ndigest: ${digest}`}`,
  );
const approval = (identity: string) =>
  yaml("Approval", "ok", `version: atlas-v2\napplication: assistant\napprovers: [alice]\nidentity: ${identity}`);

function tree(versionText: string, approvalText: string) {
  return { "a.yaml": MODEL + versionText + APPLICATION + approvalText };
}

describe("what was approved", () => {
  test("stays approved as long as the version is that, whatever else is said of it", () => {
    const pinned = approval(`{ model: atlas, version: v2, provider: acme, digest: "${A}" }`);
    const { inventory } = clean(tree(version("v2", A), pinned));
    expect(inventory.approvals).toMatchObject([
      { identity: { model: "atlas", version: "v2", provider: "acme", digest: A } },
    ]);
    clean(tree(`${version("v2", A)}`.replace("production", "deprecated"), pinned));
    clean(tree(version("v2", A), approval("{ version: v2 }")));
  });

  test.each([
    ["another digest", version("v2", B), "digest", A, B],
    ["no digest any more", version("v2"), "digest", A, "none"],
    // The object is re-used: no rule about published versions is broken by that.
    ["another version under the same key", version("v3", A), "version", "v2", "v3"],
    ["another provider", version("v2", A).replace("acme", "other"), "provider", "acme", "other"],
  ])("is not %s", (_, changed, field, was, now) => {
    const pinned = approval(`▸{ model: atlas, version: v2, provider: acme, digest: "${A}" }`);
    expect(said(onlyProblem(tree(changed, pinned)))).toEqual({
      code: "identity-changed",
      message: `approved was ${field} ${was}, and atlas-v2 has ${now}`,
      hint: "approve what it is now, or give the new one an object of its own",
    });
  });

  test("is what it names by its scope, and nothing of the same name elsewhere", () => {
    const own = (of: string) => of.replaceAll("atlas", "mine").replace("names: [mine]", "");
    const granted = (name: string, namespace: string) => ({
      ...{ sequence: 1, at: "2026-01-01T00:00:00Z", by: "bob" },
      operation: {
        type: "put" as const,
        object: {
          ...{ apiVersion: "chancery.dev/v1", kind: "Approval", metadata: { name: "a-1", namespace: "team" } },
          spec: {
            version: { name, namespace },
            application: { name: "chat", namespace: "team" },
            approvers: ["bob"],
          },
        },
      },
    });
    const chat = yaml(
      "Application",
      "chat",
      `purpose: x\nriskTier: minimal\napiKeys: [{ id: k9, sha256: "${"9".repeat(64)}" }]`,
    );
    const files = new Map([
      ["a.yaml", MODEL + VERSION],
      ["team/a.yaml", own(MODEL) + own(VERSION) + chat],
    ]);
    const approved = (name: string, namespace: string) => {
      const { inventory, problems } = parseResources(files, [granted(name, namespace)]);
      return { versions: inventory.approvals.map((each) => each.version), codes: problems.map(({ code }) => code) };
    };
    expect(approved("mine-v2", "team")).toEqual({ versions: ["team/mine-v2"], codes: [] });
    // What a team has no more does not become the version of that name above it.
    expect(approved("atlas-v2", "team")).toEqual({ versions: [], codes: ["dangling-reference"] });
    // And what stands above is not the team's to approve.
    expect(approved("atlas-v2", ".")).toEqual({ versions: [], codes: ["not-allowed"] });
  });
});
