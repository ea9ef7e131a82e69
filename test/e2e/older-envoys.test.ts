import { expect, test } from "vitest";
import { startNode, startServer, startUpstream } from "../../xds-server/envoy-fixture.ts";
import { cluster, endpoints, listener, routes, snapshot } from "../../xds-server/resource-fixture.ts";
import { olderEnvoy, waitFor } from "../support/index.ts";

const PRIORITY_GROUP = "envoy.router.cluster_specifier_plugin.priority_group";
const UPSTREAM_RBAC = "envoy.filters.http.upstream_rbac";

test.for([
  { version: "1.36.2", missing: [UPSTREAM_RBAC, PRIORITY_GROUP] },
  { version: "1.39.3", missing: [PRIORITY_GROUP] },
] as const)(
  "an Envoy $version, which cannot keep to a decision, starts, is given nothing, and it is said why",
  {
    timeout: 120_000,
  },
  async ({ version, missing }, { skip }) => {
    const binary = await olderEnvoy(version).catch((error: unknown) => skip(`no Envoy ${version}: ${error}`));
    const upstream = await startUpstream("governed");
    const content = (revision: number, name: string) =>
      snapshot(revision, cluster(name), endpoints(name, upstream), listener(), routes(["/", name]));
    const { server, port } = await startServer(content(1, "first"));
    const envoy = await startNode(port, "older", {}, { binary });
    const [state] = server.nodes();
    expect(state).toMatchObject({ id: "older", envoyVersion: version, plan: "none", missingExtensions: missing });
    // A node with the floors gets the next revision; when it has, the older one would have it, too.
    const current = await startNode(port, "current");
    server.setSnapshot(content(2, "second"));
    const has = async (node: typeof envoy) => (await node.admin("/clusters")).includes("second::");
    await waitFor(() => has(current), 10_000, "the next revision");
    expect(await has(envoy)).toBe(false);
    expect(await envoy.listenerPorts()).toEqual({});
    expect(await envoy.admin("/clusters")).not.toContain("first::");
    const older = server.nodes().find(({ id }) => id === "older");
    expect(older).toMatchObject({ connected: true });
    expect(older).not.toHaveProperty("lastNack");
    expect(older).not.toHaveProperty("acknowledgedRevision");
  },
);
