import { expect, test } from "vitest";
import { ungovernedEndpoints, ungovernedRoutes } from "./ungoverned.ts";

const routesOf = (...routes: Parameters<typeof ungovernedRoutes>[1]) =>
  ungovernedRoutes("web", routes).virtualHosts[0]?.routes ?? [];
const route = { path: { type: "Exact", value: "/a" }, clusters: [{ name: "one", weight: 1 }], timeoutMs: 0 } as const;

test("a route with one cluster names it, one with several weighs them", () => {
  const second = { name: "two", weight: 3 };
  const [one, several] = routesOf(route, { ...route, clusters: [...route.clusters, second] });
  expect(one?.action.value).toMatchObject({ clusterSpecifier: { case: "cluster", value: "one" } });
  expect(several?.action.value).toMatchObject({
    clusterSpecifier: { case: "weightedClusters", value: { clusters: [{ name: "one" }, { name: "two" }] } },
  });
});

test.each([
  [{ type: "Exact", value: "/a" }, [{ case: "path", value: "/a" }]],
  [{ type: "RegularExpression", value: "/a.*" }, [{ case: "safeRegex", value: { regex: "/a.*" } }]],
  [
    { type: "PathPrefix", value: "/a/" },
    [
      { case: "path", value: "/a" },
      { case: "prefix", value: "/a/" },
    ],
  ],
  [{ type: "PathPrefix", value: "/" }, [{ case: "prefix", value: "/" }]],
] as const)("matches %j in the words that gRPC knows", (path, matches) => {
  expect(routesOf({ ...route, path }).map(({ match }) => match?.pathSpecifier)).toMatchObject(matches);
});

test("an address stands in the first priority that has it, and a locality weighs what its endpoints do", () => {
  const endpoint = { address: "10.0.0.1", port: 80, weight: 2, priority: 0 };
  const { endpoints } = ungovernedEndpoints({
    name: "web",
    endpoints: [{ ...endpoint, priority: 1 }, endpoint, { ...endpoint, port: 81, weight: 3 }],
  });
  expect(endpoints).toMatchObject([{ priority: 0, loadBalancingWeight: 5 }]);
  expect(endpoints.flatMap(({ lbEndpoints }) => lbEndpoints)).toHaveLength(2);
});
