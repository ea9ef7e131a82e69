import type { PolicyProgram } from "../policy/index.ts";
import { ChanceryError } from "../resources/index.ts";
import { type Digest, eachOf, parseSignedManifest, type RevisionStore, type Trust } from "../revision/index.ts";
import { createBackoff } from "./backoff.ts";
import type { Bus, SequencedHead } from "./bus.ts";
import { type RevisionFollower, startFollower } from "./follower.ts";
import { isCovered, readHeadManifest } from "./head-check.ts";
import { keepFilled } from "./nats-refill.ts";
import { forwardReports } from "./nats-report-forwarding.ts";
import { BLOBS_AT_ONCE } from "./publish.ts";

const FIRST_RETRY_MS = 250;
const MAXIMUM_RETRY_MS = 5_000;
const MAX_ATTEMPTS = 8;

export interface RelayOptions {
  /** Where control publishes; only read, apart from reports. */
  readonly hub: Bus;
  /** The region's own bus. */
  readonly region: Bus;
  /** Opened with the trust file: what it does not cover does not reach the region. */
  readonly store: RevisionStore;
  /** The same, by which it tells what another relay has published from what somebody has forged. */
  readonly trust: Trust;
  /** Bytes of what the store has accepted. */
  readonly readBlob: (digest: Digest) => Promise<Uint8Array | undefined>;
  readonly regionName: string;
  /** Name of this process in the reports of its region. */
  readonly name: string;
  /** Ids of the restrictions that are in force here, for its reports. */
  readonly restrictions: () => readonly string[];
  /** Called when the region has a revision. */
  readonly onRelayed: (number: number) => void;
  readonly onAlarm: (alarm: ChanceryError) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** In [0, 1). */
  readonly random: () => number;
}

export interface RelayStatus {
  /** Newest revision that is on this relay's disk; 0: none. */
  readonly stored: number;
  /** Newest one that it knows to be on the region's bus; 0: none. */
  readonly relayed: number;
}

export interface Relay {
  status(): RelayStatus;
  /** Policy of the newest revision on disk; undefined before the first. */
  program(): PolicyProgram | undefined;
  /** What it tells has changed. */
  reportSoon(): void;
  close(): Promise<void>;
}

/**
 * Serves one region: what the hub publishes is verified, stored on disk, and published on the region's bus, content
 * before head; what the region's processes report goes to the hub. A region that is cut off, or whose bus was wiped, is
 * served from the disk. Several relays may serve one region.
 */
export async function startRelay(options: RelayOptions): Promise<Relay> {
  const { hub, region, store, trust, regionName, name, onRelayed, onAlarm, now, random } = options;
  const backoff = createBackoff(FIRST_RETRY_MS, MAXIMUM_RETRY_MS, random);
  let stored = 0;
  let relayed = 0;
  let relayedAt: string | undefined;
  let retry: NodeJS.Timeout | undefined;
  let closed = false;
  let told: string | undefined;
  let working: Promise<void> = Promise.resolve();

  const relay = async (accepted?: Accepted): Promise<void> => {
    clearTimeout(retry);
    if (closed) return;
    try {
      const number = await publishStored(options, accepted);
      backoff.reset();
      told = undefined;
      if (number === undefined || number === relayed) return;
      relayed = number;
      relayedAt = new Date(now()).toISOString();
      onRelayed(number);
    } catch (thrown) {
      const error = ChanceryError.from(thrown, "unavailable");
      if (!closed && error.message !== told) onAlarm(error);
      told = error.message;
      if (!closed) retry = setTimeout(() => void enqueue(), backoff.next());
    }
  };
  /** One at a time; each takes what is the newest then. */
  const enqueue = (accepted?: Accepted): Promise<void> => {
    working = working.then(() => relay(accepted));
    return working;
  };

  let follower: RevisionFollower | undefined;
  follower = await startFollower({
    bus: hub,
    store,
    reporter: `${regionName}/${name}`,
    role: "relay",
    onRevision: ({ number }, manifest) => {
      stored = number;
      // Not waited for: the hub is followed though the region's bus may not answer.
      void enqueue({ number, manifest }).then(() => follower?.reportSoon());
    },
    state: () => ({
      active: relayed,
      layouts: [],
      firstDecisions: {},
      activeSince: relayedAt === undefined ? {} : { [relayed]: relayedAt },
      decisions: 0,
      restrictions: options.restrictions(),
    }),
    onAlarm,
    now,
    random,
  });
  const refill = keepFilled({
    bus: region,
    published: () => relayed,
    covers: (signed) => isCovered(signed, trust, now()),
    refill: () => enqueue(),
    random,
    onAlarm,
  });
  const reports = forwardReports({ region, hub, regionName, onAlarm });
  return {
    status: () => ({ stored, relayed }),
    program: () => follower?.revision()?.program,
    reportSoon: () => follower?.reportSoon(),
    close: async () => {
      closed = true;
      clearTimeout(retry);
      refill.close();
      reports.close();
      await follower?.close();
      await working;
    },
  };
}

/** A revision that is in the store. */
interface Accepted {
  readonly number: number;
  /** Blob with the signed manifest. */
  readonly manifest: Digest;
}

/**
 * Puts the newest stored revision on the region's bus, all of its content too, which mends what is damaged there.
 *
 * @param accepted  the newest, where it has just been accepted: else the store is asked
 * @returns the number that the region has now; undefined: nothing is stored
 */
async function publishStored(options: RelayOptions, accepted?: Accepted): Promise<number | undefined> {
  const { region, readBlob } = options;
  const newest = accepted ?? (await newestStored(options));
  if (newest === undefined) return undefined;
  const { manifest, number } = newest;
  const read = async (digest: Digest): Promise<Uint8Array> => {
    const bytes = await readBlob(digest);
    if (bytes !== undefined) return bytes;
    throw new ChanceryError("not-found", `${digest} of revision ${number} is not on disk any more`);
  };
  for (let attempt = 1; ; attempt++) {
    const head = await region.head();
    // Another relay of the region was faster.
    if (head !== undefined && head.number > number && (await isProven(head, options))) return head.number;
    const signed = await read(manifest);
    const { parts } = parseSignedManifest(signed).manifest;
    await eachOf(parts.length, BLOBS_AT_ONCE, async (index) => {
      const digest = parts[index]?.digest;
      if (digest !== undefined) await region.putBlob(digest, await read(digest));
    });
    await region.putBlob(manifest, signed);
    if (head?.manifest === manifest && head.number === number) return number;
    try {
      await region.publishHead({ manifest, number, content: signed }, head?.sequence ?? 0);
      return number;
    } catch (error) {
      const isConflict = error instanceof ChanceryError && error.code === "conflict";
      if (!isConflict || attempt === MAX_ATTEMPTS) throw error;
    }
  }
}

async function newestStored({ store }: RelayOptions): Promise<Accepted | undefined> {
  const newest = await store.lastGood();
  return newest === undefined ? undefined : { number: newest.revision.number, manifest: newest.manifest };
}

/** Heads are not signed: the number counts where a revision that the trust file covers carries it. */
async function isProven(head: SequencedHead, { region, trust, now }: RelayOptions): Promise<boolean> {
  const signed = await readHeadManifest(region, head);
  return signed?.manifest.number === head.number && isCovered(signed, trust, now());
}
