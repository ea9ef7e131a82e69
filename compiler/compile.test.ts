import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { TYPE_URLS } from "../envoy/index.ts";
import { parseResources } from "../resources/index.ts";
import { type CompileResult, compile } from "./index.ts";
import { caseText, compileText, decode } from "./testdata/golden.ts";

const TESTDATA = join(import.meta.dirname, "testdata");
const cases = readdirSync(TESTDATA, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name);

describe.each(cases)("%s", (name) => {
  test("compiles to what its golden file says", () => {
    const { parts } = compileText(caseText(name));
    const text = stringify(
      {
        program: parts.program,
        layouts: parts.layouts,
        secrets: parts.secrets,
        nodeGroups: parts.nodeGroups.map((group) => ({
          name: group.name,
          layout: group.layout,
          ...(group.extends === undefined ? {} : { extends: group.extends }),
          resources: group.resources.map((resource) => ({
            type: resource.typeUrl.replace(/.*\./, ""),
            name: resource.name,
            version: resource.version,
            // A listener that takes the place of another one differs from it in one field; a test says so.
            ...(group.extends !== undefined && resource.typeUrl === TYPE_URLS.listener
              ? {}
              : { body: decode(resource) }),
          })),
        })),
      },
      { lineWidth: 120, aliasDuplicateObjects: false },
    );
    const golden = join(TESTDATA, name, "golden.yaml");
    if (process.env.UPDATE_GOLDEN === "1") writeFileSync(golden, text);
    expect(text).toBe(readFileSync(golden, "utf8"));
  });

  test("compiles to the same bytes twice", () => {
    expect(compileText(caseText(name)).parts).toEqual(compileText(caseText(name)).parts);
  });
});

/** Versions of the resources of one type, by name. */
function versions(result: CompileResult, typeUrl: string): Record<string, string> {
  const resources = result.parts.nodeGroups.flatMap((group) => group.resources);
  return Object.fromEntries(resources.filter((r) => r.typeUrl === typeUrl).map((r) => [r.name, r.version]));
}

describe("a Listener does not change (its connections would be drained)", () => {
  const chain = caseText("model-chain");
  const tokens = caseText("tokens");
  test.each([
    ["a rule", chain, chain.replace('request.method == "POST"', 'request.method in ["POST", "PUT"]')],
    ["an application", chain, chain.replace("answers questions", "answers more questions")],
    ["an API key", chain, chain.replace("9f86d081", "0f86d081")],
    ["a model", chain, chain.replace("names: [atlas, atlas-latest]", "names: [atlas], maxAttempts: 4")],
    ["an upstream", chain, chain.replace("address: 127.0.0.1", "address: 127.0.0.9")],
    ["a deployment", chain, chain.replace("wireName: atlas-1", "wireName: atlas-one")],
    ["an approval", chain, chain.replace("[model-board]", "[model-board], validUntil: 2030-01-01T00:00:00Z")],
    ["a route", chain, chain.replace("/v1/chat/completions", "/v1/completions")],
    ["a token issuer", tokens, tokens.replaceAll("https://partner.example.com", "https://down.example.com")],
  ])("when %s does", (_, before, after) => {
    expect(after).not.toBe(before);
    const [old, now] = [before, after].map((text) => {
      const loaded = parseResources(new Map([["resources.yaml", text]]));
      return compile(loaded.inventory, { jwks: new Map(), positions: loaded.positions });
    });
    if (old === undefined || now === undefined) throw new Error("two results");
    expect(now.parts).not.toEqual(old.parts);
    expect(versions(now, TYPE_URLS.listener)).toEqual(versions(old, TYPE_URLS.listener));
  });
});

test("a policy that asks for nothing new changes no Envoy resource and no layout", () => {
  const before = compileText(caseText("model-chain"));
  const after = compileText(caseText("model-chain").replace('== "production"', 'in ["production", "canary"]'));
  expect(after.parts.nodeGroups).toEqual(before.parts.nodeGroups);
  expect(after.parts.layouts).toEqual(before.parts.layouts);
  expect(after.parts.program).not.toEqual(before.parts.program);
});

