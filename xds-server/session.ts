import { TYPE_URLS } from "../envoy/index.ts";
import { heartbeatDue, nextHeartbeat } from "./heartbeat.ts";
import { ABSENT, UNKNOWN } from "./held-versions.ts";
import { type NodeIdentity, namingProblem } from "./node-identity.ts";
import { earlier, release, settled } from "./plan.ts";
import { type Response, respond } from "./respond.ts";
import {
  countNames,
  hasPending,
  isEnvoy,
  newTypeState,
  type Protocol,
  type Resolve,
  type Session,
  type SessionSettings,
  suspectsDue,
  type TypeState,
  wants,
} from "./session-state.ts";
import { type Answer, settle } from "./settle.ts";
import { changeDelta, changeSotw, openDelta, openSotw, resourcesOf } from "./subscribe.ts";
import { changeNames, replaceNames } from "./subscription.ts";
import { noteAsked } from "./taken-up.ts";
import { type Changes, type GroupView, inSendOrder, sameTerms, unknownGroup } from "./view.ts";

/** A request of either protocol. */
export interface SessionRequest {
  readonly typeUrl: string;
  /** Only the first request of a stream needs it. */
  readonly node: NodeIdentity | undefined;
  /** Of the response that it answers; "" for none. */
  readonly nonce: string;
  /** Why the response was refused; undefined: it was not. */
  readonly error: string | undefined;
  readonly names:
    | { readonly protocol: "sotw"; readonly versionInfo: string; readonly names: readonly string[] }
    | {
        readonly protocol: "delta";
        readonly subscribe: readonly string[];
        readonly unsubscribe: readonly string[];
        /** Name → version that the client holds from an earlier stream. */
        readonly claims: ReadonlyMap<string, string>;
      };
}

export type SessionEvent =
  | { readonly kind: "request"; readonly request: SessionRequest; readonly now: number }
  | { readonly kind: "view"; readonly view: GroupView; readonly changes: Changes; readonly now: number }
  /** The transport has taken a response. */
  | { readonly kind: "written"; readonly now: number }
  /** The time that the last "wake" named has come. */
  | { readonly kind: "tick"; readonly now: number };

export type Effect =
  | { readonly kind: "send"; readonly response: Response }
  /** Deliver a tick then; undefined: no more. Replaces the wake before. */
  | { readonly kind: "wake"; readonly at: number | undefined }
  | Answer
  /** The node now runs all of this revision. */
  | { readonly kind: "acknowledged"; readonly revision: number; readonly layout: string; readonly publishedAt: number }
  /** The client broke the protocol; the stream ends, and nothing follows. */
  | { readonly kind: "close"; readonly code: "invalid-argument" | "resource-exhausted"; readonly reason: string };

export interface SessionOptions {
  readonly protocol: Protocol;
  readonly noncePrefix: string;
  /** The one type of a separate stream; left out: any type (ADS). */
  readonly only?: string | undefined;
  readonly settings: SessionSettings;
  readonly resolve: Resolve;
}

export function createSession(options: SessionOptions): Session {
  return {
    ...options,
    only: options.only,
    types: new Map(),
    inSendOrder: [],
    clustersGone: new Set(),
    notTakenUp: new Map(),
    due: new Map(),
    node: undefined,
    view: unknownGroup(""),
    leftovers: new Map(),
    namesElsewhere: () => 0,
    identifiedAt: 0,
    reconnected: false,
    responses: 0,
    unwritten: 0,
    orderDeadline: undefined,
    wakeAt: undefined,
    acknowledgedRevision: undefined,
    closed: false,
  };
}

/**
 * The state machine of one stream: takes an event, updates the session, and returns what is to be done. No input or
 * output, no clock, no randomness: the same events give the same effects. The session is updated in place rather than
 * copied: a copy of what a client holds, for each acknowledgement, costs more than all the rest.
 */
export function advance(session: Session, event: SessionEvent): readonly Effect[] {
  if (session.closed) return [];
  const effects: Effect[] = [];
  switch (event.kind) {
    case "request": {
      const refusal = onRequest(session, event.request, event.now, effects);
      if (refusal !== undefined) {
        session.closed = true;
        return [...effects, refusal];
      }
      break;
    }
    case "view":
      onView(session, event.view, event.changes, event.now);
      break;
    case "written":
      session.unwritten -= 1;
      break;
    case "tick":
      session.wakeAt = undefined;
      break;
  }
  flush(session, event.now, effects);
  if (session.acknowledgedRevision !== session.view.revision && settled(session)) {
    const { revision, layout, publishedAt } = session.view;
    session.acknowledgedRevision = revision;
    effects.push({ kind: "acknowledged", revision, layout, publishedAt });
  }
  return effects;
}

