import { expect, test } from "vitest";
import { type AdminClientOptions, createRegistry, startAdminServer } from "../admin/index.ts";
import { closeAtEnd } from "../test/support/index.ts";
import { formatNodeStatus, type NodePage, nodeStatus } from "./status-node.ts";
import { NODE_PAGE } from "./xds-pages.ts";

const CDS = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

function page(connected: boolean): NodePage {
  return {
    nodes: [
      {
        ...{ id: "edge-1", group: "team/edge", envoyVersion: "1.40.0", plan: "full", missingExtensions: [], connected },
        ...{ lastSeen: "2026-11-21T10:00:00.000Z", acknowledgedRevision: 6, acknowledgedLayout: "abc" },
        heldBack: [
          {
            ...{ typeUrl: CDS, name: "bad", revision: 7, scope: "build", since: "2026-11-21T09:59:00.000Z" },
            message: "Error adding/updating cluster(s) bad: malformed",
          },
        ],
      },
    ],
    details: [
      {
        group: "team/edge",
        resources: [
          { typeUrl: CDS, name: "good", standing: "in-force", text: "acknowledged", version: "1" },
          { typeUrl: CDS, name: "bad", standing: "held-back", text: "held back from nodes of this build", version: "" },
        ],
        leftOut: 0,
      },
    ],
  };
}

async function serve(answer: NodePage | undefined, token?: string): Promise<AdminClientOptions> {
  const admin = await startAdminServer({
    host: "127.0.0.1",
    port: 0,
    notReady: () => [],
    metrics: createRegistry(),
    pages: { [NODE_PAGE]: (query) => (query.get("id") === "edge-1" ? answer : undefined) },
    ...(token === undefined ? {} : { token }),
  });
  closeAtEnd(admin);
  return { control: admin.address };
}

test("the server that the node is connected to is preferred to one that remembers it", async () => {
  const servers = [await serve(page(false)), await serve(undefined), await serve(page(true))];
  expect((await nodeStatus({ node: "edge-1", servers })).nodes[0]?.connected).toBe(true);
  expect((await nodeStatus({ node: "edge-1", servers: servers.slice(0, 2) })).nodes[0]?.connected).toBe(false);
});

test("a node that nobody knows, a server that cannot be reached, and a missing token are told apart", async () => {
  const closed = await serve(page(true), "secret");
  const gone = { control: "127.0.0.1:1" };
  await expect(nodeStatus({ node: "edge-2", servers: [await serve(page(true))] })).rejects.toThrow(/no node "edge-2"/);
  await expect(nodeStatus({ node: "edge-1", servers: [gone] })).rejects.toThrow(/cannot be reached/);
  await expect(nodeStatus({ node: "edge-1", servers: [closed] })).rejects.toThrow(/401/);
  expect((await nodeStatus({ node: "edge-1", servers: [{ ...closed, token: "secret" }] })).nodes).toHaveLength(1);
});

test("people read what is held back, and why", () => {
  expect(formatNodeStatus(page(true), undefined)).toBe(`edge-1  gateway team/edge  envoy 1.40.0  plan full  connected
  acknowledged revision 6  layout abc
  held back (build) since 2026-11-21T09:59:00.000Z: Cluster bad
    refused with revision 7: Error adding/updating cluster(s) bad: malformed
  Cluster: 1 in force
    Cluster bad: held-back: held back from nodes of this build
`);
  expect(formatNodeStatus(page(true), "good").trimEnd().split("\n").slice(-2)).toEqual([
    "  Cluster good: in-force: acknowledged",
    "  Cluster bad: held-back: held back from nodes of this build",
  ]);
});

test("a node that lacks extensions is told what follows from it, in one line a type", () => {
  const [node] = page(true).nodes;
  if (node === undefined) throw new Error("a node");
  const lacking = (plan: string, more: object = {}) => {
    const missingExtensions = ["envoy.x"];
    const nodes = [{ ...node, heldBack: [], plan, missingExtensions, ...more }];
    const resources = ["a", "b"].map((name) => {
      return { typeUrl: CDS, name, standing: "lacks-extensions", text: "not given", version: "" };
    });
    return formatNodeStatus({ nodes, details: [{ group: "team/edge", resources, leftOut: 0 }] }, undefined);
  };
  expect(lacking("none")).toMatch(/lacks envoy\.x: it is given nothing that is governed \(Envoy 1\.39 and later are\)/);
  expect(lacking("none")).toContain("Cluster: 0 in force, 2 not given (lacks-extensions)\n");
  expect(lacking("none", { withheld: "the table is too long" })).toContain("governed, since the table is too long");
  expect(lacking("reduced")).toContain("lacks envoy.x: its requests go to the first pool of a decision");
});
