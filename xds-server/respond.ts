import { create, toBinary } from "@bufbuild/protobuf";
import { TYPE_URLS } from "../envoy/index.ts";
import { ClusterLoadAssignmentSchema } from "../protos/gen/envoy/config/endpoint/v3/endpoint_pb.ts";
import { beatAfter, keepAlive, takeBeats, usesTtl } from "./heartbeat.ts";
import { ABSENT, UNKNOWN } from "./held-versions.ts";
import { type Opening, openingOf } from "./opening.ts";
import { neededByListener } from "./plan.ts";
import { namesReferencedBy } from "./references.ts";
import { VIRTUAL_HOST } from "./resource-types.ts";
import { inParts, RESPONSE_HEAD, sizeOf } from "./response-size.ts";
import {
  type Batch,
  hasPending,
  isEnvoy,
  type Session,
  served,
  servedAll,
  suspectsDue,
  type TypeState,
  tellAgain,
  wants,
} from "./session-state.ts";
import type { ServedResource } from "./snapshot.ts";
import { covers } from "./subscription.ts";
import { noteSent } from "./taken-up.ts";
import { aliasesOf, typeVersion, versionOf } from "./view.ts";

/** One response, in the words that both protocols share. */
export interface Response {
  readonly typeUrl: string;
  /** State of the world: version of what is in force with it; delta: version of the type, for people to read. */
  readonly version: string;
  readonly nonce: string;
  readonly resources: readonly ServedResource[];
  /** Delta only. */
  readonly removed: readonly string[];
  /** Told without a body: heartbeats, and virtual hosts that do not exist. */
  readonly bodiless: readonly Bodiless[];
  /** Whether the client is told how long resources live. */
  readonly ttl: boolean;
  /** The list of resources is that of other responses, too. */
  readonly shared: boolean;
}

export interface Bodiless {
  readonly name: string;
  readonly version: string;
  readonly ttlMs?: number | undefined;
  readonly aliases?: readonly string[] | undefined;
}

/** Responses that a client may leave unanswered; older ones are taken for accepted when it answers a newer one. */
const MAX_OUTSTANDING = 32;
/** Clusters taken away in a stream whose endpoints are still answered. */
const MAX_CLUSTERS_GONE = 1_000;

interface Content {
  readonly resources: readonly ServedResource[];
  readonly removed: readonly string[];
  /** Names that left (state of the world does not say them). */
  readonly gone: readonly string[];
  readonly bodiless: readonly Bodiless[];
  /** Left out: false. */
  readonly shared?: boolean;
}

/** Makes the response that a type is due, if there is anything to say. */
export function respond(session: Session, type: TypeState, now: number): Response | undefined {
  return respondWithContent(session, type, now) ?? respondWithHeartbeats(session, type, now);
}

function respondWithContent(session: Session, type: TypeState, now: number): Response | undefined {
  if (suspectsDue(type)) {
    for (const name of type.suspects.shift() ?? []) {
      if (type.rejected.has(name) && !type.retained.has(name)) type.pending.add(name);
    }
  }
  const { answer, opening } = type;
  if (!hasPending(type) && !answer) return undefined;
  const content = nextContent(session, type);
  type.answer = false;
  const more = hasPending(type);
  // A change has arrived with its last part.
  const publishedAt = more ? undefined : type.publishedAt;
  if (type.waiting.size === 0 && !more) type.publishedAt = undefined;
  if (content === undefined) return undefined;
  const { resources, removed, gone, bodiless, shared = false } = content;
  if (resources.length + removed.length + gone.length + bodiless.length === 0 && !answer) return undefined;

  const version = versionFor(session, type, resources);
  const shown = session.view.types.get(type.typeUrl)?.label ?? version;
  const response = send(session, type, { resources, removed, bodiless, version: shown, shared });
  record(session, type, { nonce: response.nonce, resources, removed, version, shown, sentAt: now, publishedAt });
  if (opening === undefined) {
    for (const resource of resources) keepAlive(session, type, resource, beatAfter(resource, now));
    for (const name of removed) type.heartbeats.delete(name);
  }
  resendChildren(session, type, resources);
  if (type.typeUrl === TYPE_URLS.cluster) {
    answerEndpointsOf(session, gone);
    for (const name of gone) session.notTakenUp.delete(name);
    // A node that has nothing yet has no routes that are to go on.
    if (opening === undefined && isEnvoy(session)) noteSent(session, type, resources);
  }
  return response;
}

