import { fromBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { TYPE_URLS } from "../envoy/index.ts";
import type { Route } from "../protos/gen/envoy/config/route/v3/route_components_pb.ts";
import { RouteConfigurationSchema } from "../protos/gen/envoy/config/route/v3/route_pb.ts";
import { parseResources } from "../resources/index.ts";
import { compile } from "./index.ts";

const UPSTREAMS = ["a", "b", "copy"].map(
  (name) => `
apiVersion: chancery.dev/v1
kind: Upstream
metadata: { name: ${name} }
spec: { endpoints: [{ address: 127.0.0.1, port: 80, hostname: ${name}.example.com }] }`,
);
const version = (name: string, on: string) => `
apiVersion: chancery.dev/v1
kind: ModelVersion
metadata: { name: atlas-${name} }
spec: { model: atlas, version: ${name}, provider: acme, maturity: production }
---
apiVersion: chancery.dev/v1
kind: Deployment
metadata: { name: atlas-${name} }
spec: { version: atlas-${name}, upstream: ${on}, region: test, country: DE, wireName: atlas }`;

const TREE = [
  `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec: { gatewayClassName: chancery, listeners: [{ name: http, port: 80, protocol: HTTP }] }`,
  ...UPSTREAMS,
  `
apiVersion: chancery.dev/v1
kind: Model
metadata: { name: atlas }
spec: { source: { type: body, pointer: /model } }`,
  version("v1", "a"),
  version("v2", "copy"),
  `
apiVersion: chancery.dev/v1
kind: Rollout
metadata: { name: to-v2 }
spec: { model: atlas, to: atlas-v2, steps: [100], step: 0, mirror: { share: 10 } }`,
  `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: mixed }
spec:
  parentRefs: [{ name: edge }]
  rules:
    - matches: [{ path: { type: Exact, value: /v1/chat/completions } }]
      backendRefs: [{ group: chancery.dev, kind: Model, name: atlas }]
    - matches: [{ path: { type: PathPrefix, value: /shop } }]
      filters:
        - type: RequestMirror
          requestMirror:
            backendRef: { group: chancery.dev, kind: Upstream, name: copy }
            fraction: { numerator: 1, denominator: 8 }
      backendRefs: [{ group: chancery.dev, kind: Upstream, name: b }]`,
].join("\n---");

function compiled(text: string) {
  const loaded = parseResources(new Map([["resources.yaml", text]]));
  return compile(loaded.inventory, { jwks: new Map(), positions: loaded.positions });
}

/** @param names  of node groups; left out: of all */
function routesOf(text: string, names?: readonly string[]): readonly Route[] {
  const { parts, problems } = compiled(text);
  expect(problems).toEqual([]);
  return parts.nodeGroups
    .filter(({ name }) => names?.includes(name) ?? true)
    .flatMap((group) => group.resources)
    .filter((resource) => resource.typeUrl === TYPE_URLS.route)
    .flatMap((resource) => fromBinary(RouteConfigurationSchema, resource.value).virtualHosts)
    .flatMap((host) => host.routes);
}

const policies = ({ action }: Route) => (action.case === "route" ? action.value.requestMirrorPolicies : []);

/** What a route demands of the decision: metadata key → exact text. */
function demands({ match }: Route): Record<string, string> {
  return Object.fromEntries(
    (match?.dynamicMetadata ?? []).map(({ path, value }) => {
      const text = value?.matchPattern.case === "stringMatch" ? value.matchPattern.value.matchPattern : undefined;
      return [path[0]?.segment.value ?? "", text?.case === "exact" ? text.value : ""];
    }),
  );
}

test("no route mirrors without a decision that names the mirror", () => {
  const mirroring = routesOf(TREE).filter((route) => policies(route).length > 0);
  const full = routesOf(TREE, ["edge"]).filter((route) => policies(route).length > 0);
  expect(full.map((route) => [route.name, policies(route).map(({ cluster }) => cluster)])).toEqual([
    ["mixed/0/0", ["model/atlas-v2"]],
    ["mixed/0/0", ["model/atlas-v2"]],
    ["mixed/1/0", ["upstream/copy"]],
  ]);
  for (const route of mirroring) {
    expect(demands(route)).toMatchObject({
      decision: "allow",
      route: route.name,
      mirror: policies(route)[0]?.cluster,
    });
  }
});

test("every mirrored route has one without the mirror behind it, which is otherwise the same", () => {
  const routes = routesOf(TREE);
  for (const [index, route] of routes.entries()) {
    if (policies(route).length === 0) continue;
    const { mirror: _, ...others } = demands(route);
    const next = routes.slice(index + 1).find((later) => policies(later).length === 0);
    if (next === undefined) throw new Error("no route behind");
    expect(demands(next)).toEqual(others);
    if (route.action.case !== "route") throw new Error("no route action");
    expect({ ...route.action.value, requestMirrorPolicies: [] }).toEqual(next.action.value);
  }
});

test("a copy has no credentials, nothing of ours, and the mirror's own host", () => {
  for (const policy of routesOf(TREE).flatMap(policies)) {
    const removed = policy.requestHeadersMutations.flatMap(({ action }) =>
      action.case === "remove" ? [action.value] : [],
    );
    expect(removed).toEqual(expect.arrayContaining(["authorization", "api-key", "x-api-key", "cookie"]));
    const prefixes = policy.requestHeadersMutations.flatMap(({ action }) =>
      action.case === "removeOnMatch" ? [action.value.keyMatcher?.matchPattern.value] : [],
    );
    expect(prefixes).toEqual(["x-chancery-", "x-envoy-"]);
    expect(policy).toMatchObject({ disableShadowHostSuffixAppend: true, hostRewriteLiteral: "copy.example.com" });
  }
});

test("the layout names the mirrors, and the program says how much a rollout copies", () => {
  const { parts } = compiled(TREE);
  const mirrors = Object.fromEntries(parts.layouts[0]?.routes.map(({ id, mirrors }) => [id, mirrors]) ?? []);
  expect(mirrors).toMatchObject({
    "mixed/0/0": [{ cluster: "model/atlas-v2" }],
    "mixed/1/0": [{ cluster: "upstream/copy", share: 12.5 }],
  });
  expect(parts.program.splits).toMatchObject([{ mirror: { version: "atlas-v2", share: 10 } }]);
});

describe("what cannot be a mirror, since no filter of its cluster runs", () => {
  const INJECTS = `credential: { mode: inject, secret: key }, endpoints: [{ address: 127.0.0.1, port: 80, hostname: copy.example.com }]`;
  const KEY = `
apiVersion: chancery.dev/v1
kind: Secret
metadata: { name: key }
spec: { type: opaque, valueFile: keys/key }
---`;
  const copy = "endpoints: [{ address: 127.0.0.1, port: 80, hostname: copy.example.com }]";
  test.each([
    ["an upstream that injects a credential", KEY + TREE.replace(copy, INJECTS), "injects a credential"],
    [
      "an upstream that takes the client's credential",
      TREE.replace(copy, `credential: { mode: passThrough }, ${copy}`),
      "takes the client's credential",
    ],
    [
      "another name on the wire",
      TREE.replace("upstream: copy, region: test, country: DE, wireName: atlas", "$&-2"),
      '"atlas-2"',
    ],
    [
      "a path of its own",
      TREE.replace("upstream: copy, region: test, country: DE, wireName: atlas", "$&, path: /x"),
      "has a path of its own",
    ],
  ])("%s", (_, text, message) => {
    const mirrored = compiled(text).problems.filter(({ code }) => code === "mirror-conflict");
    expect(mirrored.map((problem) => problem.message)).toContainEqual(expect.stringContaining(message));
    for (const { severity, hint } of mirrored) expect({ severity, hint }).toMatchObject({ severity: "error" });
  });
});
