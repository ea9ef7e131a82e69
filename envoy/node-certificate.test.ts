import { X509Certificate } from "node:crypto";
import { expect, test } from "vitest";
import { createCertificateAuthority } from "../test/support/certificates.ts";
import { bindingOf, misuse } from "./node-certificate.ts";

test("a SPIFFE id binds to a gateway, and to a node where it names one", () => {
  expect(bindingOf("DNS:x, URI:spiffe://acme/gateway/team/edge")).toEqual({ group: "team/edge" });
  expect(bindingOf("URI:spiffe://acme/prod/node/n1/gateway/edge")).toEqual({ group: "edge", id: "n1" });
  expect(bindingOf("URI:spiffe://acme/gateway/team/gateway/edge")).toEqual({ group: "team/gateway/edge" });
  expect(bindingOf("URI:spiffe://acme/envoy/1, DNS:localhost")).toBe("none");
  expect(bindingOf("URI:spiffe://acme/gateway/a, URI:spiffe://acme/gateway/b")).toBe("ambiguous");
  expect(bindingOf('DNS:"x, URI:spiffe://acme/gateway/edge"')).toBe("none");
});

test("a name that hides another binds to nothing", () => {
  const authority = createCertificateAuthority();
  const bindingIn = (...names: string[]) =>
    bindingOf(new X509Certificate(authority.issue(names).certificate).subjectAltName ?? "");
  expect(bindingIn("spiffe://acme/gateway/edge")).toEqual({ group: "edge" });
  expect(bindingIn("spiffe://acme/gateway/edge\0.evil")).toBe("none");
  expect(bindingIn("spiffe://acme/x\0/gateway/edge")).toBe("none");
  expect(bindingIn("x, URI:spiffe://acme/gateway/edge")).toBe("none");
  expect(bindingIn('x", URI:spiffe://acme/gateway/edge, DNS:"')).toBe("none");
  expect(bindingIn("spiffe://acme/gateway/edge, URI:spiffe://acme/gateway/other")).toBe("none");
  // The subject says the same, and is not read.
  expect(bindingIn("x.example", "spiffe://acme/x")).toBe("none");
});

test("a node may use a certificate of its own only", () => {
  const node = {
    id: "n1",
    group: "team/edge",
    version: "",
    build: "",
    isEnvoy: false,
    plan: "full" as const,
    missingExtensions: [],
  };
  expect(misuse({ group: "team/edge" }, node, true)).toBeUndefined();
  expect(misuse({ group: "team/edge", id: "n1" }, node, true)).toBeUndefined();
  expect(misuse({ group: "team/edge", id: "n2" }, node, false)).toContain("n2");
  expect(misuse({ group: "edge" }, node, false)).toContain('"edge"');
  expect(misuse("none", node, false)).toBeUndefined();
  expect(misuse("none", node, true)).toContain("no gateway");
  expect(misuse("ambiguous", node, false)).toContain("more than one");
});
