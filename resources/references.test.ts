import { describe, expect, it } from "vitest";
import { clean, GATEWAY, MODEL, onlyProblem, said, UPSTREAM, VERSION, yaml } from "./fixtures.ts";

const deployment = (version: string) =>
  yaml("Deployment", "d", `version: ${version}\nupstream: web\nregion: eu\ncountry: DE`);
const route = (spec: string) =>
  yaml("HTTPRoute", "r", `${spec}\nrules: [{ backendRefs: [{ group: chancery.dev, kind: Upstream, name: web }] }]`);

describe("governance references", () => {
  it("find the nearest scope upwards", () => {
    const { inventory, dependencies } = clean({
      "a.yaml": MODEL + VERSION + UPSTREAM,
      "team/a.yaml": MODEL + VERSION.replace("version: v2", "version: v3"),
      "team/app/a.yaml": deployment("atlas-v2"),
    });
    expect(inventory.deployments[0]).toMatchObject({ version: "team/atlas-v2", upstream: "web", wireName: "v3" });
    expect(inventory.modelVersions.map(({ key, model }) => [key, model])).toEqual([
      ["atlas-v2", "atlas"],
      ["team/atlas-v2", "team/atlas"],
    ]);
    expect([...(dependencies.get("team/app") ?? [])]).toEqual(["team", "."]);
  });

  it("go where they are told to", () => {
    const { inventory } = clean({
      "a/a.yaml": MODEL + VERSION,
      "b/b.yaml": UPSTREAM + deployment("{ name: atlas-v2, namespace: a }"),
    });
    expect(inventory.deployments[0]?.version).toBe("a/atlas-v2");
  });

  it("do not look sideways or down, and say where one is", () => {
    const problem = onlyProblem({ "a/a.yaml": MODEL + VERSION, "b/b.yaml": UPSTREAM + deployment("▸atlas-v2") });
    expect(said(problem)).toEqual({
      code: "dangling-reference",
      message: 'there is no ModelVersion "atlas-v2" in scope "b" or above it',
      hint: 'there is one in scope "a": write {name: atlas-v2, namespace: a}',
    });
    expect(problem.scope).toBe("b");
  });

  it("suggest what is in reach", () => {
    const text = MODEL + VERSION + UPSTREAM;
    expect(said(onlyProblem({ "a.yaml": text + deployment("▸atlsa-v2") })).hint).toBe('did you mean "atlas-v2"?');
    expect(said(onlyProblem({ "a.yaml": text + deployment("▸zzz") })).hint).toBe("within reach: atlas-v2");
    expect(said(onlyProblem({ "a.yaml": text + deployment("▸{ name: atlas-v2, namespace: x }") })).message).toBe(
      'there is no ModelVersion "atlas-v2" in scope "x"',
    );
    expect(said(onlyProblem({ "a.yaml": text + deployment("{ name: a, ▸kind: ModelVersion }") })).code).toBe(
      "unsupported",
    );
  });

  it("are not dangling when what they name is there but wrong", () => {
    const wrong = VERSION.replace("maturity: production", "maturity: ▸ready");
    expect(onlyProblem({ "a.yaml": MODEL + UPSTREAM + wrong, "b.yaml": deployment("atlas-v2") }).code).toBe(
      "invalid-value",
    );
  });
});

