import { describe, expect, it } from "vitest";
import { APPLICATION, clean, GATEWAY, MODEL, onlyProblem, said, UPSTREAM, unmark, yaml } from "./fixtures.ts";
import { parseResources } from "./load.ts";

const one = (text: string, file = "a.yaml") => said(onlyProblem({ [file]: text }));

describe("the frame of an object", () => {
  it("says which kinds there are, and which one was meant", () => {
    expect(one("apiVersion: chancery.dev/v1\nkind: ▸Upstraem\n")).toEqual({
      code: "unknown-kind",
      message: 'unknown kind "Upstraem"',
      hint: 'did you mean "Upstream"?',
    });
    expect(one("apiVersion: x/v1\nkind: ▸Zebra\n").hint).toMatch(/^known kinds: Gateway, HTTPRoute, /);
  });

  it("knows kinds of elsewhere, and what to write instead", () => {
    expect(one("apiVersion: v1\nkind: ▸Service\nmetadata: {name: x}\n")).toEqual({
      code: "unsupported",
      message: "kind Service is not supported",
      hint: "write an Upstream (chancery.dev/v1) with the endpoints",
    });
    expect(one("apiVersion: gateway.networking.k8s.io/v1\nkind: ▸GRPCRoute\n").hint).toMatch(/^not yet/);
  });

  it("wants the apiVersion of the kind", () => {
    expect(one("apiVersion: ▸v1\nkind: Upstream\n")).toEqual({
      code: "unknown-kind",
      message: 'there is no Upstream in "v1"',
      hint: "write apiVersion: chancery.dev/v1",
    });
    expect(one("▸kind: Gateway\n")).toEqual({
      code: "missing-field",
      message: '"apiVersion" is missing',
      hint: "write apiVersion: gateway.networking.k8s.io/v1",
    });
    expect(one("▸apiVersion: v1\n")).toEqual({ code: "missing-field", message: '"kind" is missing' });
    expect(one("apiVersion: v1\nkind: ▸7\n")).toEqual({ code: "invalid-value", message: "must be a string" });
    expect(one("apiVersion: ▸1\nkind: Model\n")).toEqual({ code: "invalid-value", message: "must be a string" });
  });

  it("refuses a Secret of Kubernetes without repeating what is in it", () => {
    expect(one("apiVersion: ▸v1\nkind: Secret\nmetadata: {name: x}\ndata: {tls.key: c2VjcmV0}\n")).toEqual({
      code: "inline-secret",
      message: "a Secret of Kubernetes carries its material in the YAML",
      hint: "write apiVersion: chancery.dev/v1, kind: Secret, with the paths of files that hold the material",
    });
  });

  it("wants objects, not lists or text", () => {
    const problem = {
      code: "not-an-object",
      message: "this document is not an object",
      hint: "write apiVersion, kind, metadata and spec",
    };
    expect(one("▸- a\n- b\n")).toEqual(problem);
    expect(one("▸hello\n")).toEqual(problem);
  });

  it("reports YAML that is not well-formed", () => {
    expect(one(`${MODEL}---\na:\n▸\tb: 1\n`)).toEqual({
      code: "yaml-syntax",
      message: "Tabs are not allowed as indentation",
      hint: "indent with spaces",
    });
  });

  it("takes a List", () => {
    const item = MODEL.replace("---\n", "").trim().replaceAll("\n", "\n    ");
    const { inventory, positions } = clean({ "a.yaml": `apiVersion: v1\nkind: List\nitems:\n  - ${item}\n` });
    expect(inventory.models.map(({ key }) => key)).toEqual(["atlas"]);
    expect(positions.locate("Model", "atlas", ["metadata", "name"])).toEqual({ file: "a.yaml", line: 7, column: 13 });
    expect(one("apiVersion: v1\nkind: List\n▸extra: 1\nitems: []\n").code).toBe("unknown-field");
    expect(one("apiVersion: v1\nkind: List\nitems: ▸5\n").message).toBe("a List has a list of items");
    expect(one("apiVersion: ▸v2\nkind: List\nitems: []\n").hint).toBe("write apiVersion: v1");
    expect(one("apiVersion: v1\nkind: List\nitems:\n  - kind: ▸List\n").message).toMatch(/List inside a List/);
    expect(one("apiVersion: v1\nkind: List\nitems:\n  - apiVersion: v1\n    kind: ▸Pod\n").code).toBe("unknown-kind");
  });
});

