import { TYPE_URLS } from "../envoy/index.ts";
import { hasPending, isEnvoy, type Session, type TypeState } from "./session-state.ts";
import { awaitsReading } from "./taken-up.ts";
import { type GroupView, namesReferenced } from "./view.ts";

/**
 * Moves what may go out now from "waiting" to "pending", and names whose removal is due from "retained" to "pending".
 *
 * Additions go CDS, EDS, SDS, then LDS and RDS once the clusters are acknowledged. Envoy holds that acknowledgement
 * back until every cluster is warm, which needs their endpoints and secrets, so those never wait; and one cluster that
 * does not get warm holds it back for ever, so the wait is bounded, once the node has read the clusters. Removals come last: a request keeps the route table
 * that it started with, while clusters are looked up live.
 *
 * @returns when to look again (ms since the epoch), or undefined when nothing waits for time to pass
 */
export function release(session: Session, now: number): number | undefined {
  const ordered = releaseOrdered(session, now);
  const removals = releaseRemovals(session, now);
  return earlier(ordered, removals);
}

function releaseOrdered(session: Session, now: number): number | undefined {
  let waits = false;
  for (const type of session.inSendOrder) waits ||= type.waiting.size > 0;
  if (!waits) {
    session.orderDeadline = undefined;
    return undefined;
  }
  const clusters = session.types.get(TYPE_URLS.cluster);
  // The deadline stays where it is when further changes come, or a stream of changes would starve the routes.
  session.orderDeadline ??= now + session.settings.orderWaitMs;
  const inFlight = clusters !== undefined && (clusters.outstanding.size > 0 || hasPending(clusters));
  // A listener names no clusters but by its routes, and a stream of one type is never asked for another.
  const routesWait = session.only === undefined && (session.types.get(TYPE_URLS.route)?.waiting.size ?? 0) > 0;
  // Where the link is stuck, the node goes on with the routes and clusters that it has. What it shows ends this.
  if (routesWait && awaitsClusters(session)) return undefined;
  const until = inFlight ? session.orderDeadline : routesWait ? mayBeAsked(session, TYPE_URLS.cluster) : now;
  if (now < until) return until;
  session.orderDeadline = undefined;
  for (const type of session.inSendOrder) {
    for (const name of type.waiting) type.pending.add(name);
    type.waiting.clear();
  }
  return undefined;
}

/** Whether clusters are not sent yet, or not read: as long as that takes, routes to them would lead nowhere. */
function awaitsClusters(session: Session): boolean {
  const clusters = session.types.get(TYPE_URLS.cluster);
  return awaitsReading(session) || (isEnvoy(session) && clusters !== undefined && hasPending(clusters));
}

function releaseRemovals(session: Session, now: number): number | undefined {
  let next: number | undefined;
  for (const type of session.inSendOrder) {
    if (type.retained.size === 0) continue;
    for (const [name, entry] of type.retained) {
      if (stillRelied(session, type, name)) {
        // The bounded wait begins when this ends.
        entry.since = undefined;
        continue;
      }
      entry.since ??= now;
      const due = removalDue(session, type, entry.since, now);
      if (due <= now) {
        type.retained.delete(name);
        type.pending.add(name);
      } else {
        next = earlier(next, due);
      }
    }
  }
  return next;
}

/** The types whose resources may need those of a type. */
function usersOf(typeUrl: string): readonly string[] {
  return typeUrl === TYPE_URLS.route ? [TYPE_URLS.listener] : [TYPE_URLS.listener, TYPE_URLS.route];
}

/** Whether the node is known to need the resource, for as long as it takes. */
function stillRelied(session: Session, type: TypeState, name: string): boolean {
  // An extension config that a listener names must not go while that listener lives (envoyproxy/envoy#32823).
  if (type.typeUrl === TYPE_URLS.extensionConfig && neededByListener(session, name)) return true;
  // Likewise where its new routes wait for clusters without end.
  if ((session.types.get(TYPE_URLS.route)?.waiting.size ?? 0) > 0 && awaitsClusters(session)) return true;
  // Where the node refused listeners or routes it runs its last good ones: what those need stays.
  return usersOf(type.typeUrl).some((user) => (session.types.get(user)?.rejected.size ?? 0) > 0);
}

/** When a retained name may be taken away. */
function removalDue(session: Session, type: TypeState, since: number, now: number): number {
  const bound = since + session.settings.removalWaitMs;
  let due = now;
  for (const typeUrl of usersOf(type.typeUrl)) {
    const user = session.types.get(typeUrl);
    if (user === undefined || !user.requested) {
      due = Math.max(due, Math.min(bound, mayBeAsked(session, typeUrl)));
    } else if (user.waiting.size > 0 || hasPending(user) || user.outstanding.size > 0) {
      due = Math.max(due, bound);
    } else {
      due = Math.max(due, user.ackedAt + session.settings.removalGraceMs);
    }
  }
  return due;
}

/**
 * Until when a node that reconnected may be about to ask for a type that it has not asked for: it asks for all its types
 * within moments, and what its routes need is not known before.
 */
function mayBeAsked({ reconnected, types, view, identifiedAt, settings }: Session, typeUrl: string): number {
  if (!reconnected || types.get(typeUrl)?.requested) return Number.NEGATIVE_INFINITY;
  if ((view.types.get(typeUrl)?.resources.size ?? 0) === 0) return Number.NEGATIVE_INFINITY;
  return identifiedAt + settings.reconnectWaitMs;
}

/** Whether a listener of the view names this extension config. */
export function neededByListener(session: Session, name: string): boolean {
  return namesReferenced(session.view.types.get(TYPE_URLS.listener), TYPE_URLS.extensionConfig).has(name);
}

/**
 * The node runs all of the view (what is held back from it left out): everything was asked for, sent, and accepted. Removals that wait for their time do not
 * count; routes no longer need what they remove.
 */
export function settled(session: Session): boolean {
  const { view, types, inSendOrder } = session;
  if (!view.known) return false;
  for (const type of inSendOrder) {
    if (hasPending(type) || type.waiting.size > 0 || type.outstanding.size > 0 || type.answer) return false;
    for (const name of type.rejected.keys()) if (!isHeldBack(view, type.typeUrl, name)) return false;
  }
  const listeners = view.types.get(TYPE_URLS.listener);
  const mustAsk = (typeUrl: string) => (view.types.get(typeUrl)?.resources.size ?? 0) > 0;
  if (mustAsk(TYPE_URLS.cluster) && !types.get(TYPE_URLS.cluster)?.requested) return false;
  if (mustAsk(TYPE_URLS.listener) && !types.get(TYPE_URLS.listener)?.requested) return false;
  // A listener is in force when its routes are: Envoy accepts it before it asks for them.
  const routes = types.get(TYPE_URLS.route);
  for (const name of namesReferenced(listeners, TYPE_URLS.route)) {
    if (view.types.get(TYPE_URLS.route)?.resources.has(name) && !routes?.held.has(name)) return false;
  }
  return true;
}

function isHeldBack({ heldBack }: GroupView, typeUrl: string, name: string): boolean {
  return heldBack?.some((entry) => entry.typeUrl === typeUrl && entry.name === name) ?? false;
}

/** The lesser of two times, of which either may be none. */
export function earlier(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined) return b;
  return b === undefined ? a : Math.min(a, b);
}