describe("routes attach to listeners", () => {
  const gateway = (...listeners: string[]) => yaml("Gateway", "edge", `listeners: [${listeners.join(", ")}]`);
  const all = "allowedRoutes: { namespaces: { from: All } }";
  const parents = (texts: Record<string, string>) => clean(texts).inventory.httpRoutes[0]?.parents;

  it("of a name, a port, or all that fit", () => {
    const edge = gateway(
      "{ name: a, port: 80, protocol: HTTP }",
      "{ name: b, port: 81, protocol: HTTP, hostname: '*.example.com' }",
      "{ name: c, port: 82, protocol: HTTP, hostname: other.org }",
    );
    const attached = (spec: string) => parents({ "a.yaml": edge + UPSTREAM + route(spec) });
    expect(attached("parentRefs: [{ name: edge }]\nhostnames: [www.example.com]")).toEqual([
      { gateway: "edge", listener: "a", hostnames: ["www.example.com"] },
      { gateway: "edge", listener: "b", hostnames: ["www.example.com"] },
    ]);
    expect(attached("parentRefs: [{ name: edge, sectionName: c }, { name: edge, port: 81 }]")).toEqual([
      { gateway: "edge", listener: "c", hostnames: ["other.org"] },
      { gateway: "edge", listener: "b", hostnames: ["*.example.com"] },
    ]);
  });

  it("of another scope where they admit it", () => {
    const at = (listener: string) => ({
      "a.yaml": gateway(listener),
      "team/a.yaml": UPSTREAM + route("parentRefs: [{ name: ▸edge, namespace: . }]"),
    });
    const open = at(`{ name: a, port: 80, protocol: HTTP, ${all} }`);
    expect(parents({ ...open, "team/a.yaml": open["team/a.yaml"].replace("▸", "") })).toEqual([
      { gateway: "edge", listener: "a", hostnames: ["*"] },
    ]);
    expect(said(onlyProblem(at("{ name: a, port: 80, protocol: HTTP }")))).toEqual({
      code: "not-allowed",
      message: 'no listener of Gateway "edge" admits HTTPRoutes of scope "team"',
      hint: "on a listener of a.yaml, write allowedRoutes: {namespaces: {from: All}}",
    });
    expect(
      said(
        onlyProblem(
          at(
            "{ name: a, port: 80, protocol: HTTP, allowedRoutes: { namespaces: { from: All }, kinds: [{ kind: GRPCRoute }] } }",
          ),
        ),
      ).hint,
    ).toBe("on a listener of a.yaml, add kind HTTPRoute to allowedRoutes.kinds");
  });

  it.each([
    [
      "parentRefs: [{ name: ▸egde }]",
      "dangling-reference",
      'there is no Gateway "egde" in scope "."',
      'did you mean "edge"?',
    ],
    [
      "parentRefs: [{ name: edge, sectionName: ▸https }]",
      "dangling-reference",
      'Gateway "edge" has no listener "https"',
      "listeners: http",
    ],
    [
      "parentRefs: [{ name: edge, port: ▸81 }]",
      "dangling-reference",
      'Gateway "edge" has no such listener on port 81',
      "ports: 10000",
    ],
    [
      "parentRefs: [{ kind: ▸Service, name: edge }]",
      "unsupported",
      "a route attaches to a Gateway only",
      "write kind: Gateway",
    ],
    ["parentRefs: ▸[]", "invalid-value", "spec.parentRefs: at least 1 entry", undefined],
    [
      "parentRefs: [{ name: edge }]\nhostnames: [▸10.0.0.1]",
      "invalid-value",
      "spec.hostnames[0]: an IP address is not a host name",
      undefined,
    ],
  ])("refuses %s", (spec, code, message, hint) => {
    const problem = said(onlyProblem({ "a.yaml": GATEWAY + UPSTREAM + route(spec) }));
    expect(problem).toEqual({ code, message, ...(hint === undefined ? {} : { hint }) });
  });

  it("says where the Gateway is", () => {
    const text = UPSTREAM + route("parentRefs: [{ name: ▸edge }]");
    expect(said(onlyProblem({ "a.yaml": GATEWAY, "team/a.yaml": text })).hint).toBe(
      'there is one in scope ".": write namespace: ., and let its listeners admit this scope (allowedRoutes.namespaces.from: All)',
    );
  });

  it("shares a host name with one", () => {
    const edge = gateway("{ name: a, port: 80, protocol: HTTP, hostname: '*.example.com' }");
    const text = UPSTREAM + route("parentRefs: [{ name: edge }]\nhostnames: ▸[example.com, a.example.org]");
    expect(said(onlyProblem({ "a.yaml": edge + text }))).toEqual({
      code: "not-allowed",
      message: 'no host name of this route is one of Gateway "edge"',
      hint: "host names of its listeners: *.example.com",
    });
  });

  it("reaches a backend of another scope where that grants it", () => {
    const cross =
      GATEWAY +
      yaml(
        "HTTPRoute",
        "r",
        "parentRefs: [{ name: edge }]\nrules: [{ backendRefs: [{ group: chancery.dev, kind: Upstream, name: ▸web, namespace: shared }] }]",
      );
    const grant = yaml(
      "ReferenceGrant",
      "g",
      "from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: . }]\nto: [{ group: chancery.dev, kind: Upstream }]",
    );
    const old = grant.replace("k8s.io/v1", "k8s.io/v1beta1");
    for (const text of [grant, old]) {
      const { inventory } = clean({ "a.yaml": cross.replace("▸", ""), "shared/a.yaml": UPSTREAM + text });
      expect(inventory.httpRoutes[0]?.rules[0]?.backends[0]).toMatchObject({ upstream: "shared/web" });
    }
    expect(said(onlyProblem({ "a.yaml": cross, "shared/a.yaml": UPSTREAM })).code).toBe("not-granted");
    const wrong = grant.replace("kind: Upstream", "kind: ▸Service");
    expect(said(onlyProblem({ "shared/a.yaml": wrong })).message).toContain(
      'must be one of "Upstream", "Model", "Secret"',
    );
  });
});
