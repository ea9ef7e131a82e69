import type { Key } from "../resources/index.ts";

/** No Gateway has "#" in its key, so no node can ask for what it is not given by the name of another group. */
const REDUCED = "#reduced";
const UNGOVERNED = "#ungoverned";

/** The node group of a gateway's Envoys that cannot go from pool to pool. */
export function reducedGroupName(gateway: Key): string {
  return `${gateway}${REDUCED}`;
}

/** The node group of a gateway's clients that cannot hold the floors. */
export function ungovernedGroupName(gateway: Key): string {
  return `${gateway}${UNGOVERNED}`;
}

export function isUngovernedGroup(name: string): boolean {
  return name.endsWith(UNGOVERNED);
}

/** The gateway of a node group, by the group's name. */
export function gatewayOfGroup(name: string): Key {
  const end = name.indexOf("#");
  return end === -1 ? name : name.slice(0, end);
}
