import { describe, expect, it } from "vitest";
import { clean, MODEL, onlyProblem, said, UPSTREAM, VERSION, yaml } from "../fixtures.ts";

const one = (...texts: string[]) => said(onlyProblem({ "a.yaml": texts.join("") }));

describe("Model", () => {
  it("has defaults", () => {
    expect(clean({ "a.yaml": MODEL }).inventory.models[0]).toEqual({
      key: "atlas",
      name: "atlas",
      scope: ".",
      labels: {},
      annotations: {},
      names: ["atlas"],
      source: { type: "body", pointer: "/model" },
      approval: "required",
      firstByteMs: 30_000,
      wholeAnswerMs: 300_000,
      maxStreamMs: 3_600_000,
      maxAttempts: 3,
      maxBodyBytes: 4_194_304,
    });
  });

  it.each([
    ["{ type: body, pointer: /engine }", { type: "body", pointer: "/engine" }],
    ["{ type: body }", { type: "body", pointer: "/model" }],
    ["{ type: query, parameter: model }", { type: "query", parameter: "model" }],
    ["{ type: header, header: X-Model }", { type: "header", header: "x-model" }],
    [
      "{ type: path, template: '/v1/models/{model}/generate' }",
      { type: "path", template: "/v1/models/{model}/generate" },
    ],
    ["{ type: route }", { type: "route" }],
  ])("is found by %s", (source, expected) => {
    const text = yaml("Model", "m", `source: ${source}`);
    expect(clean({ "a.yaml": text }).inventory.models[0]?.source).toEqual(expected);
  });

  it.each([
    ["source: { type: body, pointer: ▸/a/b }", "must be a JSON pointer to a top-level member"],
    ["source: { type: body, pointer: ▸model }", "must be a JSON pointer to a top-level member"],
    ["source: { type: path, template: ▸/v1/models }", "must have {model} exactly once"],
    ["source: { type: path, template: ▸'/{model}/{model}' }", "must have {model} exactly once"],
    ["source: { type: path, template: ▸'/{model}/{x}' }", "must have {model} exactly once"],
    ["source: { type: ▸cookie }", "must be one of"],
    ["source: ▸body", "must be a mapping, not a string"],
    ["names: [▸a@b]", 'must be a name without spaces and "@"'],
    ["names: ▸[]", "at least 1 entry"],
    ["names: [a, ▸a]", "the same value as entry 1"],
    ["maxAttempts: ▸6", "must lie between 1 and 5"],
    ["maxBodyBytes: ▸1", "must lie between 1024 and 67108864"],
    ["firstByte: ▸0s", "must lie between 10ms and 24h"],
  ])("refuses %s", (line, message) => {
    const problem = one(yaml("Model", "m", line));
    expect(problem.code).toBe("invalid-value");
    expect(problem.message).toContain(message);
  });

  it("has a name that no other model of its scope has", () => {
    const other = yaml("Model", "b", "names: [x, ▸atlas]");
    expect(said(onlyProblem({ "a.yaml": MODEL, "b.yaml": other }))).toEqual({
      code: "conflict",
      message: 'Model "atlas" of this scope has the name "atlas" too (a.yaml:5)',
      hint: "a name stands for one model in a scope",
    });
    clean({ "a.yaml": MODEL, "team/b.yaml": other.replace("▸", "") });
  });
});

describe("ModelVersion", () => {
  it("reads everything that it can say", () => {
    const text = yaml(
      "ModelVersion",
      "atlas-v2",
      `model: atlas
version: "2.0"
digest: sha256:${"0".repeat(64)}
provider: Acme
maturity: canary
owner: ml@acme.example
releasedAt: 2026-01-31T00:00:00Z
trainingData: { gdprBasis: consent, attestation: x, cutoff: 2025-06 }
certifications: [{ name: ISO 42001, validUntil: 2027-01-01T00:00:00Z }]
scores: [{ metric: accuracy, value: 0.9, n: 100 }]`,
    );
    expect(clean({ "a.yaml": MODEL + text }).inventory.modelVersions[0]).toEqual({
      key: "atlas-v2",
      name: "atlas-v2",
      scope: ".",
      labels: {},
      annotations: {},
      model: "atlas",
      version: "2.0",
      digest: `sha256:${"0".repeat(64)}`,
      provider: "Acme",
      maturity: "canary",
      owner: "ml@acme.example",
      releasedAt: "2026-01-31T00:00:00Z",
      generalPurpose: "no",
      documentation: { provider: "", systemicRisk: "" },
      trainingData: { gdprBasis: "consent", attestation: "x", cutoff: "2025-06" },
      certifications: [{ name: "ISO 42001", validUntil: "2027-01-01T00:00:00Z" }],
      scores: [{ metric: "accuracy", slice: "all", value: 0.9, n: 100 }],
    });
  });

  it.each([
    ["version: ▸2.0", "spec.version: must be a string, not a number"],
    ["version: ▸a@b", 'must be a version without spaces and "@"'],
    ["version: v\ndigest: ▸abc", "must be a digest such as sha256:<hex>"],
    ["version: v\nreleasedAt: ▸2026-01-31", "not an RFC 3339 date and time"],
    ["version: v\nreleasedAt: ▸2026-02-30T00:00:00Z", "not an RFC 3339 date and time"],
    ["version: v\ntrainingData: { cutoff: ▸June }", "must be a date such as 2025-06"],
    ["version: v\nscores: [{ metric: a, value: ▸.nan }]", "must be a finite number"],
    [
      "version: v\ncertifications: [{ name: a, validFrom: 2026-01-01T00:00:00Z, validUntil: ▸2025-01-01T00:00:00Z }]",
      "validUntil must be later than validFrom",
    ],
  ])("refuses %s", (line, message) => {
    const text = yaml("ModelVersion", "v", `model: atlas\nprovider: Acme\nmaturity: production\n${line}`);
    expect(one(MODEL, text).message).toContain(message);
  });

  it("is told apart by its version", () => {
    const again = VERSION.replace("name: atlas-v2", "name: other").replace("version: v2", "version: ▸v2");
    expect(said(onlyProblem({ "a.yaml": MODEL + VERSION, "b.yaml": again })).message).toBe(
      'ModelVersion "atlas-v2" is version "v2" of Model "atlas" too (a.yaml:14)',
    );
  });
});