/** What the next response says; what does not fit into it stays to be said. */
function nextContent(session: Session, type: TypeState): Content | undefined {
  const { opening } = type;
  if (opening !== undefined) {
    type.opening = undefined;
    type.pending.clear();
    return contentOf(session, type, opening);
  }
  while (type.parts.length > 0) {
    const [part = [], ...others] = type.parts;
    type.parts = others;
    const content = partOf(session, type, part);
    if (content.resources.length > 0) return content;
  }
  if (session.protocol === "delta") return changesOf(session, type);
  const content = stateOf(session, type);
  type.pending.clear();
  return content;
}

/**
 * A response of its own: a client takes a bodiless resource for a heartbeat only where the version is the one that it
 * accepted last. In state of the world a list of clusters or listeners is complete, so what does not expire comes too.
 */
function respondWithHeartbeats(session: Session, type: TypeState, now: number): Response | undefined {
  const beats = takeBeats(session, type, now);
  if (beats.length === 0) return undefined;
  const complete = session.protocol === "sotw" && type.traits.complete;
  const others = complete ? [...servedAll(session, type)].filter((resource) => !beats.includes(resource)) : [];
  const shown = type.sentVersion === "" ? shownVersion(session, type) : type.sentVersion;
  const bodiless = beats.map(({ name, version, ttlMs }) => ({ name, version, ttlMs }));
  const response = send(session, type, { resources: others, removed: [], bodiless, version: shown });
  const version = wildcardVersion(session, type);
  record(session, type, {
    nonce: response.nonce,
    resources: [],
    removed: [],
    version,
    shown,
    sentAt: now,
    publishedAt: undefined,
  });
  return response;
}

function send(
  session: Session,
  type: TypeState,
  content: Pick<Response, "resources" | "removed" | "bodiless" | "version"> & { readonly shared?: boolean },
): Response {
  session.responses += 1;
  const nonce = `${session.noncePrefix}${session.responses}`;
  type.nonce = nonce;
  type.sentVersion = content.version;
  return { typeUrl: type.typeUrl, nonce, ttl: usesTtl(session), shared: false, ...content };
}

/** Keeps what was sent until it is answered. */
function record(
  session: Session,
  type: TypeState,
  { nonce, ...batch }: Omit<Batch, "revision"> & { readonly nonce: string },
): void {
  type.outstanding.set(nonce, { ...batch, revision: session.view.revision });
  for (const oldest of type.outstanding.keys()) {
    if (type.outstanding.size <= MAX_OUTSTANDING) break;
    type.outstanding.delete(oldest);
  }
}

