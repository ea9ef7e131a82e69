import type { Authenticator, TlsOptions } from "@nats-io/nats-core";
import { ChanceryError } from "../resources/index.ts";
import type { Digest } from "../revision/index.ts";
import type { Bus, HeadAnnouncement, NodeReport, SequencedHead, Subscription } from "./bus.ts";
import { checkBlob, checkRestriction, missingManifest } from "./in-process-bus.ts";
import type { LeaseCell } from "./lease-keeper.ts";
import { NatsBlobs } from "./nats-blobs.ts";
import { NatsLink } from "./nats-connection.ts";
import { watchNatsHead } from "./nats-head-watch.ts";
import { NatsHeads } from "./nats-heads.ts";
import { natsLease } from "./nats-lease.ts";
import { natsLog } from "./nats-log.ts";
import { watchNatsReports } from "./nats-report-watch.ts";
import { NatsReports } from "./nats-reports.ts";
import { NatsRestrictions, watchNatsRestrictions } from "./nats-restrictions.ts";
import { serverFindings, syncFinding } from "./nats-server-check.ts";
import { demandSafeServers } from "./nats-servers.ts";
import { NatsStreams, natsNames } from "./nats-streams.ts";

const DEFAULT_POLL_MS = 2_000;
const DEFAULT_PREFIX = "chancery";
const DEFAULT_MAXIMUM_BYTES = 1024 * 1024 * 1024;
/** A server that is there answers sooner; one that is not must not keep a process from starting from its disk. */
const FIRST_ATTEMPT_MS = 1_000;

export interface NatsBusOptions {
  /** `nats://host:port` or `tls://host:port`, without user and password; plain text on loopback addresses alone. */
  readonly servers: readonly string[];
  /** Name of this process among the connections of the server. */
  readonly name: string;
  /** Who it is; `natsCredentials(file)` makes one. */
  readonly authenticator?: Authenticator;
  readonly tls?: TlsOptions;
  /** JetStream domain, where the bus is not in the domain of the server that is connected to. */
  readonly domain?: string;
  /** First token of subjects and stream names: one for each bus on an account; "chancery" unless given. */
  readonly prefix?: string;
  /** First token of the subjects of answers, for users that may listen to their own alone; "_INBOX" unless given. */
  readonly inboxPrefix?: string;
  /** Whether this process makes the streams and clears old content away: the publisher of the bus, nobody else. */
  readonly manageStreams?: boolean;
  /** Whether several processes publish, of which one at a time leads: its stream is made with the others. */
  readonly lease?: boolean;
  /** Whether the operational log is kept on this bus: its stream is made with the others. */
  readonly log?: boolean;
  /** Copies of each stream in a cluster, where this process makes them. */
  readonly replicas?: number;
  /** Bytes of content that the bus keeps; 1 GiB unless given. */
  readonly maximumBytes?: number;
  /** URL of the server's monitoring, asked for its `sync_interval` by whoever manages the streams. */
  readonly monitor?: string;
  /** Longest time (milliseconds) until a change is seen whose doorbell was lost; 2,000 unless given. */
  readonly pollMs?: number;
  /** In [0, 1). */
  readonly random?: () => number;
  /** What is damaged, not possible or not guaranteed and did not stop the work. */
  readonly onAlarm?: (alarm: ChanceryError) => void;
}

/** With the lease of its publishers. */
export interface NatsBus extends Bus {
  readonly lease: LeaseCell;
}

/**
 * The bus of many machines, over NATS JetStream: a stream of heads that is appended to with an expected sequence, a
 * stream of content in parts, a stream with the newest report of each reporter, a stream with restrictions. Readers ask for the newest message
 * directly and have no consumer on the server; a message that the server sends out after storing is their doorbell.
 *
 * Resolves when it is connected, or a second later: the connection is made as soon as NATS can be reached, and what is
 * asked until then fails with "unavailable".
 *
 * @throws ChanceryError "invalid-argument"
 */
