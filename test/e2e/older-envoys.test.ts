import { expect, test } from "vitest";
import { reducedGroupName, ungovernedGroupName } from "../../compiler/index.ts";
import { startNode, startServer, startUpstream } from "../../xds-server/envoy-fixture.ts";
import { cluster, endpoints, listener, routes, snapshot } from "../../xds-server/resource-fixture.ts";
import { olderEnvoy, waitFor } from "../support/index.ts";

const PRIORITY_GROUP = "envoy.router.cluster_specifier_plugin.priority_group";
const UPSTREAM_RBAC = "envoy.filters.http.upstream_rbac";

/** What each Envoy lists, and whose resources it is given for it; what it runs by the reduced plan is another test's. */
test.for([
  { version: "1.36.2", plan: "none", missing: [UPSTREAM_RBAC, PRIORITY_GROUP], given: ungovernedGroupName },
  { version: "1.39.3", plan: "reduced", missing: [PRIORITY_GROUP], given: reducedGroupName },
] as const)(
  "an Envoy $version is given what it can hold, none of what newer ones are, and it is said why",
  {
    timeout: 120_000,
  },
  async ({ version, plan, missing, given }, { skip }) => {
    const binary = await olderEnvoy(version).catch((error: unknown) => skip(`no Envoy ${version}: ${error}`));
    const upstream = await startUpstream("governed");
    const content = (revision: number, name: string) =>
      snapshot(revision, cluster(name), endpoints(name, upstream), listener(), routes(["/", name]));
    const { server, port } = await startServer(content(1, "first"));
    const { group } = content(1, "first");
    const own = snapshot(1, cluster("own"), endpoints("own", upstream), listener(), routes(["/", "own"]));
    server.setSnapshot({ ...own, group: given(group) });
    const envoy = await startNode(port, "older", {}, { binary });
    const has = async (node: typeof envoy, name: string) => (await node.admin("/clusters")).includes(`${name}::`);
    await waitFor(() => has(envoy, "own"), 10_000, "what it can hold");
    const state = () => server.nodes().find(({ id }) => id === "older");
    expect(state()).toMatchObject({ group, envoyVersion: version, plan, missingExtensions: missing });
    // A node with everything gets the next revision; when it has, the older one would have it, too.
    const current = await startNode(port, "current");
    server.setSnapshot(content(2, "second"));
    await waitFor(() => has(current, "second"), 10_000, "the next revision");
    expect([await has(envoy, "first"), await has(envoy, "second")]).toEqual([false, false]);
    expect(state()).toMatchObject({ connected: true, heldBack: [] });
    expect(state()).not.toHaveProperty("lastNack");
    const [detail] = server.nodeDetails("older", "second");
    const why = plan === "none" ? "lacks-extensions" : "not-in-its-group";
    expect(detail?.resources.map(({ standing }) => standing)).toContain(why);
    if (plan === "none") expect(detail?.resources[0]?.text).toContain(UPSTREAM_RBAC);
  },
);