describe("Deployment", () => {
  const deployment = (...lines: string[]) =>
    yaml("Deployment", "d", ["version: atlas-v2", "upstream: web", "region: eu", ...lines].join("\n"));

  it("is called by the version's name on the wire unless it says otherwise", () => {
    const { inventory } = clean({ "a.yaml": MODEL + VERSION + UPSTREAM + deployment("country: DE") });
    expect(inventory.deployments[0]).toEqual({
      key: "d",
      name: "d",
      scope: ".",
      labels: {},
      annotations: {},
      version: "atlas-v2",
      upstream: "web",
      region: "eu",
      country: "DE",
      wireName: "v2",
      api: "openai-chat",
      weight: 1,
      subprocessors: [],
      agreements: [],
      safeguards: [],
    });
  });

  it("is not served by what is reached without a decision", () => {
    const open = UPSTREAM.replace("spec:", "spec:\n  governed: false");
    const text = MODEL + VERSION + open + deployment("country: DE").replace("upstream: web", "upstream: ▸web");
    expect(said(onlyProblem({ "a.yaml": text })).message).toBe(
      'Upstream "web" is not governed, and what serves a model is',
    );
  });

  it("says who else processes requests, and under which terms", () => {
    const lines = [
      "country: DE",
      "subprocessors: [{ name: Support Ltd, country: IN }]",
      "agreements: [{ kind: data-processing, subprocessor: Support Ltd, reference: c-2 }]",
      "safeguards: [{ country: IN, kind: standard-clauses, reference: s-1, validUntil: 2027-01-01T00:00:00Z }]",
    ];
    const { inventory } = clean({ "a.yaml": MODEL + VERSION + UPSTREAM + deployment(...lines) });
    expect(inventory.deployments[0]).toMatchObject({
      subprocessors: [{ name: "Support Ltd", country: "IN" }],
      agreements: [{ kind: "data-processing", subprocessor: "Support Ltd", reference: "c-2" }],
      safeguards: [{ country: "IN", kind: "standard-clauses", validUntil: "2027-01-01T00:00:00Z" }],
    });
  });

  it.each([
    ["subprocessors: [{ name: a, country: ▸UK }]", "must be a country code of ISO 3166-1 alpha-2"],
    ["safeguards: [{ country: ▸XX, kind: other, reference: r }]", "must be a country code of ISO 3166-1 alpha-2"],
    [
      "subprocessors: [{ name: Acme, country: US }]\nagreements: [{ kind: data-processing, subprocessor: ▸Amce, reference: r }]",
      'there is no subprocessor "Amce"',
    ],
  ])("refuses %s", (line, message) => {
    expect(one(MODEL, VERSION, UPSTREAM, deployment("country: DE", line)).message).toContain(message);
  });

  it.each([
    ["country: ▸UK", "must be a country code of ISO 3166-1 alpha-2", "write GB"],
    ["country: ▸de", "must be a country code of ISO 3166-1 alpha-2", "write DE"],
    ["country: ▸EU", "must be a country code of ISO 3166-1 alpha-2", "write one of its member states"],
    [
      "country: ▸Germany",
      "must be a country code of ISO 3166-1 alpha-2",
      "two capital letters of ISO 3166-1, such as DE or US",
    ],
    ["country: DE\nweight: ▸0", "spec.weight: must lie between 1 and 1000000", undefined],
    [
      "country: DE\ncost: { inputPerMillion: ▸-1, outputPerMillion: 1, currency: EUR }",
      "spec.cost.inputPerMillion: must not be negative",
      undefined,
    ],
    [
      "country: DE\ncost: { inputPerMillion: 1, outputPerMillion: 1, currency: ▸euro }",
      "spec.cost.currency: must be an ISO 4217 code such as EUR",
      undefined,
    ],
    ["country: DE\npath: ▸v1", 'spec.path: must be a path that begins with "/"', undefined],
  ])("refuses %s", (line, message, hint) => {
    const problem = one(MODEL, VERSION, UPSTREAM, deployment(line));
    expect(problem).toMatchObject({ message, ...(hint === undefined ? {} : { hint }) });
  });
});
