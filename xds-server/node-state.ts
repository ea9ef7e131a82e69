import { TYPE_URLS } from "../envoy/index.ts";
import type { ConnectedNode } from "./client-status.ts";
import { type NodeIdentity, type NodePlan, subscriberOf } from "./node-identity.ts";
import { heldBackFrom, type Quarantine, type QuarantineScope, widestScope } from "./quarantine.ts";
import { countNames, type Leftovers, leftoversOf, type Session } from "./session-state.ts";

/** What is known of a node, connected or not. Holds names and versions, never content. */
export interface NodeState {
  readonly id: string;
  /** `node.cluster`: the node group. */
  readonly group: string;
  /** false: no snapshot names the group, so the node is given nothing, and keeps what it has. */
  readonly knownGroup: boolean;
  readonly envoyVersion: string;
  /** Version and source revision, as the node says. */
  readonly build: string;
  readonly plan: NodePlan;
  readonly missingExtensions: readonly string[];
  /** Why a node that could run the reduced plan is not given it. */
  readonly withheld?: string;
  readonly connected: boolean;
  /** Open streams: one with ADS, else one for each type. */
  readonly streams: number;
  /** Types asked for in them, and timers running. */
  readonly watches: number;
  /** RFC 3339: now, as long as it is connected (a silent link is given up within seconds); then when it went. */
  readonly lastSeen: string;
  readonly types: readonly NodeTypeState[];
  /** The newest revision of which the node accepted every type. */
  readonly acknowledgedRevision?: number;
  readonly acknowledgedLayout?: string;
  readonly lastNack?: NodeNack;
  /** What it is not given since it, or nodes like it, refused it. */
  readonly heldBack: readonly NodeHeldBack[];
}

export interface NodeHeldBack {
  readonly typeUrl: string;
  readonly name: string;
  /** Of the revision that brought what was refused. */
  readonly revision: number;
  /** What the first node that refused it said. */
  readonly message: string;
  readonly scope: QuarantineScope;
  /** RFC 3339. */
  readonly since: string;
}

export interface NodeTypeState {
  readonly typeUrl: string;
  /** "" before the first response, and for secrets: a version would let short secrets be guessed. */
  readonly sentVersion: string;
  readonly ackedVersion: string;
  /** Resources that the node holds. */
  readonly resources: number;
}

export interface NodeNack {
  readonly typeUrl: string;
  /** Those that the message names; where it names none, those of the response. */
  readonly resources: readonly string[];
  readonly message: string;
  /** RFC 3339. */
  readonly at: string;
  readonly revision: number;
  /** Whether it stands: nothing the node accepted since has replaced what it refused. */
  readonly standing: boolean;
}

/** Their versions would let short secrets be guessed, so they are shown to nobody. */
export const RESOURCE_TYPES_WITHOUT_VERSION: ReadonlySet<string> = new Set([TYPE_URLS.secret]);

interface NodeEntry {
  identity: NodeIdentity;
  /** Streams that are open, oldest first; a node that reconnects may have two for a moment. */
  readonly sessions: Set<Session>;
  /** The newest stream, open or not. Only its state is read. */
  types: readonly NodeTypeState[];
  lastSeen: number;
  leftovers: Leftovers;
  acknowledged: { readonly revision: number; readonly layout: string } | undefined;
  lastNack: Omit<NodeNack, "standing"> | undefined;
}

/** The nodes that have been seen. Bounded: the longest-gone are forgotten first. */
export interface NodeTable {
  connected(
    session: Session,
    identity: NodeIdentity,
    now: number,
  ): { readonly leftovers: Leftovers; readonly namesElsewhere: () => number };
  /** The session changed: what it holds, accepted or refused. */
  acknowledged(session: Session, revision: number, layout: string): void;
  rejected(session: Session, nack: Omit<NodeNack, "standing" | "at">, now: number): void;
  disconnected(session: Session, now: number): void;
  /** The group is gone: what its nodes refused of it does not matter any more. */
  forgetRefusals(group: string): void;
  /** Those with an open stream. */
  connectedNodes(): Iterable<ConnectedNode>;
  /** Connected nodes. */
  count(): number;
  /** @param now  milliseconds since the epoch */
  states(standing: (node: NodeIdentity) => GroupStanding, now: number): NodeState[];
}

/** What is known of whose resources a node is given. */
export interface GroupStanding {
  readonly knownGroup: boolean;
  readonly withheld: string | undefined;
  readonly quarantine: Quarantine;
}

