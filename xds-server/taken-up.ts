import { TYPE_URLS } from "../envoy/index.ts";
import { referencesOf } from "./references.ts";
import type { Session, TypeState } from "./session-state.ts";
import type { ServedResource } from "./snapshot.ts";
import { covers } from "./subscription.ts";

/**
 * An Envoy asks for the endpoints and secrets of a cluster as soon as it has read it. As long as it has not, either it has
 * not read it, or its requests do not come through and it waits for their answer: routes to such a cluster lead nowhere,
 * and nobody knows for how long.
 */

/** Clusters were sent: those that need what the node has not asked for are remembered. */
export function noteSent(session: Session, clusters: TypeState, resources: readonly ServedResource[]): void {
  for (const resource of resources) {
    if (needsMore(session, clusters, resource)) session.notTakenUp.set(resource.name, resource);
    else session.notTakenUp.delete(resource.name);
  }
}

/** Looks again at what the node has asked for by now. To be called at each request: it may ask for something for a moment. */
export function noteAsked(session: Session, clusters: TypeState | undefined): void {
  if (session.notTakenUp.size === 0) return;
  // Acknowledged or refused: it has read them.
  if (clusters === undefined || clusters.outstanding.size === 0) session.notTakenUp.clear();
  else {
    for (const [name, resource] of session.notTakenUp) {
      if (!needsMore(session, clusters, resource)) session.notTakenUp.delete(name);
    }
  }
}

/** Whether a cluster that the node shall have, and was sent, was not read by it yet, as far as is known. */
export function awaitsReading({ notTakenUp, view }: Session): boolean {
  if (notTakenUp.size === 0) return false;
  const clusters = view.types.get(TYPE_URLS.cluster)?.resources;
  // One that is to go again is of no concern to the routes.
  for (const name of notTakenUp.keys()) if (clusters?.has(name)) return true;
  return false;
}

function needsMore({ types }: Session, clusters: TypeState, resource: ServedResource): boolean {
  const references = referencesOf(resource);
  return clusters.traits.children.some((typeUrl) => {
    const names = references.get(typeUrl);
    if (names === undefined) return false;
    const child = types.get(typeUrl);
    return child === undefined || [...names].some((name) => !covers(child.subscription, name));
  });
}
