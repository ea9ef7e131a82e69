import { describe, expect, it } from "vitest";
import { clean, GATEWAY, MODEL, onlyProblem, said, UPSTREAM, yaml } from "../fixtures.ts";

const OTHER = UPSTREAM.replace("name: web", "name: other");
const BASE = GATEWAY + UPSTREAM + OTHER + MODEL;
const WEB = "{ group: chancery.dev, kind: Upstream, name: web }";
const route = (spec: string) => yaml("HTTPRoute", "r", `parentRefs: [{ name: edge }]\n${spec}`);
const rule = (...lines: string[]) => route(`rules:\n  - ${lines.join("\n    ")}`);
const one = (text: string) => said(onlyProblem({ "base.yaml": BASE, "r.yaml": text }));
const read = (text: string) => clean({ "base.yaml": BASE, "r.yaml": text }).inventory.httpRoutes[0];

describe("HTTPRoute", () => {
  it("has the defaults of Gateway API", () => {
    expect(read(rule(`backendRefs: [${WEB}]`))).toEqual({
      key: "r",
      name: "r",
      scope: ".",
      labels: {},
      annotations: {},
      parents: [{ gateway: "edge", listener: "http", hostnames: ["*"] }],
      hostnames: [],
      rules: [
        {
          matches: [{ path: { type: "PathPrefix", value: "/" }, headers: [], queryParams: [] }],
          filters: [],
          backends: [{ kind: "Upstream", upstream: "web", weight: 1, filters: [] }],
          timeouts: {},
        },
      ],
    });
  });

  it("reads everything that a rule can say", () => {
    const text = rule(
      "name: all",
      "matches:",
      "  - path: { type: Exact, value: /a }",
      "    method: POST",
      "    headers: [{ name: X-A, value: b }, { type: RegularExpression, name: X-B, value: '^c+$' }]",
      "    queryParams: [{ name: q, value: '1' }]",
      "  - path: { type: RegularExpression, value: '/v[0-9]+/.*' }",
      "filters:",
      "  - type: RequestHeaderModifier",
      "    requestHeaderModifier: { set: [{ name: X-C, value: d }], remove: [X-D] }",
      "  - type: ResponseHeaderModifier",
      "    responseHeaderModifier: { add: [{ name: X-E, value: f }] }",
      "  - type: URLRewrite",
      "    urlRewrite: { hostname: in.example.com, path: { type: ReplaceFullPath, replaceFullPath: /x } }",
      `backendRefs: [{ group: chancery.dev, kind: Upstream, name: web, weight: 80 }, { group: chancery.dev, kind: Upstream, name: other, weight: 0 }]`,
      "timeouts: { request: 1m, backendRequest: 500ms }",
      "retry: { codes: [503, 500, 503], attempts: 2, backoff: 100ms }",
    );
    expect(read(text)?.rules).toEqual([
      {
        name: "all",
        matches: [
          {
            path: { type: "Exact", value: "/a" },
            method: "POST",
            headers: [
              { type: "Exact", name: "X-A", value: "b" },
              { type: "RegularExpression", name: "X-B", value: "^c+$" },
            ],
            queryParams: [{ type: "Exact", name: "q", value: "1" }],
          },
          { path: { type: "RegularExpression", value: "/v[0-9]+/.*" }, headers: [], queryParams: [] },
        ],
        filters: [
          { type: "RequestHeaderModifier", set: [{ name: "X-C", value: "d" }], add: [], remove: ["X-D"] },
          { type: "ResponseHeaderModifier", set: [], add: [{ name: "X-E", value: "f" }], remove: [] },
          { type: "URLRewrite", hostname: "in.example.com", path: { type: "ReplaceFullPath", value: "/x" } },
        ],
        backends: [
          { kind: "Upstream", upstream: "web", weight: 80, filters: [] },
          { kind: "Upstream", upstream: "other", weight: 0, filters: [] },
        ],
        timeouts: { requestMs: 60_000, backendRequestMs: 500 },
        retry: { codes: [503, 500], attempts: 2, backoffMs: 100 },
      },
    ]);
  });

  it("redirects", () => {
    const text = rule(
      "matches: [{ path: { value: /old } }]",
      "filters:",
      "  - type: RequestRedirect",
      "    requestRedirect: { scheme: https, port: 8443, statusCode: 308, path: { type: ReplacePrefixMatch, replacePrefixMatch: /new } }",
    );
    expect(read(text)?.rules[0]).toMatchObject({
      filters: [
        {
          type: "RequestRedirect",
          scheme: "https",
          port: 8443,
          statusCode: 308,
          path: { type: "ReplacePrefixMatch", value: "/new" },
        },
      ],
      backends: [],
    });
  });

  it.each([
    ["{ value: ▸a }", 'a path begins with "/"'],
    ["{ value: ▸/a//b }", 'a path must not contain "//"'],
    ["{ value: ▸/a/./b }", 'a path must not contain "/./"'],
    ["{ value: ▸/a/../b }", 'a path must not contain "/../"'],
    ["{ value: ▸/a%2fb }", 'a path must not contain "%2f"'],
    ["{ value: ▸/a%2Fb }", 'a path must not contain "%2F"'],
    ["{ value: ▸'/a#b' }", 'a path must not contain "#"'],
    ["{ value: ▸/a/.. }", 'a path must not end with "/." or "/.."'],
    ["{ value: ▸/a/. }", 'a path must not end with "/." or "/.."'],
    ["{ value: ▸'/a?b' }", 'a path must not contain "?"'],
    ["{ value: ▸'/a b' }", "a path has characters of RFC 3986 only"],
    ["{ value: ▸/ä }", "a path has characters of RFC 3986 only"],
    ["{ value: ▸/%zz }", "a path has characters of RFC 3986 only"],
    [
      "{ type: RegularExpression, value: ▸'(' }",
      "not a regular expression of RE2: error parsing regexp: missing closing ): `(`",
    ],
    ["{ type: RegularExpression, value: ▸'a(?=b)' }", "not a regular expression of RE2: "],
    ["{ type: ▸Prefix, value: / }", 'must be one of "Exact", "PathPrefix", "RegularExpression"'],
  ])("refuses the path %s", (path, message) => {
    const problem = one(rule(`matches: [{ path: ${path} }]`, `backendRefs: [${WEB}]`));
    expect(problem.code).toBe("invalid-value");
    expect(problem.message).toContain(message);
  });

  it.each([
    ["{ method: ▸CONNECT }", "unsupported", "method CONNECT is not supported"],
    ["{ method: ▸get }", "invalid-value", "must be one of"],
    [
      "{ headers: [{ name: a, value: x }, { name: ▸A, value: y }] }",
      "conflict",
      'header "A" stands twice in this match',
    ],
    [
      "{ queryParams: [{ name: a, value: x }, { name: ▸a, value: y }] }",
      "conflict",
      'query parameter "a" stands twice',
    ],
    ["{ headers: [{ name: ▸'a b', value: x }] }", "invalid-value", "must be the name of an HTTP header"],
    ["{ headers: [{ name: a, value: ▸'' }] }", "invalid-value", "must not be empty"],
    [
      "{ headers: [{ type: RegularExpression, name: a, value: ▸'[' }] }",
      "invalid-value",
      "not a regular expression of RE2",
    ],
  ])("refuses the match %s", (match, code, message) => {
    const problem = one(rule(`matches: [${match}]`, `backendRefs: [${WEB}]`));
    expect(problem.code).toBe(code);
    expect(problem.message).toContain(message);
  });

  it("names of query parameters differ by case", () => {
    read(rule("matches: [{ queryParams: [{ name: a, value: x }, { name: A, value: y }] }]", `backendRefs: [${WEB}]`));
  });

  it.each(["CORS", "ExtensionRef"])("refuses filter %s with a clear message", (type) => {
    expect(one(rule(`filters: [{ type: ▸${type} }]`, `backendRefs: [${WEB}]`))).toEqual({
      code: "unsupported",
      message: `spec.rules[0].filters[0].type: filter ${type} is not supported yet`.replace(/^[^:]*: /, ""),
      hint: "supported: RequestHeaderModifier, ResponseHeaderModifier, RequestRedirect, URLRewrite, RequestMirror",
    });
  });

  const HEADERS = "requestHeaderModifier: ";
  it.each([
    ["type: ▸Rewrite", "invalid-value", "must be one of"],
    [
      `type: RequestHeaderModifier, ${HEADERS}{ set: [{ name: ▸X-Chancery-Decision, value: x }] }`,
      "unsupported",
      "belong to the gateway",
    ],
    [`type: RequestHeaderModifier, ${HEADERS}{ remove: [▸x-envoy-max-retries] }`, "unsupported", "steer Envoy"],
    [
      `type: RequestHeaderModifier, ${HEADERS}{ set: [{ name: ▸Host, value: x }] }`,
      "unsupported",
      "header host cannot be modified",
    ],
    [
      `type: RequestHeaderModifier, ${HEADERS}{ set: [{ name: ▸":path", value: x }] }`,
      "invalid-value",
      "must be the name of an HTTP header",
    ],
    [
      `type: RequestHeaderModifier, ${HEADERS}{ set: [{ name: a, value: ▸"x\\r\\ny" }] }`,
      "invalid-value",
      "must not contain control characters",
    ],
    [
      `type: RequestHeaderModifier, ${HEADERS}{ set: [{ name: a, value: x }], remove: [▸A] }`,
      "conflict",
      'header "A" stands twice',
    ],
    [`type: RequestHeaderModifier, ▸${HEADERS}{}`, "missing-field", "needs set, add or remove"],
    ["type: URLRewrite, ▸urlRewrite: {}", "missing-field", "a URLRewrite needs hostname or path"],
    ["type: URLRewrite, urlRewrite: { hostname: ▸'*.x.com' }", "invalid-value", "not a host name"],
    [
      "type: URLRewrite, urlRewrite: { path: { type: ReplaceFullPath, replaceFullPath: ▸'/a?b' } }",
      "invalid-value",
      "must be a path",
    ],
    [
      "type: URLRewrite, ▸requestRedirect: {}, urlRewrite: { hostname: a.com }",
      "unknown-field",
      'unknown field "requestRedirect"',
    ],
  ])("refuses the filter %s", (filter, code, message) => {
    const marked = /▸(requestHeaderModifier|urlRewrite)/.test(filter)
      ? filter.replace("▸", "").replace(/(\w+: )\{\}/, "$1▸{}")
      : filter;
    const problem = one(rule(`filters: [{ ${marked} }]`, `backendRefs: [${WEB}]`));
    expect(problem.code).toBe(code);
    expect(problem.message).toContain(message);
  });

  it("rewrites a prefix only where exactly one prefix was matched", () => {
    const rewrite =
      "filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: '' } } }]";
    const marked = rewrite.replace("type: Rep", "type: ▸Rep");
    read(rule("matches: [{ path: { value: /a } }]", rewrite, `backendRefs: [${WEB}]`));
    read(rule(rewrite, `backendRefs: [${WEB}]`));
    for (const matches of [
      "{ path: { type: Exact, value: /a } }",
      "{ path: { value: /a } }, { path: { value: /b } }",
    ]) {
      expect(one(rule(`matches: [${matches}]`, marked, `backendRefs: [${WEB}]`))).toEqual({
        code: "conflict",
        message: "ReplacePrefixMatch needs a rule with exactly one match, of type PathPrefix",
        hint: "make it a rule of its own",
      });
    }
  });

  it("redirects or forwards, not both", () => {
    const redirect = "filters: [{ type: ▸RequestRedirect, requestRedirect: { scheme: https } }";
    expect(one(rule(`${redirect}]`, `backendRefs: [${WEB}]`)).message).toBe(
      "a rule with a RequestRedirect has no backendRefs",
    );
    expect(one(rule(`${redirect}, { type: URLRewrite, urlRewrite: { hostname: a.com } }]`)).message).toBe(
      "a rule has either RequestRedirect or URLRewrite",
    );
    const same = "{ type: ResponseHeaderModifier, responseHeaderModifier: { remove: [a] } }";
    expect(
      one(rule(`filters: [${same}, ${same.replace("type: R", "type: ▸R")}]`, `backendRefs: [${WEB}]`)).message,
    ).toBe("two filters of type ResponseHeaderModifier in one rule");
    expect(one(rule("filters: [{ type: RequestRedirect, requestRedirect: { statusCode: ▸200 } }]")).message).toContain(
      "must be one of 301, 302, 303, 307, 308",
    );
  });

  it.each([
    ["▸{ name: web }", "unsupported", "kind: Service is not supported", "write group: chancery.dev, kind: Upstream"],
    [
      "{ kind: ▸Bucket, name: web }",
      "unsupported",
      "a backend is an Upstream or a Model",
      "write group: chancery.dev, kind: Upstream",
    ],
    [
      "▸{ kind: Model, name: atlas }",
      "unsupported",
      "kind Model is of group chancery.dev",
      "write group: chancery.dev, kind: Model",
    ],
    [
      "{ group: chancery.dev, kind: Upstream, name: web, ▸port: 80 }",
      "unsupported",
      "port is not supported for kind Upstream",
      "the endpoints of an Upstream say the port: leave it out",
    ],
    [
      "{ group: chancery.dev, kind: Upstream, name: web, ▸filters: [] }",
      "unsupported",
      "filters of one backendRef is not supported yet",
      "write the filters on the rule",
    ],
    [
      "{ group: chancery.dev, kind: Upstream, name: web, weight: ▸-1 }",
      "invalid-value",
      "spec.rules[0].backendRefs[0].weight: must lie between 0 and 1000000",
      undefined,
    ],
    [
      "{ group: chancery.dev, kind: Upstream, name: ▸wep }",
      "dangling-reference",
      'there is no Upstream "wep" in scope "."',
      'did you mean "web"?',
    ],
  ])("refuses the backend %s", (backend, code, message, hint) => {
    expect(one(rule(`backendRefs:\n      - ${backend}`))).toEqual({
      code,
      message,
      ...(hint === undefined ? {} : { hint }),
    });
  });

  it("has backends of one kind, each once, one of them with a weight", () => {
    const atlas = "{ group: chancery.dev, kind: Model, name: atlas }";
    expect(one(rule(`backendRefs: ▸[${WEB}, ${atlas}]`)).message).toBe("a rule has either Upstreams or Models");
    expect(one(rule(`backendRefs: [${WEB}, ${WEB.replace("name: ", "name: ▸")}]`)).message).toBe(
      'Upstream "web" stands twice in this rule',
    );
    expect(one(rule(`backendRefs: ▸[${WEB.replace(" }", ", weight: 0 }")}]`)).message).toBe(
      "every backend of this rule has weight 0",
    );
    expect(one(route("rules:\n  - ▸matches: [{ path: { value: /x } }]")).message).toBe("a rule needs backendRefs");
  });

  it("asks for models of one rule in one place of a request", () => {
    const byHeader = yaml("Model", "h", "source: { type: header, header: X-Model }");
    const byRoute = yaml("Model", "x", "source: { type: route }");
    const refs = (...names: string[]) =>
      `backendRefs: ▸[${names.map((name) => `{ group: chancery.dev, kind: Model, name: ${name} }`).join(", ")}]`;
    expect(one(byHeader + rule(refs("atlas", "h"))).message).toBe(
      "the Models of a rule must have the same source; atlas and h differ",
    );
    expect(one(byRoute + rule(refs("x", "atlas"))).message).toBe(
      'Model "x" has source type route, which needs a rule for it alone',
    );
    read(byRoute + rule(refs("x").replace("▸", "")));
  });

  it("has names of rules once, timeouts in order, and so many matches", () => {
    const named = `{ name: a, backendRefs: [${WEB}] }`;
    expect(one(route(`rules: [${named}, ${named.replace("a,", "▸a,")}]`)).message).toBe('two rules are named "a"');
    expect(one(rule("timeouts: { request: 1s, backendRequest: ▸2s }", `backendRefs: [${WEB}]`)).message).toBe(
      "backendRequest must not be longer than request",
    );
    read(rule("timeouts: { request: 0s, backendRequest: 2s }", `backendRefs: [${WEB}]`));
    expect(one(rule("timeouts: { request: ▸1.5s }", `backendRefs: [${WEB}]`))).toEqual({
      code: "invalid-value",
      message: "spec.rules[0].timeouts.request: not a duration",
      hint: 'whole numbers with units h, m, s, ms: "250ms", "20s", "1h30m"',
    });
    expect(one(rule("▸sessionPersistence: {}", `backendRefs: [${WEB}]`)).message).toBe(
      "sessionPersistence is not supported",
    );
    const nine = Array.from({ length: 9 }, (_, index) => `{ path: { value: /${index} } }`).join(", ");
    expect(one(rule(`matches: ▸[${nine}]`, `backendRefs: [${WEB}]`)).message).toContain("at most 8 entries");
    expect(one(rule(`backendRefs: [${WEB}]`, "retry: { codes: [▸200] }")).message).toContain(
      "must lie between 400 and 599",
    );
    expect(one(route("rules: ▸[]")).message).toContain("at least 1 entry");
  });
});
