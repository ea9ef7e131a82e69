import fc from "fast-check";
import { expect, test } from "vitest";
import { TYPE_URLS } from "../envoy/index.ts";
import { ungovernedGroupName } from "./index.ts";
import { caseText, compileText, decode } from "./testdata/golden.ts";

const GATEWAY = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: edge }
spec:
  gatewayClassName: chancery
  listeners: [{ name: http, port: 10000, protocol: HTTP }]
`;

interface Rule {
  readonly backends: readonly number[];
  readonly path: string;
  readonly also: string;
}

/** Upstream N has the address 10.0.0.N, and no other one has. */
const upstream = (governed: boolean, index: number) => `apiVersion: chancery.dev/v1
kind: Upstream
metadata: { name: u${index} }
spec:
  endpoints: [{ address: 10.0.0.${index}, port: 80 }]
  ${governed ? "" : "governed: false"}
`;

const route = (host: string, rules: readonly Rule[], index: number) => `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: r${index} }
spec:
  parentRefs: [{ name: edge }]
  hostnames: ["${host}"]
  rules:
${rules
  .map(
    ({ backends, path, also }) =>
      `    - matches: [{ path: { type: PathPrefix, value: ${path} } }]
      backendRefs: [${backends.map((name) => `{ group: chancery.dev, kind: Upstream, name: u${name} }`).join(", ")}]
      ${also}`,
  )
  .join("\n")}
`;

const UPSTREAMS = 5;
const rule: fc.Arbitrary<Rule> = fc.record({
  backends: fc.uniqueArray(fc.nat(UPSTREAMS - 1), { minLength: 1, maxLength: 3 }),
  path: fc.constantFrom("/", "/a", "/a.v1.B/C"),
  also: fc.constantFrom(
    "",
    "timeouts: { request: 5s }",
    "filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { remove: [x-debug] } }]",
  ),
});

test("a client without the floors is given nothing that is governed, whatever people write", () => {
  fc.assert(
    fc.property(
      fc.array(fc.boolean(), { minLength: UPSTREAMS, maxLength: UPSTREAMS }),
      fc.array(
        fc.tuple(
          fc.constantFrom("a.example.com", "b.example.com", "*.example.com"),
          fc.array(rule, { minLength: 1, maxLength: 3 }),
        ),
        { maxLength: 4 },
      ),
      (governed, routes) => {
        const text = [
          GATEWAY,
          ...governed.map(upstream),
          ...routes.map(([host, rules], index) => route(host, rules, index)),
        ].join("---\n");
        const { nodeGroups } = compileText(text).parts;
        const reached = new Set(routes.flatMap(([, rules]) => rules.flatMap(({ backends }) => backends)));
        const open = [...reached].filter((index) => governed[index] === false);
        const group = nodeGroups.find(({ name }) => name === ungovernedGroupName("edge"));
        expect(group === undefined).toBe(open.length === 0);
        if (group === undefined) return;
        const kinds = new Set<string>([TYPE_URLS.cluster, TYPE_URLS.endpoint, TYPE_URLS.listener, TYPE_URLS.route]);
        expect(group.resources.every(({ typeUrl }) => kinds.has(typeUrl))).toBe(true);
        const said = JSON.stringify(group.resources.map(decode));
        for (const index of governed.keys()) {
          expect(said.includes(`"10.0.0.${index}"`)).toBe(open.includes(index));
          expect(said.includes(`"upstream/u${index}"`)).toBe(open.includes(index));
        }
        for (const [host, rules] of routes) {
          const mixed = rules.some(({ backends }) => backends.some((index) => governed[index] !== false));
          const offered = group.resources.some(({ name, typeUrl }) => typeUrl === TYPE_URLS.listener && name === host);
          if (mixed || host.startsWith("*")) expect(offered).toBe(false);
        }
      },
    ),
    { numRuns: 50 },
  );
});

test("what is not governed leaves the resources of governed nodes as they are", () => {
  const after = compileText(caseText("ungoverned"));
  const before = compileText(caseText("ungoverned").replaceAll("governed: false", ""));
  expect(before.parts.nodeGroups.map(({ name }) => name)).toEqual(["edge", "edge#reduced"]);
  expect(after.parts.nodeGroups.map(({ name }) => name)).toEqual(["edge", "edge#reduced", "edge#ungoverned"]);
  expect(after.parts.nodeGroups[0]).toEqual(before.parts.nodeGroups[0]);
});
