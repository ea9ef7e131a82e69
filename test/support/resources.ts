import { createHash } from "node:crypto";

/** Pieces of resource trees for tests, as YAML. The Gateway is called `edge`, in the root scope. */

/** Joins documents into one file. */
export function yaml(...documents: readonly string[]): string {
  return documents.map((document) => document.trim()).join("\n---\n");
}

export function gateway(port: number): string {
  return `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: chancery
  listeners: [{ name: http, port: ${port}, protocol: HTTP }]`;
}

/** POST /v1/chat/completions (and /v1/completions) to these models. */
export function modelRoute(...models: readonly string[]): string {
  return `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: chat }
spec:
  parentRefs: [{ name: edge }]
  rules:
    - matches:
        - { path: { type: Exact, value: /v1/chat/completions }, method: POST }
        - { path: { type: Exact, value: /v1/completions }, method: POST }
      backendRefs: [${models.map((name) => `{ group: chancery.dev, kind: Model, name: ${name} }`).join(", ")}]`;
}

/** A plain route of a path prefix to upstreams, by weight. */
export function plainRoute(
  name: string,
  prefix: string,
  weights: Readonly<Record<string, number>>,
  listener?: string,
): string {
  const backends = Object.entries(weights).map(
    ([upstream, weight]) => `{ group: chancery.dev, kind: Upstream, name: ${upstream}, weight: ${weight} }`,
  );
  return `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ${name} }
spec:
  parentRefs: [{ name: edge${listener === undefined ? "" : `, sectionName: ${listener}`} }]
  rules:
    - matches: [{ path: { type: PathPrefix, value: ${prefix} } }]
      backendRefs: [${backends.join(", ")}]`;
}

/** @param more  further fields of the spec, in flow style: "credential: { mode: passThrough }" */
export function upstream(name: string, port: number, more = ""): string {
  return `
apiVersion: chancery.dev/v1
kind: Upstream
metadata: { name: ${name} }
spec: { endpoints: [{ address: 127.0.0.1, port: ${port} }]${more === "" ? "" : `, ${more}`} }`;
}

export function model(name: string, more = ""): string {
  return `
apiVersion: chancery.dev/v1
kind: Model
metadata: { name: ${name} }
spec: { source: { type: body, pointer: /model }${more === "" ? "" : `, ${more}`} }`;
}

/** A version (`v1`, `v2`, …: the higher the newer) with one deployment on an upstream. */
export function version(
  of: string,
  name: string,
  on: string,
  options: {
    readonly country?: string;
    readonly maturity?: string;
    readonly spec?: string;
    readonly deployment?: string;
  } = {},
): string {
  const { country = "DE", maturity = "production", spec = "", deployment = "" } = options;
  return `
apiVersion: chancery.dev/v1
kind: ModelVersion
metadata: { name: ${of}-${name} }
spec: { model: ${of}, version: ${name}, provider: acme, maturity: ${maturity}${spec === "" ? "" : `, ${spec}`} }
---
apiVersion: chancery.dev/v1
kind: Deployment
metadata: { name: ${of}-${name}-on-${on} }
spec: { version: ${of}-${name}, upstream: ${on}, region: test, country: ${country}, wireName: wire-${of}-${name}${deployment === "" ? "" : `, ${deployment}`} }`;
}

/** An application that is known by one API key. @param sha256  of the key, hex */
export function application(name: string, sha256: string, more = ""): string {
  return `
apiVersion: chancery.dev/v1
kind: Application
metadata: { name: ${name} }
spec: { purpose: test, riskTier: minimal, apiKeys: [{ id: main, sha256: ${sha256} }]${more === "" ? "" : `, ${more}`} }`;
}

/** An API key, and what an Application holds of it. */
export function apiKey(name: string): { readonly key: string; readonly sha256: string } {
  const key = `key-of-${name}`;
  return { key, sha256: createHash("sha256").update(key).digest("hex") };
}

/** Requests without any identity. */
export function anonymous(): string {
  return `
apiVersion: chancery.dev/v1
kind: Application
metadata: { name: visitors }
spec: { purpose: test, riskTier: minimal, anonymous: true }`;
}

export function approval(of: string, forApplication: string): string {
  return `
apiVersion: chancery.dev/v1
kind: Approval
metadata: { name: ${forApplication}-${of} }
spec: { version: ${of}, application: ${forApplication}, approvers: [board] }`;
}

/** @param rules  in flow style: '{ id: a, effect: allow, reason: because }' */
export function policy(name: string, ...rules: readonly string[]): string {
  return `
apiVersion: chancery.dev/v1
kind: Policy
metadata: { name: ${name} }
spec:
  rules:
${rules.map((rule) => `    - ${rule}`).join("\n")}`;
}

export const ALLOW_ALL = "{ id: all, effect: allow, reason: Everything is allowed here }";