/** Makes all responses that are due, unless the transport still has some: then changes merge until it has not. */
function flush(session: Session, now: number, effects: Effect[]): void {
  let wake = release(session, now);
  if (session.unwritten === 0) {
    // What is sent in parts goes on when the transport has taken the one before.
    const inParts: TypeState[] = [];
    // What is sent with its parent may come earlier in the order than the parent; it has no children of its own.
    for (let round = 0; round < 2 && somethingDue(session, now); round++) {
      for (const type of session.inSendOrder) {
        if (inParts.includes(type)) continue;
        const response = respond(session, type, now);
        if (response === undefined) continue;
        if (hasPending(type)) inParts.push(type);
        session.unwritten += 1;
        effects.push({ kind: "send", response });
      }
      wake = release(session, now);
    }
  }
  wake = earlier(wake, nextHeartbeat(session, now));
  if (wake !== session.wakeAt) {
    session.wakeAt = wake;
    effects.push({ kind: "wake", at: wake });
  }
}

function somethingDue(session: Session, now: number): boolean {
  for (const type of session.inSendOrder) {
    if (hasPending(type) || type.answer || suspectsDue(type) || heartbeatDue(type, now)) return true;
  }
  return false;
}

type Refusal = Extract<Effect, { kind: "close" }>;

function onRequest(session: Session, request: SessionRequest, now: number, effects: Effect[]): Refusal | undefined {
  const refusal = identify(session, request, now);
  if (refusal !== undefined) return refusal;
  // A stream of one type need not say which (discovery.proto: "implicit in requests made via singleton xDS APIs").
  const typeUrl = request.typeUrl === "" ? session.only : request.typeUrl;
  if (typeUrl === undefined) return invalid("the request has no type_url, which ADS needs");
  if (session.only !== undefined && typeUrl !== session.only) {
    return invalid(`this stream serves ${session.only} and not ${typeUrl}`);
  }

  let type = session.types.get(typeUrl);
  if (type === undefined) {
    if (session.types.size >= session.settings.maxTypes) return exhausted("too many resource types in one stream");
    type = newTypeState(typeUrl);
    session.types.set(typeUrl, type);
    session.inSendOrder = inSendOrder([...session.types.values()]);
  }
  const first = !type.requested;
  type.requested = true;
  if (request.names.protocol === "sotw") {
    const { names, versionInfo } = request.names;
    const tooMany = namingTooMuch(session, type, names.length);
    if (tooMany !== undefined) return tooMany;
    // Nothing was sent yet: whatever nonce there is comes from an earlier stream (envoyproxy/envoy#30155).
    if (type.nonce !== "" && request.nonce !== type.nonce) return undefined;
    // A complete list has what is at fault in it until the view has not.
    report(settle(type, request.nonce, request.error, now, isEnvoy(session) && !type.traits.complete), effects);
    const change = replaceNames(type.subscription, names, first, type.traits.emptyMeansAll);
    if (first) openSotw(session, type, change, versionInfo, now);
    else changeSotw(session, type, change, now);
  } else {
    const { subscribe, unsubscribe, claims } = request.names;
    const size = Math.max(type.subscription.names.size + subscribe.length, unsubscribe.length, claims.size);
    const tooMany = namingTooMuch(session, type, size);
    if (tooMany !== undefined) return tooMany;
    report(settle(type, request.nonce, request.error, now, isEnvoy(session)), effects);
    const change = changeNames(type.subscription, subscribe, unsubscribe, first, type.traits.emptyMeansAll);
    if (first) openDelta(session, type, change, claims, now);
    else changeDelta(session, type, change);
  }
  if (first) session.due.delete(type.typeUrl);
  noteAsked(session, session.types.get(TYPE_URLS.cluster));
  return undefined;
}

