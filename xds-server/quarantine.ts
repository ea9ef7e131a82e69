export interface QuarantineSettings {
  /**
   * Hold what one node refused back from all nodes of its group and build that have not accepted it: they would refuse
   * it, too.
   */
  readonly holdBackFromBuild: boolean;
  /** Share of a group's connected nodes (at least two) whose refusals hold a resource back from the whole group; (0, 1]. */
  readonly groupShare: number;
}

export const DEFAULT_QUARANTINE_SETTINGS: QuarantineSettings = { holdBackFromBuild: true, groupShare: 0.5 };

/** Whom a resource is held back from: the nodes that refused it, all of their build, or all of the group. */
export type QuarantineScope = "node" | "build" | "group";

/** A version of a resource that nodes of a group refused. */
export interface QuarantineEntry {
  readonly typeUrl: string;
  readonly name: string;
  readonly version: string;
  /** Of the revision that brought it. */
  readonly revision: number;
  /** What the first node that refused it said. */
  readonly message: string;
  /** When that was, ms since the epoch. */
  readonly since: number;
  /** Node id → build. */
  readonly refusers: ReadonlyMap<string, string>;
  readonly builds: ReadonlySet<string>;
  readonly wholeGroup: boolean;
  /** What came before was refused, too: there is nothing to stay on. */
  readonly lastGoodRefused: boolean;
}

/** Type URL and name → entry. One for each resource: of a resource there is one newest version. Immutable. */
export type Quarantine = ReadonlyMap<string, QuarantineEntry>;

export const NO_QUARANTINE: Quarantine = new Map();
/** Of one group; the oldest is let go, and would be refused once more. */
export const MAX_ENTRIES = 1_000;
/** Of one entry: the share of the group is reached long before, or the group is larger than a table of nodes. */
const MAX_REFUSERS = 1_000;

export interface Refusal {
  readonly typeUrl: string;
  readonly name: string;
  readonly version: string;
  readonly revision: number;
  readonly message: string;
  readonly node: { readonly id: string; readonly build: string };
  readonly at: number;
}

/** What the fleet knows that the refusing node does not. */
export interface RefusalFacts {
  /** Nodes of the group with an open stream. */
  readonly connected: number;
  /** The node tries new content for its group. */
  readonly canary: boolean;
  /** Another node of the same build holds the refused version: the reason lies with the node, not with the build. */
  readonly acceptedByBuild: boolean;
}

export function keyOf(typeUrl: string, name: string): string {
  return `${typeUrl}\n${name}`;
}

/** Takes a refusal in. The same quarantine comes back where nothing changes. */
export function quarantine(
  before: Quarantine,
  refusal: Refusal,
  facts: RefusalFacts,
  settings: QuarantineSettings,
): Quarantine {
  const { typeUrl, name, version, revision, message, node, at } = refusal;
  const key = keyOf(typeUrl, name);
  const known = before.get(key);
  if (known !== undefined && known.version !== version) {
    // An older version in the place of the newest can only be the last good one that was sent instead.
    if (known.lastGoodRefused) return before;
    return new Map(before).set(key, { ...known, lastGoodRefused: true });
  }
  if (known?.refusers.has(node.id)) return before;
  const refusers = new Map(known?.refusers);
  if (refusers.size < MAX_REFUSERS) refusers.set(node.id, node.build);
  const builds = new Set(known?.builds);
  if (settings.holdBackFromBuild && !facts.acceptedByBuild) builds.add(node.build);
  const shared = refusers.size >= 2 && refusers.size >= settings.groupShare * facts.connected;
  const entry: QuarantineEntry = {
    ...(known ?? { typeUrl, name, version, revision, message, since: at, lastGoodRefused: false }),
    refusers,
    builds,
    wholeGroup: known?.wholeGroup === true || facts.canary || shared,
  };
  const next = new Map(before).set(key, entry);
  for (const oldest of next.keys()) {
    if (next.size <= MAX_ENTRIES) break;
    next.delete(oldest);
  }
  return next;
}

/** Lets go what has new content, or is gone. */
export function released(
  before: Quarantine,
  changed: { has(typeUrl: string): boolean },
  versionNow: (typeUrl: string, name: string) => string | undefined,
): Quarantine {
  if (before.size === 0) return before;
  let next: Map<string, QuarantineEntry> | undefined;
  for (const [key, { typeUrl, name, version }] of before) {
    if (!changed.has(typeUrl) || versionNow(typeUrl, name) === version) continue;
    next ??= new Map(before);
    next.delete(key);
  }
  return next ?? before;
}

/**
 * Takes in what a process before this one remembered, as far as a view has it: the refused version is served again.
 *
 * @param isKnown  whether it is known what a node is given in its place
 * @returns the quarantine, and what may still come: entries of revisions that are newer than the view's
 */
export function recalled(
  before: Quarantine,
  remembered: Quarantine,
  revision: number,
  versionNow: (typeUrl: string, name: string) => string | undefined,
  isKnown: (entry: QuarantineEntry) => boolean,
): { readonly quarantine: Quarantine; readonly remembered: Quarantine } {
  const next = new Map(before);
  const rest = new Map<string, QuarantineEntry>();
  for (const [key, entry] of remembered) {
    if (versionNow(entry.typeUrl, entry.name) === entry.version) {
      // Without its last good, a node that holds that would be told to drop it: then it may rather refuse once more.
      if (!next.has(key) && next.size < MAX_ENTRIES && isKnown(entry)) next.set(key, entry);
    } else if (entry.revision > revision) rest.set(key, entry);
  }
  return { quarantine: next.size === before.size ? before : next, remembered: rest };
}

/** Whom an entry holds its resource back from; undefined: not from this node. */
function scopeFor(
  { wholeGroup, builds, refusers }: QuarantineEntry,
  node: Refusal["node"],
): QuarantineScope | undefined {
  if (wholeGroup) return "group";
  if (builds.has(node.build)) return "build";
  return refusers.has(node.id) ? "node" : undefined;
}

/** The widest scope that an entry has. */
export function widestScope({ wholeGroup, builds }: QuarantineEntry): QuarantineScope {
  if (wholeGroup) return "group";
  return builds.size > 0 ? "build" : "node";
}

/** The entries that hold something back from a node. */
export function heldBackFrom(quarantine: Quarantine, node: Refusal["node"]): QuarantineEntry[] {
  const held: QuarantineEntry[] = [];
  for (const entry of quarantine.values()) if (scopeFor(entry, node) !== undefined) held.push(entry);
  return held;
}