describe("fields", () => {
  it("are known, or the nearest one is named", () => {
    expect(one(yaml("Upstream", "web", "endpoints:\n  - { address: 10.0.0.1, port: 80, ▸wieght: 2 }"))).toEqual({
      code: "unknown-field",
      message: 'unknown field "wieght"',
      hint: 'did you mean "weight"?',
    });
    expect(one(MODEL.replace("metadata:", "▸extra: 1\nmetadata:")).hint).toBe(
      "known here: apiVersion, kind, metadata, spec",
    );
  });

  it("are each reported, all at once", () => {
    const text = yaml(
      "Upstream",
      "web",
      "▸zzz: 1\nendpoints:\n  - { address: 10.0.0.1, port: ▸80000 }\nprotocol: ▸spdy",
    );
    const { files, marks } = unmark({ "a.yaml": text });
    const { problems } = parseResources(files);
    expect(problems.map(({ at }) => at)).toEqual(marks);
    expect(problems.map(said)).toEqual([
      {
        code: "unknown-field",
        message: 'unknown field "zzz"',
        hint: "known here: endpoints, ranges, dns, protocol, tls, credential, governed, loadBalancer, connectTimeout, healthCheck, outlierDetection, circuitBreakers",
      },
      { code: "invalid-value", message: "spec.endpoints[0].port: a port lies between 1 and 65535" },
      { code: "invalid-value", message: 'spec.protocol: must be one of "http1", "http2"' },
    ]);
  });

  it("that are missing are reported at what they are missing from", () => {
    expect(one(yaml("Upstream", "web", "endpoints:\n  - ▸{ address: 10.0.0.1 }"))).toEqual({
      code: "missing-field",
      message: '"port" is missing',
    });
    expect(one("▸apiVersion: chancery.dev/v1\nkind: Model\nspec: {}\n").message).toBe('"metadata" is missing');
    expect(one("apiVersion: chancery.dev/v1\nkind: Upstream\nmetadata: {name: x}\n▸spec: {}\n").message).toBe(
      '"endpoints" is missing',
    );
    expect(one("apiVersion: chancery.dev/v1\nkind: Upstream\nmetadata: {name: x}\n▸spec:\n")).toEqual({
      code: "invalid-value",
      message: "spec: must be a mapping, not empty",
    });
  });

  it("have types, with a hint where quotes are the matter", () => {
    expect(one(yaml("Upstream", "web", 'endpoints:\n  - { address: 10.0.0.1, port: ▸"80" }'))).toEqual({
      code: "invalid-value",
      message: "spec.endpoints[0].port: must be a number, not a string",
      hint: "write it without quotes",
    });
    expect(one(yaml("Upstream", "web", "endpoints:\n  - { address: 10.0.0.1, port: ▸80.5 }")).message).toBe(
      "spec.endpoints[0].port: must be a whole number",
    );
    expect(one(yaml("Approval", "x", "version: ▸1\napplication: a\napprovers: [alice]"))).toEqual({
      code: "invalid-value",
      message: "spec.version: must be a string or a mapping, not a number",
      hint: "write it in quotes",
    });
    expect(one(MODEL.replace("required", "▸true")).message).toBe(
      'spec.approval: must be one of "required", "notRequired"',
    );
    expect(one(yaml("Upstream", "web", "endpoints: ▸{ address: 10.0.0.1, port: 80 }"))).toEqual({
      code: "invalid-value",
      message: "spec.endpoints: must be a list, not a mapping",
      hint: 'a list: each entry begins with "- "',
    });
  });

  it("that are enumerations suggest the nearest value", () => {
    expect(one(MODEL.replace("required", "▸requierd")).hint).toBe('did you mean "required"?');
  });

  it("of the prototype are fields like any other", () => {
    expect(one(MODEL.replace("metadata:", "▸constructor: {}\nmetadata:")).message).toBe('unknown field "constructor"');
    const labelled = MODEL.replace("  name: atlas", "  name: atlas\n  labels: {constructor: a, toString: b}");
    const [model] = clean({ "a.yaml": labelled }).inventory.models;
    expect(Object.entries(model?.labels ?? {})).toEqual([
      ["constructor", "a"],
      ["toString", "b"],
    ]);
  });
});

