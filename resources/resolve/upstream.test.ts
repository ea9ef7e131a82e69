import { describe, expect, it } from "vitest";
import { clean, onlyProblem, said, UPSTREAM, yaml } from "../fixtures.ts";

const SECRETS =
  yaml("Secret", "ca", "type: ca\ncertificateFile: ca.pem") +
  yaml("Secret", "cert", "type: tls\ncertificateFile: a.pem\nprivateKeyFile: a.key") +
  yaml("Secret", "key", "type: opaque\nvalueFile: key.txt");
const NAMED = "endpoints: [{ address: api.example.com, port: 443 }]";
const BY_IP = "endpoints: [{ address: 10.0.0.1, port: 443 }]";
const upstream = (...lines: string[]) => SECRETS + yaml("Upstream", "web", lines.join("\n"));
const one = (...lines: string[]) => said(onlyProblem({ "a.yaml": upstream(...lines) }));
const read = (...lines: string[]) => clean({ "a.yaml": upstream(...lines) }).inventory.upstreams[0];

describe("Upstream", () => {
  it("has defaults", () => {
    expect(clean({ "a.yaml": UPSTREAM }).inventory.upstreams[0]).toEqual({
      key: "web",
      name: "web",
      scope: ".",
      labels: {},
      annotations: {},
      endpoints: [{ address: "10.0.0.1", port: 8080, weight: 1, priority: 0 }],
      protocol: "http1",
      credential: { mode: "none" },
      loadBalancer: "roundRobin",
      connectTimeoutMs: 1_000,
      circuitBreakers: { maxConnections: 1_024, maxPendingRequests: 1_024, maxRequests: 1_024 },
    });
  });

  it("reads everything that it can say", () => {
    expect(
      read(
        "endpoints:",
        "  - { address: 10.0.0.1, port: 80, weight: 3, region: eu, zone: eu-1a, hostname: a.example.com }",
        "  - { address: '2001:db8::1', port: 80, priority: 1, hostname: b.example.com }",
        "protocol: http2",
        "tls: { ca: ca, clientCertificate: { name: cert, namespace: . } }",
        "credential: { mode: inject, secret: key, header: X-Api-Key }",
        "loadBalancer: leastRequest",
        "connectTimeout: 250ms",
        "healthCheck: { path: /healthz, interval: 2s, timeout: 2s }",
        "outlierDetection: { consecutiveErrors: 3, baseEjection: 1m }",
        "circuitBreakers: { maxRequests: 7 }",
      ),
    ).toMatchObject({
      endpoints: [
        {
          address: "10.0.0.1",
          port: 80,
          weight: 3,
          priority: 0,
          region: "eu",
          zone: "eu-1a",
          hostname: "a.example.com",
        },
        { address: "2001:db8::1", port: 80, weight: 1, priority: 1, hostname: "b.example.com" },
      ],
      protocol: "http2",
      tls: { subjectAltNames: ["a.example.com", "b.example.com"], ca: "ca", clientCertificate: "cert" },
      credential: { mode: "inject", secret: "key", header: "x-api-key", prefix: "" },
      loadBalancer: "leastRequest",
      connectTimeoutMs: 250,
      healthCheck: {
        path: "/healthz",
        intervalMs: 2_000,
        timeoutMs: 2_000,
        unhealthyThreshold: 3,
        healthyThreshold: 1,
      },
      outlierDetection: { consecutiveErrors: 3, intervalMs: 10_000, baseEjectionMs: 60_000, maxEjectionPercent: 50 },
      circuitBreakers: { maxConnections: 1_024, maxPendingRequests: 1_024, maxRequests: 7 },
    });
  });

  it("writes Bearer before a credential in authorization unless told otherwise", () => {
    expect(read(BY_IP, "credential: { mode: inject, secret: key }")?.credential).toMatchObject({
      header: "authorization",
      prefix: "Bearer ",
    });
    expect(read(BY_IP, "credential: { mode: inject, secret: key, prefix: '' }")?.credential).toMatchObject({
      prefix: "",
    });
    expect(read(BY_IP, "credential: { mode: passThrough }")?.credential).toEqual({ mode: "passThrough" });
  });

  it.each([
    ["{ address: ▸'bad host', port: 80 }", "invalid-value", "must be an IP address or a DNS name"],
    ["{ address: ▸'10.0.0.1:80', port: 80 }", "invalid-value", "must be an IP address or a DNS name"],
    ["{ address: ▸10.0.0.256, port: 80 }", "invalid-value", "must be an IP address or a DNS name"],
    ["{ address: 10.0.0.1, port: ▸70000 }", "invalid-value", "a port lies between 1 and 65535"],
    ["{ address: 10.0.0.1, port: 80, weight: ▸0 }", "invalid-value", "an endpoint of weight 0 would get no traffic"],
    ["{ address: 10.0.0.1, port: 80, weight: ▸1000001 }", "invalid-value", "must lie between 0 and 1000000"],
    [
      "{ address: 10.0.0.1, port: 80, priority: ▸1 }",
      "conflict",
      "priority 1 is used, but not every priority before it",
    ],
    [
      "{ address: 10.0.0.1, port: 80 }, { address: ▸10.0.0.1, port: 80 }",
      "conflict",
      "the same address, port and priority as endpoint 1",
    ],
    [
      "{ address: 10.0.0.1, port: 80 }, { address: 10.0.0.2, port: 80, priority: ▸2 }",
      "conflict",
      "priority 2 is used",
    ],
  ])("refuses endpoints %s", (endpoints, code, message) => {
    const problem = one(`endpoints: [${endpoints}]`);
    expect(problem.code).toBe(code);
    expect(problem.message).toContain(message);
  });

  it("may have the same endpoint in two priorities, and 10,000 endpoints", () => {
    read("endpoints: [{ address: a.example.com, port: 80 }, { address: a.example.com, port: 80, priority: 1 }]");
    const many = Array.from(
      { length: 10_001 },
      (_, index) => `{address: 10.${index >> 16}.${(index >> 8) & 255}.${index & 255}, port: 80}`,
    );
    expect(read(`endpoints: [${many.slice(1).join(", ")}]`)?.endpoints).toHaveLength(10_000);
    expect(one(`endpoints: ▸[${many.join(", ")}]`).message).toContain("at most 10000 entries");
  });

  it("knows which name a certificate must carry", () => {
    expect(read(NAMED, "tls: {}")?.tls).toEqual({ subjectAltNames: ["api.example.com"] });
    expect(read(BY_IP, "tls: { sni: x.example.com }")?.tls).toEqual({
      sni: "x.example.com",
      subjectAltNames: ["x.example.com"],
    });
    expect(read(BY_IP, "tls: { subjectAltNames: [y.example.com] }")?.tls).toEqual({
      subjectAltNames: ["y.example.com"],
    });
    expect(one(BY_IP, "▸tls: {}")).toEqual({
      code: "missing-field",
      message: "nothing says which name the certificate must carry",
      hint: "write tls.sni or tls.subjectAltNames",
    });
    expect(
      one("endpoints: [{ address: a.example.com, port: 443 }, { address: 10.0.0.1, port: 443 }]", "▸tls: {}").code,
    ).toBe("missing-field");
    expect(one(NAMED, "tls: { subjectAltNames: [▸'*.example.com'] }").message).toBe(
      "must be a DNS name without wildcard",
    );
  });

  it.each([
    ["tls: { ca: ▸cert }", 'Secret "cert" is of type tls', "here it must be of type ca"],
    ["tls: { clientCertificate: ▸key }", 'Secret "key" is of type opaque', "here it must be of type tls"],
    ["credential: { mode: inject, secret: ▸ca }", 'Secret "ca" is of type ca', "here it must be of type opaque"],
  ])("refuses the wrong kind of secret in %s", (line, message, hint) => {
    expect(one(NAMED, line)).toEqual({ code: "conflict", message, hint });
  });

  it.each([
    ["credential: { mode: ▸pass }", 'spec.credential.mode: must be one of "none", "passThrough", "inject"'],
    ["credential: ▸passThrough", "spec.credential: must be a mapping, not a string"],
    ["credential: { mode: inject, secret: key, header: ▸host }", "a credential cannot be written to header host"],
    [
      "credential: { mode: inject, secret: key, header: ▸x-envoy-retry-on }",
      "a credential cannot be written to header x-envoy-retry-on",
    ],
    ["healthCheck: { path: /, interval: 1s, timeout: ▸2s }", "timeout must not be longer than interval"],
    ["healthCheck: { path: ▸x }", 'spec.healthCheck.path: must be a path that begins with "/"'],
    ["connectTimeout: ▸5", "spec.connectTimeout: must be a string, not a number"],
    ["connectTimeout: ▸1ms", "spec.connectTimeout: must lie between 10ms and 1m"],
  ])("refuses %s", (line, message) => {
    expect(one(BY_IP, line).message).toBe(message);
  });

  it("is governed unless it says otherwise, and then has nothing that clients without Envoy may not see", () => {
    expect(read(BY_IP, "governed: true")).not.toHaveProperty("governed");
    expect(read(BY_IP, "governed: false", "credential: { mode: passThrough }")?.governed).toBe(false);
    const refused = (...lines: string[]) => one("governed: false", ...lines).message;
    const start = "an upstream that is not governed cannot have";
    expect(refused(BY_IP, "tls: ▸{ sni: a.example.com }")).toBe(`${start} TLS settings`);
    expect(refused(BY_IP, "credential: { mode: ▸inject, secret: key }")).toBe(`${start} an injected credential`);
    expect(refused(NAMED.replace("api.", "▸api."))).toBe(`${start} endpoints by name`);
  });

  it("says where a feed may put endpoints, unless Envoy resolves them", () => {
    expect(read(BY_IP, "ranges: [10.0.0.0/8, '2001:db8::/32']")?.ranges).toEqual(["10.0.0.0/8", "2001:db8::/32"]);
    for (const range of ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "'2001:db8::/129'", "example.com/8"]) {
      expect(one(BY_IP, `ranges: [▸${range}]`).message).toContain("must be an address range");
    }
    expect(one(NAMED.replace("api.", "▸api."), "ranges: [10.0.0.0/8]").message).toBe(
      "a feed sets addresses, and this endpoint is resolved by Envoy",
    );
  });

  it("says by which names endpoints are found, within ranges", () => {
    const lookups = "dns: [{ type: A, name: shop.internal, port: 80 }, { type: SRV, name: _http._tcp.shop, zone: a }]";
    expect(read(BY_IP, "ranges: [10.0.0.0/8]", lookups)?.dns).toEqual([
      { type: "A", name: "shop.internal", port: 80, weight: 1, priority: 0 },
      { type: "SRV", name: "_http._tcp.shop", zone: "a" },
    ]);
    expect(one(BY_IP, lookups.replace("[", "▸[")).message).toContain("may be anywhere");
    for (const name of ["10.0.0.1.", "Shop.internal", "a..b", "-a", "'*.b'", `${"a.".repeat(127)}a`])
      expect(one(BY_IP, "ranges: [10.0.0.0/8]", `dns: [{ type: A, name: ▸${name}, port: 80 }]`).message).toContain(
        "must be a DNS name",
      );
    expect(one(BY_IP, "ranges: [10.0.0.0/8]", "dns: [{ type: SRV, name: a, ▸port: 80 }]").code).toBe("unknown-field");
  });

  it("uses a secret of another scope only where that grants it, a CA from above freely", () => {
    const inject = yaml("Upstream", "web", `${NAMED}\ntls: { ca: ca }\ncredential: { mode: inject, secret: ▸key }`);
    expect(said(onlyProblem({ "team/a.yaml": inject, "a.yaml": SECRETS }))).toEqual({
      code: "dangling-reference",
      message: 'there is no Secret "key" in scope "team"',
      hint: 'there is one in scope ".": write namespace: . here, and in that scope a ReferenceGrant from Upstream of team',
    });
    const named = inject.replace("secret: ▸key", "secret: { name: key, namespace: . }");
    const grant = yaml(
      "ReferenceGrant",
      "g",
      "from: [{ group: chancery.dev, kind: Upstream, namespace: team }]\nto: [{ group: chancery.dev, kind: Secret, name: key }]",
    );
    const { inventory } = clean({ "team/a.yaml": named, "a.yaml": SECRETS + grant });
    expect(inventory.upstreams[0]).toMatchObject({ tls: { ca: "ca" }, credential: { secret: "key" } });
    const marked = named.replace("secret: {", "secret: ▸{");
    expect(said(onlyProblem({ "team/a.yaml": marked, "a.yaml": SECRETS })).code).toBe("not-granted");
  });
});