/** The first request says who the client is; later ones may leave it out, and may not say something else. */
function identify(session: Session, request: SessionRequest, now: number): Refusal | undefined {
  if (session.node === undefined) {
    if (request.node === undefined || request.node.id === "") {
      return invalid("the first request of a stream must carry the node with its id");
    }
    const problem = namingProblem(request.node);
    if (problem !== undefined) return invalid(problem);
    const { view, leftovers, namesElsewhere } = session.resolve(request.node);
    session.node = request.node;
    session.view = view;
    session.leftovers = leftovers;
    session.namesElsewhere = namesElsewhere;
    session.identifiedAt = now;
    return undefined;
  }
  if (request.node === undefined || request.node.id === "" || request.node.id === session.node.id) return undefined;
  return invalid(`the stream belongs to node "${session.node.id}" and cannot change to "${request.node.id}"`);
}

function onView(session: Session, view: GroupView, changes: Changes, now: number): void {
  const before = session.view;
  session.view = view;
  for (const type of session.inSendOrder) {
    const names = before.known ? changes.get(type.typeUrl) : allNames(session, type);
    if (names !== undefined) takeChanges(session, type, names, before, now);
  }
}

/** What the first view of a group may change: all there is, and all that the client holds. */
function allNames(session: Session, type: TypeState): string[] {
  const names = new Set([...type.held.keys(), ...type.subscription.names]);
  for (const { name } of resourcesOf(session, type)) names.add(name);
  return [...names];
}

function takeChanges(
  session: Session,
  type: TypeState,
  names: readonly string[],
  before: GroupView,
  now: number,
): void {
  const target = type.traits.afterClusters ? type.waiting : type.pending;
  let effective = false;
  for (const name of names) {
    const resource = session.view.types.get(type.typeUrl)?.resources.get(name);
    let held = type.held.get(name);
    // What is held without being wanted was asked for by an alias that it has lost.
    if (!wants(session, type, name) && held === undefined) continue;
    if (resource !== undefined) {
      type.retained.delete(name);
      const old = before.types.get(type.typeUrl)?.resources.get(name);
      if (old !== undefined && held === resource.version && !sameTerms(old, resource)) {
        held = UNKNOWN;
        type.held.set(name, UNKNOWN);
      }
      if (held === resource.version) continue;
      target.add(name);
      effective = true;
    } else if (retainable(session, type, name)) {
      const old = before.types.get(type.typeUrl)?.resources.get(name) ?? type.retained.get(name)?.resource;
      // What the client refused is not to be served again while it waits to be removed.
      type.retained.set(name, { resource: type.rejected.has(name) ? undefined : old, since: now });
      type.pending.delete(name);
      type.waiting.delete(name);
      effective = true;
    } else if (held !== undefined ? held !== ABSENT : type.subscription.names.has(name)) {
      target.add(name);
      effective = true;
    }
  }
  if (!effective) return;
  type.publishedAt ??= session.view.publishedAt;
  if (type.rejected.size === 0) return;
  const tried = new Set(type.suspects.flat());
  for (const name of type.rejected.keys()) if (!type.retained.has(name) && !tried.has(name)) target.add(name);
}

/** Whether the removal of a name is to wait until routes no longer need it. */
function retainable(session: Session, type: TypeState, name: string): boolean {
  const held = type.held.get(name);
  if (!type.traits.removedLast || held === undefined || held === ABSENT) return false;
  // State of the world repeats what it keeps, and must not repeat what was refused.
  return session.protocol === "delta" || !type.rejected.has(name);
}

function report(answer: Answer | undefined, effects: Effect[]): void {
  if (answer !== undefined) effects.push(answer);
}

function invalid(reason: string): Refusal {
  return { kind: "close", code: "invalid-argument", reason };
}

/**
 * Whether the stream would name too much, or the node with all its streams.
 *
 * @param size  names of the type after the request
 */
function namingTooMuch(session: Session, type: TypeState, size: number): Refusal | undefined {
  const { maxNames, maxNodeNames } = session.settings;
  const names = countNames(session, type) + size;
  if (names > maxNames) return exhausted(`a stream may name ${maxNames} resources at most`);
  // Whoever asks for no more than before is not refused for what other streams came to ask for.
  if (size <= type.subscription.names.size || names + session.namesElsewhere() <= maxNodeNames) return undefined;
  return exhausted(`all streams of a node together may name ${maxNodeNames} resources at most`);
}

function exhausted(reason: string): Refusal {
  return { kind: "close", code: "resource-exhausted", reason };
}
