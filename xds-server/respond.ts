import { create, toBinary } from "@bufbuild/protobuf";
import type { EncodedResource } from "../compiler/index.ts";
import { TYPE_URLS } from "../envoy/index.ts";
import { ClusterLoadAssignmentSchema } from "../protos/gen/envoy/config/endpoint/v3/endpoint_pb.ts";
import { neededByListener } from "./plan.ts";
import { referencesOf } from "./references.ts";
import { ABSENT, type Session, served, servedAll, type TypeState, tellAgain } from "./session-state.ts";
import { covers } from "./subscription.ts";
import { typeVersion, versionOf } from "./view.ts";

/** One response, in the words that both protocols share. */
export interface Response {
  readonly typeUrl: string;
  /** State of the world: version of what is in force with it; delta: version of the type, for people to read. */
  readonly version: string;
  readonly nonce: string;
  readonly resources: readonly EncodedResource[];
  /** Delta only. */
  readonly removed: readonly string[];
}

/** Responses that a client may leave unanswered; older ones are taken for accepted when it answers a newer one. */
const MAX_OUTSTANDING = 32;
/** Clusters taken away in a stream whose endpoints are still answered. */
const MAX_CLUSTERS_GONE = 1_000;

interface Content {
  readonly resources: EncodedResource[];
  readonly removed: string[];
  /** Names that left (state of the world does not say them). */
  readonly gone: string[];
}

/** Makes the response that a type is due, if there is anything to say. */
export function respond(session: Session, type: TypeState): Response | undefined {
  if (type.pending.size === 0 && !type.answer) return undefined;
  const content = session.protocol === "delta" ? changesOf(session, type) : stateOf(session, type);
  const { answer, publishedAt } = type;
  type.pending.clear();
  type.answer = false;
  if (type.waiting.size === 0) type.publishedAt = undefined;
  if (content === undefined) return undefined;
  const { resources, removed, gone } = content;
  if (resources.length === 0 && removed.length === 0 && gone.length === 0 && !answer) return undefined;

  session.responses += 1;
  const nonce = `${session.noncePrefix}${session.responses}`;
  const version = versionFor(session, type, resources);
  type.nonce = nonce;
  type.sentVersion = version;
  type.outstanding.set(nonce, { resources, removed, version, revision: session.view.revision, publishedAt });
  for (const oldest of type.outstanding.keys()) {
    if (type.outstanding.size <= MAX_OUTSTANDING) break;
    type.outstanding.delete(oldest);
  }
  resendChildren(session, type, resources);
  if (type.typeUrl === TYPE_URLS.cluster) answerEndpointsOf(session, gone);
  return { typeUrl: type.typeUrl, version, nonce, resources, removed };
}

function versionFor(session: Session, type: TypeState, resources: readonly EncodedResource[]): string {
  const view = session.view.types.get(type.typeUrl);
  if (session.protocol === "sotw" && type.traits.complete) {
    const whole = type.subscription.wildcard && type.retained.size === 0 && view !== undefined;
    return whole ? typeVersion(view) : versionOf(resources);
  }
  return view === undefined ? versionOf([]) : typeVersion(view);
}

/** The version that a state-of-the-world client with a wildcard would be sent now. */
export function wildcardVersion(session: Session, type: TypeState): string {
  const view = session.view.types.get(type.typeUrl);
  return view === undefined ? versionOf([]) : typeVersion(view);
}

/** Delta: what differs from what the client holds. */
function changesOf(session: Session, type: TypeState): Content {
  const resources: EncodedResource[] = [];
  const removed: string[] = [];
  const { held, subscription } = type;
  for (const name of type.pending) {
    if (!covers(subscription, name)) continue;
    const resource = served(session, type, name);
    const has = held.get(name);
    if (resource !== undefined) {
      if (has === resource.version) continue;
      resources.push(resource);
      held.set(name, resource.version);
    } else if (subscription.names.has(name)) {
      if (has === ABSENT) continue;
      held.set(name, ABSENT);
      // Envoy waits for it, and a removal would break the listener (envoyproxy/envoy#32823).
      if (type.typeUrl === TYPE_URLS.extensionConfig && neededByListener(session, name)) continue;
      removed.push(name);
    } else if (has !== undefined) {
      held.delete(name);
      removed.push(name);
    }
  }
  return { resources, removed, gone: removed };
}

/** State of the world: for listeners and clusters all there is, for other types what the client lacks. */
function stateOf(session: Session, type: TypeState): Content | undefined {
  const { held } = type;
  const gone: string[] = [];
  const changed: EncodedResource[] = [];
  for (const name of type.pending) {
    if (!covers(type.subscription, name)) continue;
    const has = held.get(name);
    const resource = served(session, type, name) ?? endpointsOfGone(session, type, name);
    if (resource !== undefined) {
      if (has !== resource.version) changed.push(resource);
    } else if (has !== undefined && has !== ABSENT) {
      gone.push(name);
      held.delete(name);
    }
    if (resource === undefined) type.rejected.delete(name);
  }
  if (!type.traits.complete) {
    for (const { name, version } of changed) held.set(name, version);
    // A missing resource means nothing here, so there is no way to tell that one is gone.
    return changed.length === 0 && !type.answer ? undefined : { resources: changed, removed: [], gone: [] };
  }
  if (changed.length === 0 && gone.length === 0 && !type.answer) return undefined;
  const resources = [...servedAll(session, type)];
  for (const { name, version } of resources) held.set(name, version);
  return { resources, removed: [], gone };
}

/** Sends the children of what is sent: Envoy may warm the new parent and wait for them (envoyproxy/envoy#13009). */
function resendChildren(session: Session, parent: TypeState, resources: readonly EncodedResource[]): void {
  if (parent.traits.children.length === 0) return;
  for (const resource of resources) {
    const references = referencesOf(resource);
    for (const childUrl of parent.traits.children) {
      const names = references.get(childUrl);
      if (names === undefined) continue;
      const child = session.types.get(childUrl);
      if (child?.requested) {
        for (const name of names) tellAgain(child, name);
      } else {
        const due = session.due.get(childUrl) ?? new Set();
        session.due.set(childUrl, due);
        for (const name of names) due.add(name);
      }
    }
  }
}

/** A client may still be warming the cluster that was just taken away: answer for its endpoints. */
function answerEndpointsOf(session: Session, clusters: readonly string[]): void {
  for (const name of clusters) {
    session.clustersGone.delete(name);
    session.clustersGone.add(name);
  }
  for (const oldest of session.clustersGone) {
    if (session.clustersGone.size <= MAX_CLUSTERS_GONE) break;
    session.clustersGone.delete(oldest);
  }
  const endpoints = session.types.get(TYPE_URLS.endpoint);
  if (endpoints === undefined) return;
  for (const name of clusters) if (endpoints.held.get(name) === undefined) tellAgain(endpoints, name);
}

/** State of the world has no word for "gone": endpoints of a cluster that is gone are an empty assignment. */
function endpointsOfGone(session: Session, type: TypeState, name: string): EncodedResource | undefined {
  if (type.typeUrl !== TYPE_URLS.endpoint || !session.clustersGone.has(name)) return undefined;
  if (typeof type.held.get(name) === "string") return undefined;
  if (session.view.types.get(TYPE_URLS.cluster)?.resources.has(name)) return undefined;
  const value = toBinary(ClusterLoadAssignmentSchema, create(ClusterLoadAssignmentSchema, { clusterName: name }));
  return { typeUrl: type.typeUrl, name, version: "empty", value };
}