test("a weight changes the route table and the layout, and no cluster", () => {
  const before = compileText(caseText("plain-services"));
  const after = compileText(caseText("plain-services").replace("weight: 80", "weight: 60"));
  expect(versions(after, TYPE_URLS.cluster)).toEqual(versions(before, TYPE_URLS.cluster));
  expect(after.parts.layouts[0]?.hash).not.toBe(before.parts.layouts[0]?.hash);
});

test("a route of one port changes the table and the layout of that port alone", () => {
  const before = compileText(caseText("hosts-and-tls"));
  const after = compileText(caseText("hosts-and-tls").replace("value: /v2", "value: /v3"));
  const { "edge/10080": plain, ...others } = versions(after, TYPE_URLS.route);
  expect(others).toHaveProperty(["edge/10443/secure"]);
  expect(versions(before, TYPE_URLS.route)).toEqual({
    ...others,
    "edge/10080": expect.not.stringMatching(plain ?? ""),
  });
  const hashes = (result: CompileResult) => result.parts.layouts.map(({ hash }) => hash);
  // Of the full plan and of the reduced one.
  expect(hashes(after).filter((hash) => hashes(before).includes(hash))).toHaveLength(2);
  expect(hashes(after)).toHaveLength(4);
  const group = (result: CompileResult) => result.parts.nodeGroups[0]?.layout;
  expect(group(after)).not.toBe(group(before));
});

test("an endpoint changes its load assignment alone", () => {
  const before = compileText(caseText("model-chain"));
  const after = compileText(caseText("model-chain").replace("address: 127.0.0.2", "address: 127.0.0.7"));
  for (const type of ["cluster", "listener", "route"] as const) {
    expect(versions(after, TYPE_URLS[type])).toEqual(versions(before, TYPE_URLS[type]));
  }
  expect(versions(after, TYPE_URLS.endpoint)).not.toEqual(versions(before, TYPE_URLS.endpoint));
});

describe("what cannot be compiled together", () => {
  const problems = (text: string) => {
    const loaded = parseResources(new Map([["resources.yaml", text]]));
    return compile(loaded.inventory, { jwks: new Map(), positions: loaded.positions }).problems;
  };
  const place = (text: string, needle: string) => {
    const before = text.slice(0, text.indexOf(needle)).split("\n");
    return { file: "resources.yaml", line: before.length, column: (before.at(-1) ?? "").length + 1 };
  };

  test("a rule whose expression does not compile is shown at the character that is wrong", () => {
    const text = caseText("model-chain").replace('target.maturity == "production"', "target.matrity == 1");
    expect(problems(text)).toEqual([
      expect.objectContaining({ severity: "error", code: "expression", scope: ".", at: place(text, "matrity") }),
    ]);
  });

  test("a read of what can be missing is shown at its place, with the fix", () => {
    const text = caseText("model-chain").replace('target.maturity == "production"', "target.cost.input < 1.0");
    expect(problems(text)).toEqual([
      expect.objectContaining({
        severity: "error",
        code: "optional-field",
        hint: expect.stringContaining("has(target.cost) && …"),
        at: place(text, "target.cost"),
      }),
    ]);
  });

  test("backends that differ in whether the client's own Authorization is passed on", () => {
    const text = caseText("plain-services").replace(
      "endpoints: [{ address: shop-b.internal, port: 10112 }]",
      "endpoints: [{ address: shop-b.internal, port: 10112 }]\n  credential: { mode: passThrough }",
    );
    expect(problems(text).map((problem) => problem.code)).toEqual(["credential-conflict"]);
  });

  test("a rewrite of the path towards deployments with paths of their own", () => {
    const text = caseText("model-chain").replace(
      "      backendRefs:\n",
      "      filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplaceFullPath, replaceFullPath: /x } } }]\n      backendRefs:\n",
    );
    expect(problems(text)).toEqual([
      expect.objectContaining({ code: "path-conflict", at: place(text, "{ type: URLRewrite") }),
    ]);
  });
});