describe("Secret", () => {
  it("has paths relative to the root of the tree", () => {
    const { inventory, files } = clean({
      "team/a.yaml": yaml("Secret", "s", "type: opaque\nvalueFile: ../keys/./a.txt"),
    });
    expect(inventory.secrets[0]).toMatchObject({ key: "team/s", type: "opaque", valueFile: "keys/a.txt" });
    expect(files.map(({ path }) => path)).toEqual(["keys/a.txt"]);
  });

  it.each([
    ["type: opaque\nvalueFile: ▸../../etc/passwd", "outside-tree", "this path leads out of the resource tree"],
    ["type: opaque\nvalueFile: ▸/etc/passwd", "outside-tree", "must be a relative path"],
    ["type: opaque\n▸value: hunter2\nvalueFile: a", "inline-secret", "key material does not belong into the YAML"],
    [
      "type: tls\n▸privateKey: hunter2\ncertificateFile: a\nprivateKeyFile: b",
      "inline-secret",
      "key material does not belong into the YAML",
    ],
    ["type: ca\ncertificateFile: ▸'-----BEGIN hunter2'", "inline-secret", "key material does not belong into the YAML"],
    ["type: ▸Opaque\nvalueFile: a", "invalid-value", 'spec.type: must be one of "tls", "ca", "opaque"'],
    ["type: tls\ncertificateFile: a", "missing-field", '"privateKeyFile" is missing'],
  ])("refuses %s, without repeating it", (spec, code, message) => {
    const marked = spec.includes("▸")
      ? yaml("Secret", "s", spec)
      : yaml("Secret", "s", spec).replace("spec:", "▸spec:");
    const problem = said(onlyProblem({ "team/a.yaml": marked }));
    expect(problem.code).toBe(code);
    expect(problem.message).toBe(message);
    expect(JSON.stringify(problem)).not.toContain("hunter2");
  });

  it("must say its type", () => {
    const text = yaml("Secret", "s", "valueFile: a").replace("spec:", "▸spec:");
    expect(said(onlyProblem({ "a.yaml": text }))).toEqual({
      code: "missing-field",
      message: '"type" is missing',
      hint: 'write one of "tls", "ca", "opaque"',
    });
  });
});
