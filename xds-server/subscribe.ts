import { TYPE_URLS } from "../envoy/index.ts";
import { keepAlive } from "./heartbeat.ts";
import { UNKNOWN } from "./held-versions.ts";
import { openingOf } from "./opening.ts";
import { formerNames, formerResource } from "./preceding.ts";
import { VIRTUAL_HOST } from "./resource-types.ts";
import { wildcardVersion } from "./respond.ts";
import { forget, type Session, served, type TypeState, tellAgain, wants } from "./session-state.ts";
import type { ServedResource } from "./snapshot.ts";
import { covers, type SubscriptionChange } from "./subscription.ts";
import { aliasesOf, expiringOf, type TypeView, typeVersion } from "./view.ts";

/** State of the world, first request for a type: its nonce and its version may come from an earlier stream. */
export function openSotw(
  session: Session,
  type: TypeState,
  change: SubscriptionChange,
  versionInfo: string,
  now: number,
): void {
  if (versionInfo !== "") session.reconnected = true;
  const target = changedIn(session, type);
  recall(session, type, change.asked, now);
  if (!type.subscription.wildcard) {
    if (target === type.pending && type.retained.size === 0) open(session, type, change.asked);
    if (type.opening === undefined) for (const name of change.asked) target.add(name);
    return;
  }
  // Of a group that is not known (yet) nothing is known to be wrong: a node that has something keeps it.
  if (!session.view.known && versionInfo !== "") return;
  const current = wildcardVersion(session, type);
  // A label may have stood for other content before: only a hash proves what the client holds.
  const labelled = session.view.types.get(type.typeUrl)?.label !== undefined;
  const leftover = session.leftovers.get(type.typeUrl);
  const has = change.asked.length === 0 && versionInfo !== "";
  for (const name of change.asked) type.pending.add(name);
  if (has && versionInfo === current && !labelled) {
    for (const resource of resourcesOf(session, type)) {
      type.held.set(resource.name, resource.version);
      // How much of its time is left is not known.
      keepAlive(session, type, resource, now);
    }
  } else if (has && leftover?.version === current) {
    for (const { name } of resourcesOf(session, type)) type.held.set(name, UNKNOWN);
    for (const [name, version] of leftover.rejected) type.rejected.set(name, version);
    type.rejectedVersion = leftover.version;
  } else {
    const isVersion = (view: TypeView) => view.label === versionInfo || typeVersion(view) === versionInfo;
    recall(session, type, formerNames(session.view.preceding ?? [], type.typeUrl, isVersion), now);
    const plain = target === type.pending && type.retained.size === 0 && type.subscription.names.size === 0;
    if (plain) open(session, type, undefined);
    if (type.opening === undefined) for (const { name } of resourcesOf(session, type)) target.add(name);
    type.answer = target.size === 0 || target === type.pending;
  }
}

/**
 * Where the first request for a type puts what has changed. What a node has that reconnects may go on while the clusters
 * that the change needs get warm; a node that has nothing need not wait.
 */
function changedIn(session: Session, type: TypeState): Set<string> {
  return session.reconnected && session.only === undefined && type.traits.afterClusters ? type.waiting : type.pending;
}

/**
 * State of the world: a node that reconnects says which version it has, not which resources, and clusters are deleted by
 * not being repeated. What it may have is repeated until its routes no longer need it. (Delta: the node claims what it
 * has, and it is kept by not being removed.)
 */
function recall(session: Session, type: TypeState, names: Iterable<string>, now: number): void {
  const { preceding } = session.view;
  if (!session.reconnected || preceding === undefined) return;
  const refused = session.leftovers.get(type.typeUrl)?.rejected;
  for (const name of names) {
    const resource = formerResource(preceding, type.typeUrl, name);
    if (resource === undefined || served(session, type, name) !== undefined || refused?.has(name)) continue;
    type.retained.set(name, { resource, since: now });
  }
}

/**
 * A client that has nothing of a type gets what it asks for as it is, made once for all who ask for the same; where that
 * is not possible, `opening` stays undefined.
 *
 * @param names  undefined: all there is
 */
function open(session: Session, type: TypeState, names: readonly string[] | undefined): void {
  const view = session.view.types.get(type.typeUrl);
  // While the transport is busy others change what is to be sent.
  if (view === undefined || session.unwritten > 0 || session.clustersGone.size > 0) return;
  const opening = openingOf(view, names);
  if (opening === undefined) return;
  // Of some it is not said that they are not there.
  if (opening.absent.length > 0 && SILENTLY_ABSENT.has(type.typeUrl)) return;
  type.opening = opening;
}

const SILENTLY_ABSENT: ReadonlySet<string> = new Set([TYPE_URLS.extensionConfig, VIRTUAL_HOST]);

