import { type ApprovalSources, ruledApprovals } from "../compiler/index.ts";
import { type Inventory, identityOf, type Key, type RegisteredVersion, registeredVersion } from "../resources/index.ts";
import { canonicalJson } from "../revision/index.ts";

/** An approval as it was published. Times are RFC 3339. */
export interface RegisteredApproval {
  readonly kind: "approval";
  readonly key: Key;
  /** Keys of the ModelVersion and the Application. */
  readonly version: Key;
  readonly application: Key;
  readonly jurisdictions: readonly string[];
  readonly approvers: readonly string[];
  /** CEL; absent: none. */
  readonly conditions?: readonly string[];
  readonly validFrom?: string;
  readonly validUntil?: string;
}

export type RegistryEntry = RegisteredVersion | RegisteredApproval;

/** What a published revision changed. */
export interface RegistryChange {
  /** Number of the revision, its source, and when it was published (milliseconds since the epoch). */
  readonly revision: number;
  readonly source: string;
  readonly at: number;
  /** Absent: it was not there before. */
  readonly before?: RegistryEntry;
  /** Absent: it is gone. */
  readonly after?: RegistryEntry;
}

/** Versions and approvals as they were published, over time. Plain data. */
export interface Registry {
  /** What there was before the first of `changes`, by kind and key. */
  readonly base: Readonly<Record<string, RegistryEntry>>;
  /**
   * Milliseconds since the epoch from which on `at` knows; the time of the first revision, unless older ones were let go.
   * Absent: no revision was recorded, and only identities are known.
   */
  readonly since?: number;
  readonly changes: readonly RegistryChange[];
  /** The last of every version that was ever published, by `identityOf`. */
  readonly identities: Readonly<Record<string, RegisteredVersion>>;
}

/** Changes that are kept; older ones go into `base`. */
const MOST_CHANGES = 10_000;
/** Identities that are kept; of versions that are gone the oldest ones go first. */
const MOST_IDENTITIES = 100_000;

const EMPTY: Registry = { base: {}, changes: [], identities: {} };

/** What of a tree goes into the registry. */
export type RegistrySources = ApprovalSources & Pick<Inventory, "approvals">;

/** @returns the same registry where a revision changes nothing in it */
export function recordRevision(
  registry: Registry | undefined,
  inventory: RegistrySources,
  { number, source, at }: { readonly number: number; readonly source: string; readonly at: number },
  mostChanges = MOST_CHANGES,
): Registry {
  const { base, since, changes, identities } = registry ?? EMPTY;
  const before = entriesAfter(base, changes);
  const after = entriesOf(inventory);
  const added: RegistryChange[] = [];
  for (const name of [...new Set([...before.keys(), ...after.keys()])].sort()) {
    const [old, now] = [before.get(name), after.get(name)];
    if (JSON.stringify(old) === JSON.stringify(now)) continue;
    const sides = { ...(old === undefined ? {} : { before: old }), ...(now === undefined ? {} : { after: now }) };
    added.push({ revision: number, source, at, ...sides });
  }
  if (registry?.since !== undefined && added.length === 0) return registry;
  const all = [...changes, ...added];
  const gone = all.slice(0, Math.max(0, all.length - mostChanges));
  return {
    base: gone.length === 0 ? base : Object.fromEntries(entriesAfter(base, gone)),
    since: gone.at(-1)?.at ?? since ?? at,
    changes: all.slice(gone.length),
    identities: identitiesAfter(identities, inventory.modelVersions.map(registeredVersion)),
  };
}

/**
 * Takes in versions that somebody else has published, of whom no more is known.
 *
 * @returns the same registry where it knows them all
 */
export function recordIdentities(
  registry: Registry | undefined,
  versions: readonly RegisteredVersion[],
): Registry | undefined {
  const { identities } = registry ?? EMPTY;
  const isKnown = (version: RegisteredVersion): boolean => {
    const known = identities[identityOf(version)];
    return known !== undefined && canonicalJson(known) === canonicalJson(keepDigest(known, version));
  };
  const news = versions.filter((version) => !isKnown(version));
  if (news.length === 0) return registry;
  return { ...(registry ?? EMPTY), identities: identitiesAfter(identities, news) };
}

/** What was in force at a time, as published; undefined where it is not known any more. */
export function registryAt(registry: Registry, at: number): readonly RegistryEntry[] | undefined {
  if (registry.since === undefined || at < registry.since) return undefined;
  const until = registry.changes.filter((change) => change.at <= at);
  return [...entriesAfter(registry.base, until).values()];
}

function entriesAfter(base: Registry["base"], changes: readonly RegistryChange[]): Map<string, RegistryEntry> {
  const entries = new Map(Object.entries(base));
  for (const { before, after } of changes) {
    if (before !== undefined) entries.delete(nameOf(before));
    if (after !== undefined) entries.set(nameOf(after), after);
  }
  return entries;
}

function entriesOf(inventory: RegistrySources): Map<string, RegistryEntry> {
  const entries = [
    ...inventory.modelVersions.map(registeredVersion),
    ...inventory.approvals.map(registeredApproval),
    ...ruledApprovals(inventory).map((approval) =>
      registeredApproval({ ...approval, approvers: [`rule ${approval.rule}`] }),
    ),
  ];
  return new Map(entries.map((entry): [string, RegistryEntry] => [nameOf(entry), entry]));
}

function nameOf({ kind, key }: RegistryEntry): string {
  return `${kind} ${key}`;
}

function registeredApproval(approval: Omit<RegisteredApproval, "kind">): RegisteredApproval {
  const { key, version, application, jurisdictions, approvers, conditions = [], validFrom, validUntil } = approval;
  return {
    ...({ kind: "approval", key, version, application, jurisdictions, approvers } as const),
    ...(conditions.length === 0 ? {} : { conditions }),
    ...(validFrom === undefined ? {} : { validFrom }),
    ...(validUntil === undefined ? {} : { validUntil }),
  };
}

function identitiesAfter(
  known: Registry["identities"],
  versions: readonly RegisteredVersion[],
): Registry["identities"] {
  const identities = new Map(Object.entries(known));
  for (const version of versions) {
    const identity = identityOf(version);
    const before = identities.get(identity);
    identities.delete(identity);
    identities.set(identity, keepDigest(before, version));
  }
  return Object.fromEntries([...identities].slice(-MOST_IDENTITIES));
}

/** A digest that was published once stays, though it is no longer written. */
function keepDigest(before: RegisteredVersion | undefined, now: RegisteredVersion): RegisteredVersion {
  return before?.digest === undefined ? now : { ...now, digest: before.digest };
}
