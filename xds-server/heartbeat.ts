import type { Session, TypeState } from "./session-state.ts";
import type { ServedResource } from "./snapshot.ts";

/** Heartbeats in the life of a resource: two may be lost or late before it expires. */
const BEATS = 3;
/** However short a life is, ms: heartbeats must not become a load of their own. */
const SHORTEST_MS = 20;

const NONE: readonly ServedResource[] = [];

/** Whether the client understands what is said of a resource's time to live in its protocol. */
export function usesTtl(session: Session): boolean {
  const { node, protocol } = session;
  return node?.supportsTtl === true && (protocol === "delta" || node.supportsResourceInSotw === true);
}

/** The client has the resource from now on, or (at a reconnect) since a time that is not known: `at` is the next beat. */
export function keepAlive(session: Session, type: TypeState, resource: ServedResource, at: number): void {
  if (resource.ttlMs === undefined || !usesTtl(session)) type.heartbeats.delete(resource.name);
  else type.heartbeats.set(resource.name, at);
}

/** When the heartbeat after one at `now` is due. */
export function beatAfter(resource: ServedResource, now: number): number {
  return now + Math.max(SHORTEST_MS, (resource.ttlMs ?? 0) / BEATS);
}

export function heartbeatDue(type: TypeState, now: number): boolean {
  if (type.heartbeats.size === 0) return false;
  for (const at of type.heartbeats.values()) if (at <= now) return true;
  return false;
}

/**
 * The resources to be kept alive now. Only of what the client surely holds: a heartbeat for anything else is an update
 * without content to it.
 */
export function takeBeats(session: Session, type: TypeState, now: number): readonly ServedResource[] {
  if (!heartbeatDue(type, now)) return NONE;
  const beats: ServedResource[] = [];
  const resources = session.view.types.get(type.typeUrl)?.resources;
  for (const name of type.heartbeats.keys()) {
    const resource = resources?.get(name) ?? type.retained.get(name)?.resource;
    if (resource?.ttlMs === undefined || type.held.get(name) !== resource.version) {
      type.heartbeats.delete(name);
      continue;
    }
    // Those that come a little later go along: one response for all.
    type.heartbeats.set(name, beatAfter(resource, now));
    beats.push(resource);
  }
  return beats;
}

/** When to look again; what is overdue waits for the transport, which says when it has taken what it has. */
export function nextHeartbeat(session: Session, now: number): number | undefined {
  let next: number | undefined;
  for (const { heartbeats } of session.inSendOrder) {
    if (heartbeats.size === 0) continue;
    for (const at of heartbeats.values()) if (at > now && (next === undefined || at < next)) next = at;
  }
  return next;
}
