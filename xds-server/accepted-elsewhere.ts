import type { ConnectedNode } from "./client-status.ts";
import type { NodeIdentity } from "./node-identity.ts";
import { isIn } from "./response-size.ts";

/** Whether another connected node of the same group and build has accepted a version of a resource. */
export function acceptedElsewhere(
  nodes: Iterable<ConnectedNode>,
  node: NodeIdentity,
  { typeUrl, name, version }: { readonly typeUrl: string; readonly name: string; readonly version: string },
): boolean {
  for (const { identity, sessions } of nodes) {
    if (identity.id === node.id || identity.group !== node.group || identity.build !== node.build) continue;
    for (const { types } of sessions) {
      const type = types.get(typeUrl);
      if (type?.held.get(name) !== version || isIn(type.parts, name)) continue;
      const unanswered = [...type.outstanding.values()].some(({ resources }) =>
        resources.some((resource) => resource.name === name),
      );
      if (!unanswered) return true;
    }
  }
  return false;
}
