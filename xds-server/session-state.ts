import { HeldVersions, UNKNOWN } from "./held-versions.ts";
import type { NodeIdentity } from "./node-identity.ts";
import type { Opening } from "./opening.ts";
import { type TypeTraits, traitsOf } from "./resource-types.ts";
import type { ServedResource } from "./snapshot.ts";
import { covers, noSubscription, type Subscription } from "./subscription.ts";
import type { GroupView } from "./view.ts";

export type Protocol = "sotw" | "delta";

/** A response that has not been answered yet. */
export interface Batch {
  readonly resources: readonly ServedResource[];
  readonly removed: readonly string[];
  /** Of the content. */
  readonly version: string;
  /** As the client was shown it. */
  readonly shown: string;
  readonly revision: number;
  /** ms since the epoch. */
  readonly sentAt: number;
  /** When the change that caused it was published; undefined when a request caused it. */
  readonly publishedAt: number | undefined;
}

/** A resource that is gone from the view but still served, because routes that the node runs may need it. */
export interface Retained {
  /** undefined: the bytes are not known here (the client claims it since before this process started). */
  readonly resource: ServedResource | undefined;
  /** When its bounded wait began; undefined while it is known to be needed. */
  since: number | undefined;
}

export interface TypeState {
  readonly typeUrl: string;
  readonly traits: TypeTraits;
  readonly subscription: Subscription;
  /** false until the first request for the type; its parents may be sent before. */
  requested: boolean;
  readonly held: HeldVersions;
  /**
   * The first request for the type, of a client that holds nothing of it: it is given all of the opening. Set while that
   * request is being answered, and at no other time.
   */
  opening: Opening | undefined;
  /** What is still to be sent of an opening that was too large for one response, in lists shared with other streams. */
  parts: readonly (readonly ServedResource[])[];
  /** Names to look at when the next response is made. */
  readonly pending: Set<string>;
  /** Names of pushed changes that wait until the clusters are acknowledged. */
  readonly waiting: Set<string>;
  readonly retained: Map<string, Retained>;
  /** Name → when to send its next heartbeat, of what the client holds and would let expire. */
  readonly heartbeats: Map<string, number>;
  /** Name → version (undefined: its removal) that the client refused, or that came in a batch with what it refused. */
  readonly rejected: Map<string, string | undefined>;
  /** The version of the whole type in the response that was refused last. */
  rejectedVersion: string;
  /** What was refused together with something else, in groups that are tried again one after the other. */
  readonly suspects: string[][];
  /** Respond even if there is nothing to say. */
  answer: boolean;
  /** Publishing time of the oldest change that has not been sent. */
  publishedAt: number | undefined;
  /** Newest nonce; "" before the first response. */
  nonce: string;
  readonly outstanding: Map<string, Batch>;
  sentVersion: string;
  ackedVersion: string;
  /** When the client last accepted something; -Infinity before. */
  ackedAt: number;
}

export interface SessionSettings {
  /** How long listeners and routes wait for the acknowledgement of clusters, ms. */
  readonly orderWaitMs: number;
  /** How long what routes no longer need stays after their acknowledgement, ms. */
  readonly removalGraceMs: number;
  /** How long a removal waits for the acknowledgement of routes at most, ms. A refusal of routes is waited out. */
  readonly removalWaitMs: number;
  /** How long a removal waits for a reconnected node to ask for its listeners and routes, ms. */
  readonly reconnectWaitMs: number;
  /** Types in one stream. */
  readonly maxTypes: number;
  /** Names subscribed to (or claimed) in one stream. */
  readonly maxNames: number;
  /**
   * Names subscribed to in all streams of one node together. More than those of one stream: a node that reconnects may
   * have its old stream for a moment.
   */
  readonly maxNodeNames: number;
  /**
   * Size from which a response is sent in parts (delta), bytes; gRPC clients refuse messages of more than 4 MiB unless
   * they are told otherwise. A resource that is larger by itself goes alone, and state of the world is never in parts.
   */
  readonly maxResponseBytes: number;
}

/** What an earlier stream of the same node left behind: content that it refused. */
export type Leftovers = ReadonlyMap<
  string,
  { readonly version: string; readonly rejected: ReadonlyMap<string, string | undefined> }
>;

/** Looks up what a node shall have; called once, at the first request of a stream. */
export type Resolve = (node: NodeIdentity) => {
  readonly view: GroupView;
  readonly leftovers: Leftovers;
  /** Counts the names that the node's other streams subscribe to now. */
  readonly namesElsewhere: () => number;
};