describe("metadata", () => {
  it.each(["Atlas", "-a", "a_b", "a..b", `${"a".repeat(64)}`, ""])("refuses the name %j", (name) => {
    expect(one(MODEL.replace("name: atlas", `name: ▸"${name}"`))).toMatchObject({
      code: "invalid-value",
      message: "metadata.name: not a valid name",
    });
  });

  it("has the directory as its namespace, or none", () => {
    clean({ "team/app/a.yaml": MODEL.replace("name: atlas", "name: atlas\n  namespace: team/app") });
    clean({ "a.yaml": MODEL.replace("name: atlas", "name: atlas\n  namespace: .") });
    expect(one(MODEL.replace("name: atlas", "name: atlas\n  namespace: ▸prod"), "team/a.yaml")).toEqual({
      code: "wrong-namespace",
      message: 'namespace is "prod", but this file lies in scope "team"',
      hint: "write namespace: team, or leave it out",
    });
  });

  it("knows our annotations and lets pass those of others", () => {
    const annotated = (text: string, annotation: string) =>
      text.replace(/ {2}name: .*/, (line) => `${line}\n  annotations: {${annotation}}`);
    clean({ "a.yaml": annotated(MODEL, 'kubectl.kubernetes.io/last-applied-configuration: "{}"') });
    const [gateway] = clean({ "a.yaml": annotated(GATEWAY, "chancery.dev/mode: observe") }).inventory.gateways;
    expect(gateway?.mode).toBe("observe");
    expect(one(annotated(GATEWAY, "chancery.dev/mode: ▸sometimes"))).toEqual({
      code: "invalid-value",
      message: 'chancery.dev/mode must be "enforce" or "observe"',
    });
    expect(one(annotated(MODEL, "chancery.dev/mode: ▸observe"))).toEqual({
      code: "unknown-field",
      message: 'unknown annotation "chancery.dev/mode"',
      hint: "known here: chancery.dev/accepted-findings",
    });
  });

  it("may carry what a cluster wrote into Gateway API objects, and only there", () => {
    const exported = (text: string) =>
      `${text.replace("---\n", "").replace("metadata:", "metadata:\n  creationTimestamp: null\n  uid: x\n  generation: 3")}status: {conditions: []}\n`;
    clean({ "a.yaml": exported(GATEWAY) });
    const { problems } = parseResources(new Map([["a.yaml", exported(MODEL)]]));
    expect(problems.map(({ message }) => message)).toEqual([
      'unknown field "creationTimestamp"',
      'unknown field "uid"',
      'unknown field "generation"',
      'unknown field "status"',
    ]);
  });

  it("refuses generateName", () => {
    expect(one(MODEL.replace("name: atlas", "name: atlas\n  ▸generateName: a-"))).toEqual({
      code: "unsupported",
      message: "generateName is not supported",
      hint: "write a name",
    });
  });
});

describe("a tree", () => {
  it("names both places of a duplicate", () => {
    const problem = onlyProblem({ "a.yaml": UPSTREAM, "b.yaml": UPSTREAM.replace("name: web", "name: ▸web") });
    expect(said(problem)).toEqual({
      code: "duplicate-object",
      message: 'Upstream "web" is also at a.yaml:4',
      hint: "rename or remove one of them",
    });
    clean({ "a.yaml": UPSTREAM, "b/b.yaml": UPSTREAM, "c.yaml": MODEL.replace("name: atlas", "name: web") });
  });

  it("has directories that can be scopes", () => {
    expect(one(`▸${MODEL}`, "my team/a.yaml")).toEqual({
      code: "invalid-scope",
      message: '"my team" cannot be a scope',
      hint: "directories are named with letters, digits, -, _ and ., 63 characters at most",
    });
  });

  it("gives the same inventory however its files are cut and ordered", () => {
    const objects = [GATEWAY, UPSTREAM, MODEL, APPLICATION];
    const whole = clean({ "a.yaml": objects.join("") }).inventory;
    const cut = clean(Object.fromEntries(objects.map((text, index) => [`${9 - index}.yml`, text]))).inventory;
    expect(cut).toEqual(whole);
  });

  it("of 2,000 files is read whole", () => {
    const files = new Map<string, string>();
    for (let index = 0; index < 1_000; index++) {
      const scope = `team-${index % 40}/app-${index % 200}`;
      files.set(
        `${scope}/upstream-${index}.yaml`,
        yaml("Upstream", `u${index}`, "endpoints:\n  - { address: 10.0.0.1, port: 80 }"),
      );
      const rules = "rules:\n  - { id: a, effect: allow, when: request.method == 'GET' }";
      files.set(`${scope}/policy-${index}.yaml`, yaml("Policy", `p${index}`, rules));
    }
    const { inventory, problems } = parseResources(files);
    expect(problems).toEqual([]);
    expect([inventory.upstreams.length, inventory.policies.length]).toEqual([1_000, 1_000]);
    expect(new Set(inventory.policies.map(({ scope }) => scope)).size).toBe(200);
  });
});