function versionFor(session: Session, type: TypeState, resources: readonly ServedResource[]): string {
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

/** What the client would be shown as the version of the whole type now. */
function shownVersion(session: Session, type: TypeState): string {
  return session.view.types.get(type.typeUrl)?.label ?? wildcardVersion(session, type);
}

/** What a client is given that had nothing. */
function contentOf(session: Session, type: TypeState, { resources, absent, versions }: Opening): Content {
  type.held.replace(versions);
  if (session.protocol === "sotw") return { resources, removed: NONE, gone: NONE, bodiless: [], shared: true };
  for (const name of absent) type.held.set(name, ABSENT);
  const [first = resources, ...others] = inParts(resources, session.settings.maxResponseBytes);
  type.parts = others;
  return { resources: first, removed: absent, gone: NONE, bodiless: [], shared: true };
}

/** The next part of an opening, without what changed or was given up since: of that other responses tell. */
function partOf(session: Session, type: TypeState, part: readonly ServedResource[]): Content {
  const asBefore = ({ name, version }: ServedResource) =>
    type.held.get(name) === version && served(session, type, name)?.version === version;
  if (part.every(asBefore)) return { resources: part, removed: NONE, gone: NONE, bodiless: [], shared: true };
  return { resources: part.filter(asBefore), removed: NONE, gone: NONE, bodiless: [] };
}

const NONE: readonly string[] = [];

/** Delta: what differs from what the client holds, as much of it as one response may have. */
function changesOf(session: Session, type: TypeState): Content {
  const resources: ServedResource[] = [];
  const removed: string[] = [];
  const bodiless: Bodiless[] = [];
  const { held, subscription } = type;
  const { maxResponseBytes } = session.settings;
  let bytes = RESPONSE_HEAD;
  resolveAliases(session, type);
  for (const name of type.pending) {
    const resource = served(session, type, name);
    const wanted = resource !== undefined && wants(session, type, name) ? resource : undefined;
    const has = held.get(name);
    if (wanted === undefined) bytes += name.length;
    else if (has !== wanted.version) bytes += sizeOf(wanted);
    if (bytes > maxResponseBytes && resources.length + removed.length > 0) break;
    type.pending.delete(name);
    if (wanted !== undefined) {
      if (has === wanted.version) continue;
      resources.push(wanted);
      held.set(name, wanted.version);
    } else if (subscription.names.has(name)) {
      if (has === ABSENT) continue;
      held.set(name, ABSENT);
      // Envoy waits for it, and a removal would break the listener (envoyproxy/envoy#32823).
      if (type.typeUrl === TYPE_URLS.extensionConfig && neededByListener(session, name)) continue;
      // The request that asked for a host goes on (to a 404) when its alias comes without a body (vhds.rst).
      if (type.typeUrl === VIRTUAL_HOST && typeof has !== "string")
        bodiless.push({ name, version: "", aliases: [name] });
      else removed.push(name);
    } else if (has !== undefined) {
      held.delete(name);
      removed.push(name);
    }
  }
  return { resources, removed, gone: removed, bodiless };
}

/** Puts the resource itself in the place of an alias that it was asked by. */
function resolveAliases(session: Session, type: TypeState): void {
  const aliases = aliasesOf(session.view.types.get(type.typeUrl));
  if (aliases.size === 0) return;
  for (const name of [...type.pending]) {
    const target = aliases.get(name);
    if (target === undefined || served(session, type, name) !== undefined) continue;
    type.pending.delete(name);
    type.pending.add(target);
    if (type.held.get(name) === UNKNOWN) type.held.set(target, UNKNOWN);
    type.held.delete(name);
  }
}

/** State of the world: for listeners and clusters all there is, for other types what the client lacks. */
function stateOf(session: Session, type: TypeState): Content | undefined {
  const { held } = type;
  const gone: string[] = [];
  const changed: ServedResource[] = [];
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
    return changed.length === 0 && !type.answer
      ? undefined
      : { resources: changed, removed: [], gone: [], bodiless: [] };
  }
  if (changed.length === 0 && gone.length === 0 && !type.answer) return undefined;
  const whole = wholeOf(session, type);
  if (whole !== undefined) {
    held.replace(whole.versions);
    return { resources: whole.resources, removed: NONE, gone, bodiless: [], shared: true };
  }
  const resources = [...servedAll(session, type)];
  for (const { name, version } of resources) held.set(name, version);
  return { resources, removed: [], gone, bodiless: [] };
}

/** All there is, made once for all who get all of it. */
function wholeOf({ view }: Session, { typeUrl, subscription, retained }: TypeState): Opening | undefined {
  const all = view.types.get(typeUrl);
  if (all === undefined || !subscription.wildcard || subscription.names.size > 0 || retained.size > 0) return undefined;
  return openingOf(all, undefined);
}

/** Sends the children of what is sent: Envoy may warm the new parent and wait for them (envoyproxy/envoy#13009). */
function resendChildren(session: Session, parent: TypeState, resources: readonly ServedResource[]): void {
  if (resources.length === 0) return;
  for (const childUrl of parent.traits.children) {
    const names = namesReferencedBy(resources, childUrl);
    if (names.size === 0) continue;
    const child = session.types.get(childUrl);
    if (child?.requested) {
      for (const name of names) tellAgain(child, name);
    } else {
      noteDue(session, childUrl, names);
    }
  }
}

/** @param names  kept as they are where they are the first */
function noteDue(session: Session, childUrl: string, names: ReadonlySet<string>): void {
  const due = session.due.get(childUrl);
  if (due === undefined) session.due.set(childUrl, names);
  else if (!names.isSubsetOf(due)) session.due.set(childUrl, due.union(names));
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
function endpointsOfGone(session: Session, type: TypeState, name: string): ServedResource | undefined {
  if (type.typeUrl !== TYPE_URLS.endpoint || !session.clustersGone.has(name)) return undefined;
  if (typeof type.held.get(name) === "string") return undefined;
  if (session.view.types.get(TYPE_URLS.cluster)?.resources.has(name)) return undefined;
  const value = toBinary(ClusterLoadAssignmentSchema, create(ClusterLoadAssignmentSchema, { clusterName: name }));
  return { typeUrl: type.typeUrl, name, version: "empty", value };
}
