import type { NodeFacts } from "../admin/index.ts";
import type { NodeSummary } from "../distribution/index.ts";
import type { NodeState } from "../xds-server/index.ts";

/** An Envoy as an xDS server elsewhere tells of it. */
export function reportedNodeFacts(
  node: NodeSummary,
  where: Pick<NodeFacts, "xdsServer" | "region" | "stale">,
): NodeFacts {
  const { rejection, heldBack = [] } = node;
  return {
    ...commonFacts(node),
    acknowledgedRevision: node.acknowledged,
    layout: node.layout,
    types: [],
    ...(rejection === undefined ? {} : { lastRejection: { ...rejection, at: Date.parse(rejection.at) } }),
    heldBack: heldBack.map((held) => ({ ...held, since: Date.parse(held.since) })),
    ...where,
  };
}

/** An Envoy of the xDS server in this process. */
export function ownNodeFacts(node: NodeState): NodeFacts {
  const { lastNack } = node;
  return {
    ...commonFacts(node),
    acknowledgedRevision: node.acknowledgedRevision ?? 0,
    layout: node.acknowledgedLayout ?? "",
    types: node.types.map(({ typeUrl, resources, sentVersion, ackedVersion }) => ({
      typeUrl,
      resources,
      sentVersion,
      acknowledgedVersion: ackedVersion,
    })),
    ...(lastNack === undefined ? {} : { lastRejection: { ...lastNack, at: Date.parse(lastNack.at) } }),
    heldBack: node.heldBack.map(({ typeUrl, name, revision, scope, since }) => ({
      ...{ typeUrl, name, revision, scope },
      since: Date.parse(since),
    })),
    ...{ xdsServer: "", region: "", stale: false },
  };
}

function commonFacts(node: NodeSummary | NodeState) {
  return {
    id: node.id,
    cluster: node.group,
    nodeGroup: node.knownGroup ? node.group : "",
    envoyVersion: node.envoyVersion,
    plan: node.plan,
    connected: node.connected,
    lastSeenAt: Date.parse(node.lastSeen),
  };
}