export async function openNatsBus(options: NatsBusOptions): Promise<NatsBus> {
  const { manageStreams = false, pollMs = DEFAULT_POLL_MS, random = Math.random, onAlarm = () => undefined } = options;
  demandSafeServers(options.servers, options.tls !== undefined);
  const names = natsNames(options.prefix ?? DEFAULT_PREFIX);
  const link = new NatsLink({ ...options, random, onAlarm });
  const streams = new NatsStreams(link, names, {
    manage: manageStreams,
    maximumBytes: options.maximumBytes ?? DEFAULT_MAXIMUM_BYTES,
    lease: options.lease === true,
    log: options.log === true,
    ...(options.replicas === undefined ? {} : { replicas: options.replicas }),
  });
  const blobs = new NatsBlobs(streams);
  const heads = new NatsHeads(streams, onAlarm);
  const reports = new NatsReports(streams, onAlarm);
  const restrictions = new NatsRestrictions(streams);
  tellFindings(link, options, onAlarm);
  await link.firstAttempt(FIRST_ATTEMPT_MS);

  const subscriptions = new Set<Subscription>();
  let closed = false;
  const keep = (subscription: Subscription): Subscription => {
    const kept = {
      close: () => {
        subscription.close();
        subscriptions.delete(kept);
      },
    };
    subscriptions.add(kept);
    return kept;
  };
  const refuseClosed = (): void => {
    if (closed) throw new ChanceryError("unavailable", "the bus is closed");
  };
  const watchOptions = { link, streams, pollMs, random, onAlarm };
  return {
    lease: natsLease(link, streams),
    putBlob: async (digest: Digest, bytes: Uint8Array) => {
      refuseClosed();
      checkBlob(digest, bytes);
      await blobs.put(digest, bytes);
    },
    getBlob: async (digest: Digest, size?: number) => {
      refuseClosed();
      return await blobs.get(digest, size);
    },
    publishHead: async (head: HeadAnnouncement, expected: number) => {
      refuseClosed();
      if (!(await blobs.has(head.manifest))) throw missingManifest(head);
      return await heads.append(head, expected);
    },
    head: async () => {
      refuseClosed();
      return await heads.newest();
    },
    watchHead: (listener: (head: SequencedHead) => void) => {
      refuseClosed();
      return keep(watchNatsHead(listener, { ...watchOptions, heads }));
    },
    report: async (report: NodeReport) => {
      refuseClosed();
      await reports.write(report);
    },
    watchReports: (listener: (report: NodeReport) => void) => {
      refuseClosed();
      return keep(watchNatsReports(listener, { ...watchOptions, reports }));
    },
    putRestriction: async (entry: Uint8Array) => {
      refuseClosed();
      checkRestriction(entry);
      await restrictions.put(entry);
    },
    restrictions: async () => {
      refuseClosed();
      return (await restrictions.after(0)).map(({ entry }) => entry);
    },
    watchRestrictions: (listener: (entry: Uint8Array) => void) => {
      refuseClosed();
      return keep(watchNatsRestrictions(listener, { ...watchOptions, restrictions }));
    },
    log: natsLog({ ...watchOptions, refuseClosed, keep }),
    close: async () => {
      closed = true;
      for (const subscription of [...subscriptions]) subscription.close();
      await link.close();
    },
  };
}

/** Each finding once, at the first connection to a server that has it. */
function tellFindings(link: NatsLink, options: NatsBusOptions, onAlarm: (alarm: ChanceryError) => void): void {
  const told = new Set<string>();
  const tell = (finding: string | undefined): void => {
    if (finding === undefined || told.has(finding) || told.size >= 16) return;
    told.add(finding);
    onAlarm(new ChanceryError("unavailable", finding));
  };
  let asked = false;
  link.onConnected((session) => {
    for (const finding of serverFindings(session)) tell(finding);
    if (options.manageStreams !== true || asked) return;
    asked = true;
    void syncFinding(options.monitor, globalThis.fetch).then(tell);
  });
}