/** State of the world, later requests. */
export function changeSotw(session: Session, type: TypeState, change: SubscriptionChange, now: number): void {
  dropNames(session, type, change);
  recall(session, type, change.asked, now);
  // A name is sent again even if the wildcard brought it before: the client may have forgotten it.
  for (const name of change.asked) {
    type.held.delete(name);
    type.pending.add(name);
  }
  if (change.wildcardAsked) {
    for (const { name } of resourcesOf(session, type)) type.pending.add(name);
    type.answer = true;
  }
}

/**
 * Delta, first request for a type.
 *
 * @param claims  name → version that the client holds from an earlier stream
 */
export function openDelta(
  session: Session,
  type: TypeState,
  change: SubscriptionChange,
  claims: ReadonlyMap<string, string>,
  now: number,
): void {
  const due = session.due.get(type.typeUrl);
  if (claims.size > 0) session.reconnected = true;
  for (const [name, version] of claims) {
    if (wants(session, type, name)) type.held.set(name, due?.has(name) ? UNKNOWN : version);
  }
  // Of a group that is not known (yet) nothing is known to be gone: a node that has something keeps it.
  if (!session.view.known) {
    type.answer = type.subscription.wildcard && claims.size === 0;
    return;
  }
  takeLeftovers(session, type, claims);
  if (claims.size === 0 && type.rejected.size === 0) {
    const { wildcard, names } = type.subscription;
    if (!wildcard) open(session, type, change.asked);
    else if (names.size === 0) open(session, type, undefined);
    if (type.opening !== undefined) {
      // Envoy's start waits for a first answer, also where there is nothing.
      type.answer = wildcard && type.opening.resources.length === 0;
      return;
    }
  }
  const target = changedIn(session, type);
  const names = new Set(change.asked);
  if (type.subscription.wildcard) {
    for (const { name } of resourcesOf(session, type)) names.add(name);
    for (const name of type.held.keys()) names.add(name);
    // Envoy's start waits for a first answer, also where there is nothing.
    type.answer = names.size === 0;
  }
  for (const name of names) {
    const wanted = served(session, type, name);
    if (claims.size > 0 && wanted !== undefined && wanted.version === type.rejected.get(name)) continue;
    const gone = type.held.has(name) && wanted === undefined;
    if (gone && type.traits.removedLast) type.retained.set(name, { resource: undefined, since: now });
    else if (type.held.get(name) !== wanted?.version) target.add(name);
    else type.pending.add(name);
  }
  for (const resource of expiringOf(session.view.types.get(type.typeUrl))) {
    if (type.held.get(resource.name) === resource.version) keepAlive(session, type, resource, now);
  }
}

/**
 * What the node refused in an earlier stream is not tried again by reconnecting, and what may have been applied of it
 * is remembered, though the node does not claim it. (A node that claims nothing has most likely just started: it is
 * given everything.)
 */
function takeLeftovers(session: Session, type: TypeState, claims: ReadonlyMap<string, string>): void {
  const leftover = session.leftovers.get(type.typeUrl);
  if (leftover === undefined) return;
  for (const [name, version] of leftover.rejected) {
    if (!wants(session, type, name)) continue;
    // It took since what it had refused. Of any other version it may run what it refused, whatever it claims.
    if (version !== undefined && claims.get(name) === version) continue;
    type.held.set(name, UNKNOWN);
    type.rejected.set(name, version);
  }
  type.rejectedVersion = leftover.version;
  // What is at fault is held back by now: the rest may have suffered with it, and is tried without it.
  if (session.node?.isEnvoy && type.rejected.size > 0) type.suspects.push([...type.rejected.keys()]);
}

/** Delta, later requests. */
export function changeDelta(session: Session, type: TypeState, change: SubscriptionChange): void {
  dropNames(session, type, change);
  for (const name of change.asked) {
    type.held.set(name, UNKNOWN);
    type.pending.add(name);
  }
  if (change.wildcardAsked) {
    for (const { name } of resourcesOf(session, type)) {
      type.held.set(name, UNKNOWN);
      type.pending.add(name);
    }
    // What is still on its way to the client would come to stay, though it is gone.
    for (const { resources } of type.outstanding.values()) for (const { name } of resources) tellAgain(type, name);
    type.answer = true;
  }
  // Still in the wildcard, or gone: the client has forgotten the name and waits to hear which.
  if (!type.subscription.wildcard) return;
  for (const name of change.dropped) {
    type.held.set(name, UNKNOWN);
    type.pending.add(name);
  }
}

function dropNames(session: Session, type: TypeState, change: SubscriptionChange): void {
  if (change.wildcardDropped) {
    for (const name of [...type.held.keys()]) if (!covers(type.subscription, name)) forget(type, name);
  }
  for (const name of change.dropped) {
    if (!covers(type.subscription, name)) forget(type, name);
    const aliased = aliasesOf(session.view.types.get(type.typeUrl)).get(name);
    if (aliased !== undefined && !wants(session, type, aliased)) forget(type, aliased);
  }
}

/** All resources of the type in the view. */
export function resourcesOf(session: Session, type: TypeState): Iterable<ServedResource> {
  return session.view.types.get(type.typeUrl)?.resources.values() ?? [];
}
