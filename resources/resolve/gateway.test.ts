import { describe, expect, it } from "vitest";
import { clean, GATEWAY, onlyProblem, said, yaml } from "../fixtures.ts";

const one = (text: string) => said(onlyProblem({ "a.yaml": text }));
const TLS = yaml("Secret", "cert", "type: tls\ncertificateFile: a.pem\nprivateKeyFile: a.key");
const listeners = (...lines: string[]) =>
  yaml("Gateway", "edge", `listeners:\n${lines.map((l) => `  - ${l}`).join("\n")}`);
const https = (tls: string) => listeners(`{ name: https, port: 443, protocol: HTTPS, tls: ${tls} }`);

describe("Gateway", () => {
  it("binds loopback unless it names addresses", () => {
    expect(clean({ "a.yaml": GATEWAY }).inventory.gateways[0]?.listeners).toEqual([
      { name: "http", addresses: ["127.0.0.1"], port: 10000, protocol: "HTTP", certificates: [] },
    ]);
    const bound = GATEWAY.replace(
      "spec:",
      'spec:\n  addresses: [{ value: 0.0.0.0 }, { type: IPAddress, value: "::" }]',
    );
    expect(clean({ "a.yaml": bound }).inventory.gateways[0]?.listeners[0]?.addresses).toEqual(["0.0.0.0", "::"]);
  });

  it("takes certificates of its scope, whatever group the reference writes", () => {
    for (const ref of [
      "{ name: cert }",
      '{ group: "", kind: Secret, name: cert }',
      "{ group: chancery.dev, name: cert }",
    ]) {
      const { inventory } = clean({ "a.yaml": TLS + https(`{ mode: Terminate, certificateRefs: [${ref}] }`) });
      expect(inventory.gateways[0]?.listeners[0]?.certificates).toEqual(["cert"]);
    }
  });

  it.each([
    ["addresses: [{ value: ▸localhost }]", "invalid-value", "must be an IPv4 or IPv6 address"],
    ["addresses: [{ type: ▸Hostname, value: x }]", "unsupported", "only addresses of type IPAddress are supported"],
    ["▸infrastructure: {}", "unsupported", "infrastructure is not supported"],
  ])("refuses %s", (line, code, message) => {
    expect(one(GATEWAY.replace("spec:", `spec:\n  ${line}`))).toMatchObject({ code, message });
  });

  it.each([
    ["{ name: x, port: 1, protocol: ▸TCP }", "unsupported", "only listeners of protocol HTTP and HTTPS are supported"],
    ["{ name: x, port: 1, protocol: HTTP, hostname: ▸Example.com }", "invalid-value", "not a host name"],
    ["{ name: x, port: 1, protocol: HTTP, hostname: ▸10.0.0.1 }", "invalid-value", "an IP address is not a host name"],
    ["{ name: x, port: 1, protocol: HTTP, hostname: ▸a.*.com }", "invalid-value", "not a host name"],
    ["{ name: x, port: ▸0, protocol: HTTP }", "invalid-value", "a port lies between 1 and 65535"],
    [
      "{ name: x, port: 1, protocol: HTTP, ▸tls: { certificateRefs: [{ name: c }] } }",
      "conflict",
      "a listener of protocol HTTP has no tls",
    ],
    ["▸{ name: x, port: 1, protocol: HTTPS }", "missing-field", 'a listener of protocol HTTPS needs "tls"'],
    [
      "{ name: x, port: 1, protocol: HTTP, allowedRoutes: { namespaces: { from: ▸Selector } } }",
      "unsupported",
      "namespaces.from may be Same or All",
    ],
    [
      "{ name: x, port: 1, protocol: HTTP, allowedRoutes: { namespaces: { ▸selector: {} } } }",
      "unsupported",
      "namespaces.selector is not supported",
    ],
  ])("refuses the listener %s", (listener, code, message) => {
    const problem = one(listeners(listener));
    expect(problem.code).toBe(code);
    expect(problem.message).toContain(message);
  });

  it.each([
    [
      "{ mode: ▸Passthrough, certificateRefs: [{ name: cert }] }",
      "unsupported",
      "only tls.mode Terminate is supported",
    ],
    ["{ certificateRefs: ▸[] }", "invalid-value", "at least 1 entry"],
    ["▸{}", "missing-field", '"certificateRefs" is missing'],
    ["{ certificateRefs: [{ name: ▸nope }] }", "dangling-reference", 'there is no Secret "nope" in scope "."'],
    ["{ certificateRefs: [{ group: ▸apps, name: cert }] }", "unsupported", "only Secrets of group chancery.dev"],
    ["{ certificateRefs: [{ name: cert }], ▸options: {} }", "unsupported", "tls.options is not supported"],
  ])("refuses tls: %s", (tls, code, message) => {
    const problem = one(TLS + https(tls.replace("▸{}", "{}")).replace(tls === "▸{}" ? "tls: {}" : "\0", "▸tls: {}"));
    expect(problem.code).toBe(code);
    expect(problem.message).toContain(message);
  });

  it("wants a certificate, not another secret", () => {
    const ca = yaml("Secret", "ca", "type: ca\ncertificateFile: a.pem");
    expect(one(ca + https("{ certificateRefs: [{ name: ▸ca }] }"))).toEqual({
      code: "conflict",
      message: 'Secret "ca" is of type ca',
      hint: "a listener needs type tls",
    });
  });

  it("has listeners that can be told apart", () => {
    const a = "{ name: a, port: 80, protocol: HTTP }";
    expect(one(listeners(a, "{ name: ▸a, port: 81, protocol: HTTP }")).message).toBe('two listeners are named "a"');
    expect(one(listeners(a, "{ name: b, port: ▸80, protocol: HTTP }")).message).toBe(
      "two listeners have port 80, protocol HTTP and the same host name",
    );
    expect(
      one(TLS + listeners(a, "{ name: b, port: 80, protocol: ▸HTTPS, tls: { certificateRefs: [{ name: cert }] } }"))
        .message,
    ).toBe("port 80 has protocol HTTP on another listener");
    clean({ "a.yaml": listeners(a, "{ name: b, port: 80, protocol: HTTP, hostname: b.example.com }") });
  });

  it("takes a certificate of another scope where that grants it", () => {
    const gateway = https("{ certificateRefs: [{ name: cert, namespace: certs }] }");
    const grant = (from: string, to: string) =>
      yaml(
        "ReferenceGrant",
        "g",
        `from: [{ group: gateway.networking.k8s.io, kind: ${from}, namespace: edge }]\nto: [${to}]`,
      );
    const granted = (text: string) => ({ "edge/a.yaml": gateway, "certs/a.yaml": TLS + text });
    expect(
      clean(granted(grant("Gateway", '{ group: "", kind: Secret }'))).inventory.gateways[0]?.listeners[0]?.certificates,
    ).toEqual(["certs/cert"]);
    clean(granted(grant("Gateway", "{ group: chancery.dev, kind: Secret, name: cert }")));
    const marked = gateway.replace("name: cert,", "name: ▸cert,");
    for (const text of [
      "",
      grant("HTTPRoute", "{ group: chancery.dev, kind: Secret }"),
      grant("Gateway", "{ group: chancery.dev, kind: Secret, name: other }"),
      grant("Gateway", "{ group: chancery.dev, kind: Upstream }"),
    ]) {
      expect(said(onlyProblem({ "edge/a.yaml": marked, "certs/a.yaml": TLS + text }))).toEqual({
        code: "not-granted",
        message: 'scope "certs" does not let Gateway of "edge" refer to Secret "cert"',
        hint: 'in scope "certs", write a ReferenceGrant with from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: edge}], to: [{group: chancery.dev, kind: Secret}]',
      });
    }
  });
});