export function createNodeTable(maxNodes: number): NodeTable {
  /** Most recently connected or disconnected last. */
  const nodes = new Map<string, NodeEntry>();

  const keyOf = (identity: NodeIdentity) => JSON.stringify([identity.group, identity.id]);
  const entries = new WeakMap<Session, NodeEntry>();
  const entryOf = (session: Session) => entries.get(session);

  function touch(key: string, entry: NodeEntry): void {
    nodes.delete(key);
    nodes.set(key, entry);
    if (nodes.size <= maxNodes) return;
    for (const [oldest, { sessions }] of nodes) {
      if (sessions.size > 0) continue;
      nodes.delete(oldest);
      return;
    }
  }

  return {
    connected(session, identity, now) {
      const key = keyOf(identity);
      const known = nodes.get(key);
      // Another build may well take what this one refused.
      const leftovers =
        known !== undefined && known.identity.version === identity.version ? known.leftovers : new Map();
      const entry: NodeEntry = known ?? {
        identity,
        sessions: new Set(),
        types: [],
        lastSeen: now,
        leftovers,
        acknowledged: undefined,
        lastNack: undefined,
      };
      entry.identity = identity;
      entry.leftovers = leftovers;
      entry.lastSeen = now;
      entry.sessions.add(session);
      entries.set(session, entry);
      touch(key, entry);
      const namesElsewhere = () => {
        let count = 0;
        for (const other of entry.sessions) if (other !== session) count += countNames(other);
        return count;
      };
      return { leftovers, namesElsewhere };
    },
    acknowledged(session, revision, layout) {
      const entry = entryOf(session);
      if (entry === undefined) return;
      entry.acknowledged = { revision, layout };
      entry.leftovers = mergedLeftovers(entry, session);
    },
    rejected(session, nack, now) {
      const entry = entryOf(session);
      if (entry === undefined) return;
      entry.lastNack = { ...nack, at: rfc3339(now) };
      entry.leftovers = mergedLeftovers(entry, session);
    },
    disconnected(session, now) {
      const entry = entryOf(session);
      if (entry === undefined || session.node === undefined || !entry.sessions.delete(session)) return;
      entry.types = session.only === undefined ? typesOf(session) : mergedTypes(entry.types, [session]);
      // A stream that overlapped its successor must not overwrite what that one knows.
      if (entry.sessions.size === 0) entry.leftovers = mergedLeftovers(entry, session);
      entry.lastSeen = now;
      touch(keyOf(session.node), entry);
    },
    forgetRefusals(group) {
      for (const entry of nodes.values()) {
        if (subscriberOf(entry.identity).group !== group) continue;
        entry.leftovers = new Map();
        entry.lastNack = undefined;
      }
    },
    *connectedNodes() {
      for (const { identity, sessions, lastNack } of nodes.values()) {
        if (sessions.size > 0) yield { identity, sessions, lastNack };
      }
    },
    count() {
      let connected = 0;
      for (const { sessions } of nodes.values()) if (sessions.size > 0) connected += 1;
      return connected;
    },
    states: (standing, now) => [...nodes.values()].map((entry) => stateOf(entry, standing(entry.identity), now)),
  };
}

function stateOf(entry: NodeEntry, { knownGroup, withheld, quarantine }: GroupStanding, now: number): NodeState {
  const { identity, sessions, acknowledged, lastNack } = entry;
  let { leftovers } = entry;
  for (const session of sessions) leftovers = mergedLeftovers({ leftovers }, session);
  const heldBack = heldBackFrom(quarantine, identity);
  const standing = (typeUrl: string) =>
    leftovers.has(typeUrl) || heldBack.some((held) => held.typeUrl === typeUrl && held.refusers.has(identity.id));
  return {
    id: identity.id,
    group: identity.group,
    knownGroup,
    envoyVersion: identity.version,
    build: identity.build,
    plan: withheld === undefined ? identity.plan : "none",
    missingExtensions: identity.missingExtensions,
    ...(withheld === undefined ? {} : { withheld }),
    connected: sessions.size > 0,
    streams: sessions.size,
    watches: watchesOf(sessions),
    lastSeen: rfc3339(sessions.size > 0 ? now : entry.lastSeen),
    types: sessions.size === 0 ? entry.types : mergedTypes([], sessions),
    ...(acknowledged === undefined
      ? {}
      : { acknowledgedRevision: acknowledged.revision, acknowledgedLayout: acknowledged.layout }),
    ...(lastNack === undefined ? {} : { lastNack: { ...lastNack, standing: standing(lastNack.typeUrl) } }),
    heldBack: heldBack.map((entry) => {
      const { typeUrl, name, revision, message, since } = entry;
      return { typeUrl, name, revision, message, scope: widestScope(entry), since: rfc3339(since) };
    }),
  };
}

/** What the node refused in this stream, and in streams of other types. */
function mergedLeftovers(entry: Pick<NodeEntry, "leftovers">, session: Session): Leftovers {
  const leftovers = new Map(entry.leftovers);
  for (const type of session.types.values()) if (type.requested) leftovers.delete(type.typeUrl);
  for (const [typeUrl, leftover] of leftoversOf(session)) {
    if (session.types.get(typeUrl)?.requested) leftovers.set(typeUrl, leftover);
  }
  return leftovers;
}

/** The newest stream of a type says how the node stands with it. */
function mergedTypes(before: readonly NodeTypeState[], sessions: Iterable<Session>): NodeTypeState[] {
  const types = new Map(before.map((type) => [type.typeUrl, type]));
  for (const session of sessions) for (const type of typesOf(session)) types.set(type.typeUrl, type);
  return [...types.values()];
}

function watchesOf(sessions: ReadonlySet<Session>): number {
  let watches = 0;
  for (const { types, wakeAt } of sessions) {
    if (wakeAt !== undefined) watches += 1;
    for (const { subscription } of types.values()) {
      if (subscription.wildcard || subscription.names.size > 0) watches += 1;
    }
  }
  return watches;
}

function typesOf(session: Session): NodeTypeState[] {
  return [...session.types.values()].map(({ typeUrl, sentVersion, ackedVersion, held }) => {
    const secret = RESOURCE_TYPES_WITHOUT_VERSION.has(typeUrl);
    return {
      typeUrl,
      sentVersion: secret ? "" : sentVersion,
      ackedVersion: secret ? "" : ackedVersion,
      resources: held.sure,
    };
  });
}

function rfc3339(ms: number): string {
  return new Date(ms).toISOString();
}
