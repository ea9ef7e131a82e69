import type { HeldBackSummary, NodeSummary } from "../distribution/index.ts";
import type { NodeState, XdsEvent } from "../xds-server/index.ts";

/** Envoys that one report tells of, and bytes that they may take of it. */
const MAX_NODES = 320;
const MAX_NODES_BYTES = 160 * 1024;
const MAX_REJECTIONS = 64;
const MAX_NAME_LENGTH = 128;
const MAX_MESSAGE_LENGTH = 400;
const MAX_RESOURCES = 4;
/** Resources held back that are told of each Envoy. */
const MAX_HELD_BACK = 2;

/** What an xDS server reports of its Envoys. */
export interface NodeReports {
  /** To be called with each event of the server; returns whether others wait for it. */
  onEvent(event: XdsEvent): boolean;
  /** Those that need attention first: refused something, behind, gone. */
  summaries(nodes: readonly NodeState[]): { readonly nodes: readonly NodeSummary[]; readonly nodeCount: number };
}

/** @param now  milliseconds since the epoch */
export function createNodeReports(now: () => number): NodeReports {
  /** Group and id → revision and when it was acknowledged. */
  const acknowledged = new Map<string, { readonly revision: number; readonly at: string }>();
  return {
    onEvent: (event) => {
      if (event.kind === "acknowledged") {
        acknowledged.set(keyOf(event.node), { revision: event.revision, at: new Date(now()).toISOString() });
      }
      return ["acknowledged", "rejected", "connected", "disconnected"].includes(event.kind);
    },
    summaries: (nodes) => {
      const known = new Set(nodes.map(keyOf));
      for (const key of acknowledged.keys()) if (!known.has(key)) acknowledged.delete(key);
      const newest = Math.max(0, ...nodes.map((node) => node.acknowledgedRevision ?? 0));
      const worst = [...nodes].sort((one, other) => attention(other, newest) - attention(one, newest));
      const listed: NodeSummary[] = [];
      let bytes = 0;
      for (const [index, node] of worst.slice(0, MAX_NODES).entries()) {
        const since = acknowledged.get(keyOf(node));
        const at = since?.revision === node.acknowledgedRevision ? since?.at : undefined;
        const told = summary(node, at, index < MAX_REJECTIONS);
        bytes += Buffer.byteLength(JSON.stringify(told)) + 1;
        if (bytes > MAX_NODES_BYTES) break;
        listed.push(told);
      }
      return { nodes: listed, nodeCount: nodes.length };
    },
  };
}

function keyOf({ group, id }: { readonly group: string; readonly id: string }): string {
  return JSON.stringify([group, id]);
}

function attention(node: NodeState, newest: number): number {
  const rejected = node.lastNack?.standing === true || node.heldBack.length > 0 ? 4 : 0;
  const behind = (node.acknowledgedRevision ?? 0) < newest ? 2 : 0;
  return rejected + behind + (node.connected ? 0 : 1);
}

function summary(node: NodeState, acknowledgedAt: string | undefined, withDetail: boolean): NodeSummary {
  const { lastNack, heldBack } = node;
  return {
    id: node.id.slice(0, MAX_NAME_LENGTH),
    group: node.group.slice(0, MAX_NAME_LENGTH),
    knownGroup: node.knownGroup,
    envoyVersion: node.envoyVersion.slice(0, 32),
    plan: node.plan,
    connected: node.connected,
    lastSeen: node.lastSeen,
    acknowledged: node.acknowledgedRevision ?? 0,
    ...(acknowledgedAt === undefined ? {} : { acknowledgedAt }),
    layout: node.acknowledgedLayout ?? "",
    ...(lastNack === undefined || !withDetail
      ? {}
      : {
          rejection: {
            ...lastNack,
            resources: lastNack.resources.slice(0, MAX_RESOURCES).map((name) => name.slice(0, MAX_NAME_LENGTH)),
            message: lastNack.message.slice(0, MAX_MESSAGE_LENGTH),
          },
        }),
    ...(heldBack.length === 0 || !withDetail
      ? {}
      : { heldBack: heldBack.slice(0, MAX_HELD_BACK).map(heldBackSummary) }),
  };
}

function heldBackSummary({ typeUrl, name, revision, scope, since }: NodeState["heldBack"][number]): HeldBackSummary {
  return { typeUrl, name: name.slice(0, MAX_NAME_LENGTH), revision, scope, since };
}