/** One stream. Owned by whoever created it, and updated in place by `advance`. */
export interface Session {
  readonly protocol: Protocol;
  /** Makes nonces of this stream differ from those of any other. */
  readonly noncePrefix: string;
  /** The one type of a separate stream; undefined: any type (ADS). */
  readonly only: string | undefined;
  readonly settings: SessionSettings;
  readonly resolve: Resolve;
  readonly types: Map<string, TypeState>;
  /** Those of `types`, those first whose resources are to be sent first. */
  inSendOrder: readonly TypeState[];
  /** Clusters that were taken away in this stream, the newest few: their endpoints are still answered. */
  readonly clustersGone: Set<string>;
  /** Clusters that were sent to an Envoy and of which it has not shown that it has read them (`taken-up.ts`), by name. */
  readonly notTakenUp: Map<string, ServedResource>;
  /** Children of parents that were sent before the first request for the child's type: type URL → names. */
  readonly due: Map<string, ReadonlySet<string>>;
  node: NodeIdentity | undefined;
  view: GroupView;
  leftovers: Leftovers;
  namesElsewhere: () => number;
  identifiedAt: number;
  /** The first request claimed resources from an earlier stream. */
  reconnected: boolean;
  responses: number;
  /** Responses handed over and not yet taken by the transport; nothing more is made meanwhile. */
  unwritten: number;
  /** Until when listeners and routes wait for clusters. */
  orderDeadline: number | undefined;
  wakeAt: number | undefined;
  acknowledgedRevision: number | undefined;
  closed: boolean;
}

export function newTypeState(typeUrl: string): TypeState {
  return {
    typeUrl,
    traits: traitsOf(typeUrl),
    subscription: noSubscription(),
    requested: false,
    held: new HeldVersions(),
    opening: undefined,
    parts: [],
    pending: new Set(),
    waiting: new Set(),
    retained: new Map(),
    heartbeats: new Map(),
    rejected: new Map(),
    rejectedVersion: "",
    suspects: [],
    answer: false,
    publishedAt: undefined,
    nonce: "",
    outstanding: new Map(),
    sentVersion: "",
    ackedVersion: "",
    ackedAt: Number.NEGATIVE_INFINITY,
  };
}

/** The resource as this stream serves it: from the view, or retained until its removal. */
export function served(session: Session, type: TypeState, name: string): ServedResource | undefined {
  return session.view.types.get(type.typeUrl)?.resources.get(name) ?? type.retained.get(name)?.resource;
}

/** Whether the client asked for the resource, by its name, by one of its aliases, or by the wildcard. */
export function wants(session: Session, type: TypeState, name: string): boolean {
  if (covers(type.subscription, name)) return true;
  const aliases = served(session, type, name)?.aliases;
  return aliases?.some((alias) => type.subscription.names.has(alias)) ?? false;
}

/** Every subscribed resource that exists or is retained. */
export function* servedAll(session: Session, type: TypeState): Generator<ServedResource> {
  const resources = session.view.types.get(type.typeUrl)?.resources;
  if (type.subscription.wildcard) {
    if (resources !== undefined) yield* resources.values();
    for (const [name, { resource }] of type.retained) {
      if (resource !== undefined && !resources?.has(name)) yield resource;
    }
    return;
  }
  for (const name of type.subscription.names) {
    const resource = served(session, type, name);
    if (resource !== undefined) yield resource;
  }
}

/** Marks a name to be told anew, whatever the client holds. */
export function tellAgain(type: TypeState, name: string): void {
  if (!covers(type.subscription, name)) return;
  type.held.set(name, UNKNOWN);
  type.pending.add(name);
}

/** Whether it is said to be an Envoy: what those do that is not in the protocol holds for it. */
export function isEnvoy(session: Session): boolean {
  return session.node?.isEnvoy === true;
}

/** Whether there is something to look at when the next response is made. */
export function hasPending(type: TypeState): boolean {
  return type.pending.size > 0 || type.opening !== undefined || type.parts.length > 0;
}

/** Whether a group of suspects is to be tried now: alone, so that a refusal is theirs. */
export function suspectsDue(type: TypeState): boolean {
  return type.suspects.length > 0 && !hasPending(type) && type.outstanding.size === 0;
}

/** Names that a stream subscribes to, in all types but one. */
export function countNames({ inSendOrder }: Session, except?: TypeState): number {
  let count = 0;
  for (const type of inSendOrder) if (type !== except) count += type.subscription.names.size;
  return count;
}

/** Forgets a name that is not subscribed to any more. */
export function forget(type: TypeState, name: string): void {
  type.held.delete(name);
  type.pending.delete(name);
  type.waiting.delete(name);
  type.retained.delete(name);
  type.heartbeats.delete(name);
  type.rejected.delete(name);
}

/** Content that the client refused, to be held back in its next stream too. */
export function leftoversOf(session: Session): Leftovers {
  const leftovers = new Map();
  for (const [typeUrl, leftover] of session.leftovers) {
    if (!session.types.get(typeUrl)?.requested) leftovers.set(typeUrl, leftover);
  }
  for (const type of session.types.values()) {
    if (type.rejected.size === 0) continue;
    leftovers.set(type.typeUrl, { version: type.rejectedVersion, rejected: new Map(type.rejected) });
  }
  return leftovers;
}
