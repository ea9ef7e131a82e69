import { reducedGroupName, ungovernedGroupName } from "../compiler/index.ts";
import { FLOOR_EXTENSIONS, REQUIRED_EXTENSIONS } from "../envoy/index.ts";
import type { Node } from "../protos/gen/envoy/config/core/v3/base_pb.ts";

/** Who a client says it is, and what it can do. */
export interface NodeIdentity {
  readonly id: string;
  /** `node.cluster`, or `node.id` where each node is a group of its own. */
  readonly group: string;
  /** "1.40.0"; "" where the client does not say. */
  readonly version: string;
  /** Version and source revision: what one node of a build refuses, the others would, too. */
  readonly build: string;
  /** An Envoy may apply nothing of a response that it refuses; other clients apply what is good in it (gRFC A46). */
  readonly isEnvoy: boolean;
  readonly plan: NodePlan;
  /** Extensions that the full plan needs and that the node does not list. */
  readonly missingExtensions: readonly string[];
  /** Understands a resource's time to live, and heartbeats without a body (xds_protocol.rst, "TTL"). */
  readonly supportsTtl?: boolean;
  /** Understands the same in state of the world, where resources must be wrapped for it. */
  readonly supportsResourceInSotw?: boolean;
}

/**
 * What a node is given: all of its group's resources; with routes to one pool each, since it cannot go from pool to pool;
 * or nothing that is governed, since it lacks a floor.
 */
export type NodePlan = "full" | "reduced" | "none";

export interface IdentitySettings {
  /** Give everything to a client that lists no extensions at all (tests, clients that are not Envoy). */
  readonly trustUnlistedNodes: boolean;
  readonly groupBy: "cluster" | "id";
}

/** Longest name of a node or group, UTF-16 units. */
const MAX_NAME = 1_024;
/** Longest part of what a client calls itself and its version that is kept. */
const MAX_AGENT = 128;

/** Why a node cannot be served under the names that it gave itself: they stand in logs, reports and status pages. */
export function namingProblem({ id, group }: Pick<NodeIdentity, "id" | "group">): string | undefined {
  if (id.length > MAX_NAME || group.length > MAX_NAME) {
    return `node.id and node.cluster have at most ${MAX_NAME} characters`;
  }
  return /\p{Cc}/u.test(id + group) ? "node.id and node.cluster have no control characters" : undefined;
}

export function identityOf(node: Node, { trustUnlistedNodes, groupBy }: IdentitySettings): NodeIdentity {
  const listed = new Set(node.extensions.map((extension) => extension.name));
  const trusted = trustUnlistedNodes && listed.size === 0;
  const missingExtensions = trusted ? [] : REQUIRED_EXTENSIONS.filter((name) => !listed.has(name));
  return {
    id: node.id,
    group: groupBy === "id" ? node.id : node.cluster,
    version: versionOf(node),
    build: buildOf(node),
    isEnvoy: node.userAgentName === "envoy",
    plan: planOf(missingExtensions),
    missingExtensions,
    supportsTtl: node.clientFeatures.includes("xds.config.supports-resource-ttl"),
    supportsResourceInSotw: node.clientFeatures.includes("xds.config.supports-resource-in-sotw"),
  };
}

function planOf(missing: readonly string[]): NodePlan {
  if (missing.length === 0) return "full";
  return FLOOR_EXTENSIONS.some((name) => missing.includes(name)) ? "none" : "reduced";
}

/** Whose resources a node is given: its group's, or those that its group has for nodes that lack extensions. */
export function subscriberOf(node: NodeIdentity): Pick<NodeIdentity, "id" | "group" | "build"> {
  switch (node.plan) {
    case "full":
      return node;
    case "reduced":
      return { ...node, group: reducedGroupName(node.group) };
    case "none":
      return { ...node, group: ungovernedGroupName(node.group) };
  }
}

function buildOf(node: Node): string {
  const kind = node.userAgentVersionType;
  const revision = kind.case === "userAgentBuildVersion" ? kind.value.metadata?.["revision.sha"] : undefined;
  const name = node.userAgentName.slice(0, MAX_AGENT);
  return `${name} ${versionOf(node)}${typeof revision === "string" ? ` ${revision.slice(0, MAX_AGENT)}` : ""}`;
}

function versionOf(node: Node): string {
  const kind = node.userAgentVersionType;
  if (kind.case === "userAgentVersion") return kind.value.slice(0, MAX_AGENT);
  if (kind.case !== "userAgentBuildVersion" || kind.value.version === undefined) return "";
  const { majorNumber, minorNumber, patch } = kind.value.version;
  return `${majorNumber}.${minorNumber}.${patch}`;
}
