import { fromBinary, toJson } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { envoyTypes, TYPE_URLS } from "../envoy/index.ts";
import { ListenerSchema } from "../protos/gen/envoy/config/listener/v3/listener_pb.ts";
import type { Route } from "../protos/gen/envoy/config/route/v3/route_components_pb.ts";
import { RouteConfigurationSchema } from "../protos/gen/envoy/config/route/v3/route_pb.ts";
import type { EncodedResource, NodeGroup } from "./index.ts";
import { groupLayouts, reducedGroupName, wholeGroups } from "./index.ts";
import { caseText, compileText } from "./testdata/golden.ts";

const CASES = ["model-chain", "plain-services", "hosts-and-tls", "tokens"];

function groupOf(groups: readonly NodeGroup[], name: string): NodeGroup {
  const group = groups.find((each) => each.name === name);
  if (group === undefined) throw new Error(`no group ${name}`);
  return group;
}

const ofType = (group: NodeGroup, typeUrl: string) => group.resources.filter((each) => each.typeUrl === typeUrl);

function routesOf(group: NodeGroup): Route[] {
  return ofType(group, TYPE_URLS.route)
    .flatMap(({ value }) => fromBinary(RouteConfigurationSchema, value).virtualHosts)
    .flatMap((host) => host.routes);
}

/** What a route demands of the decision: metadata key → exact text. */
function demands({ match }: Route): Record<string, string> {
  return Object.fromEntries(
    (match?.dynamicMetadata ?? []).map(({ path, value }) => {
      const text = value?.matchPattern.case === "stringMatch" ? value.matchPattern.value.matchPattern : undefined;
      return [path[0]?.segment.value ?? "", text?.case === "exact" ? text.value : ""];
    }),
  );
}

/** Cluster → weight. */
function clustersOf({ action }: Route): Record<string, number> {
  if (action.case !== "route") throw new Error("leads nowhere");
  const { clusterSpecifier: to } = action.value;
  if (to.case === "cluster") return { [to.value]: 1 };
  if (to.case !== "weightedClusters") throw new Error(`leads to ${to.case}`);
  return Object.fromEntries(to.value.clusters.map(({ name, weight }) => [name, weight ?? 0]));
}

test.each(CASES)("%s: a route for each pool that a decision may name first, and no way from pool to pool", (name) => {
  const { parts } = compileText(caseText(name));
  const groups = wholeGroups(parts.nodeGroups);
  const reduced = groupOf(groups, reducedGroupName("edge"));
  const layouts = parts.layouts.filter(({ nodeGroup, plan }) => nodeGroup === "edge" && plan === "reduced");
  expect([...groupLayouts(layouts)]).toEqual([reduced.layout]);
  const laidOut = new Map(layouts.flatMap(({ routes }) => routes.map((route) => [route.id, route])));
  const led = routesOf(reduced).filter(({ action }) => action.case === "route");
  const named = new Map([...laidOut.keys()].map((id) => [id, new Set<string>()]));
  for (const route of led) {
    const { decision, route: id = "", first = "" } = demands(route);
    expect(decision).toBe("allow");
    const groupNamed = laidOut.get(id)?.groups.find((each) => each.name === first);
    expect(clustersOf(route)).toEqual(
      Object.fromEntries(groupNamed?.clusters.map((cluster) => [cluster.name, cluster.weight]) ?? []),
    );
    if (route.action.case === "route") expect(route.action.value.retryPolicy?.refreshClusterOnRetry).toBe(false);
    named.get(id)?.add(first);
  }
  for (const { id, groups: may } of laidOut.values()) expect(named.get(id)).toEqual(new Set(may.map((g) => g.name)));
  const undecided = (group: NodeGroup) => routesOf(group).filter((route) => demands(route).decision === undefined);
  expect(undecided(reduced)).toEqual(undecided(groupOf(groups, "edge")));
});

const json = ({ value }: EncodedResource) =>
  JSON.stringify(toJson(ListenerSchema, fromBinary(ListenerSchema, value), { registry: envoyTypes }));

test.each(CASES)("%s: clusters are the very same, listeners but for what Envoy 1.39 does not know", (name) => {
  const groups = wholeGroups(compileText(caseText(name)).parts.nodeGroups);
  const [full, reduced] = [groupOf(groups, "edge"), groupOf(groups, reducedGroupName("edge"))];
  for (const type of ["cluster", "endpoint", "extensionConfig"] as const) {
    const same = new Set(ofType(full, TYPE_URLS[type]));
    expect(ofType(reduced, TYPE_URLS[type]).every((each) => same.delete(each))).toBe(true);
    expect(same.size).toBe(0);
  }
  const without = ofType(full, TYPE_URLS.listener).map((each) =>
    json(each).replaceAll(',"clearRouteCacheHeaders":["x-chancery-decision"]', ""),
  );
  expect(ofType(reduced, TYPE_URLS.listener).map(json)).toEqual(without);
  expect(without).not.toEqual(ofType(full, TYPE_URLS.listener).map(json));
});

test("tables that would be too long are not made, and their Envoys get what clients without the floors get", () => {
  const list = (length: number, item: (index: number) => string) =>
    Array.from({ length }, (_, index) => item(index)).join(", ");
  const routes = Array.from(
    { length: 15 },
    (_, index) => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: r${index} }
spec:
  parentRefs: [{ name: edge }]
  hostnames: [${list(16, (host) => `h${host}.r${index}.example.com`)}]
  rules:
    - matches: [${list(8, (match) => `{ path: { type: PathPrefix, value: /${match} } }`)}]
      backendRefs: [${["a", "b"].map((name) => `{ group: chancery.dev, kind: Upstream, name: shop-${name} }`).join(", ")}]
`,
  );
  const { parts } = compileText([caseText("plain-services"), ...routes].join("\n---\n"));
  const reduced = groupOf(parts.nodeGroups, reducedGroupName("edge"));
  expect(reduced.resources).toEqual([]);
  expect(reduced).not.toHaveProperty("extends");
  expect(reduced.withheld).toContain("edge/10000 would have 5768 decided routes, more than 5000");
  expect(parts.layouts.map(({ plan }) => plan)).toEqual([undefined]);
});
