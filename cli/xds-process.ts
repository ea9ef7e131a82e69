import { setTimeout as delay } from "node:timers/promises";
import type { Registry } from "prom-client";
import { type EncodedResource, gatewayOfGroup, type NodeGroup, wholeGroups } from "../compiler/index.ts";
import {
  LayoutGate,
  type NodeReport,
  type RevisionFollower,
  RevisionTimes,
  startFollower,
  type WaitingLayouts,
} from "../distribution/index.ts";
import type { ServerCertificates } from "../envoy/index.ts";
import type { Revision } from "../revision/index.ts";
import {
  createEndpointDns,
  createEndpointFeed,
  createSecretSource,
  createXdsServer,
  type DnsSettings,
  type EndpointFeed,
  type EndpointFeedOptions,
  type EndpointMemory,
  type NodeState,
  type QuarantineFiles,
  systemClock,
  watchEndpointFiles,
  type XdsEvent,
  type XdsSettings,
} from "../xds-server/index.ts";
import { HeadStart } from "./head-start.ts";
import type { Logger } from "./logging.ts";
import { createNodeReports } from "./node-reports.ts";
import type { RevisionSource } from "./revision-source.ts";
import { xdsPages } from "./xds-pages.ts";

/** An Envoy that reconnects at once would find no snapshot: the first revision is waited for, but not for ever. */
const FIRST_REVISION_MS = 5_000;
/** Decision services that start at the same time are waited for longer than those that run (milliseconds). */
const FIRST_GATE_MS = 10_000;
/**
 * Without reports decision services get this head start, and as much again as the publishing took here twice over: on a
 * busy machine it takes them long, too. At most the other where the tree changes all the time.
 */
const HEAD_START_MS = 300;
const LONGEST_HEAD_START_MS = 5_000;
/** Revisions before the newest that Envoys may still run when this process starts: they may be behind by some. */
const OLDER_REVISIONS = 3;

export interface XdsProcessOptions {
  readonly source: Pick<RevisionSource, "bus" | "store" | "shared" | "publishMs">;
  /** Name in reports. */
  readonly name: string;
  readonly listen: string;
  /** Directory that secret files are relative to: the root of the resource tree. */
  readonly secretsRoot: string;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly settings?: Partial<XdsSettings>;
  readonly tls?: ServerCertificates | undefined;
  readonly onEvent?: (event: XdsEvent) => void;
  /** Closed with the process. */
  readonly quarantineMemory: QuarantineFiles;
  /** With it endpoints are taken beside the revision. */
  readonly feed?: FeedSettings;
  /** Called when a revision is served. */
  readonly onRevision?: (revision: Revision) => void;
}

export interface FeedSettings {
  /** Directory with files of endpoints; left out: none are read. */
  readonly directory?: string | undefined;
  readonly memory: EndpointMemory;
  readonly updatesPerSecond: number;
  readonly dns: DnsSettings;
}

export interface XdsProcess {
  readonly port: number;
  nodes(): readonly NodeState[];
  /** What its admin server tells besides, as JSON by path. */
  readonly pages: ReturnType<typeof xdsPages>;
  /** Takes endpoints, where it was asked for. */
  readonly feed: EndpointFeed | undefined;
  /** The revision that is served. */
  revision(): Revision | undefined;
  /** Fulfilled when the first one is. */
  readonly serving: Promise<void>;
  close(): Promise<void>;
}

/** Serves the newest revision of a source to Envoys, after the decision services have its layouts. */
export async function startXdsProcess(options: XdsProcessOptions): Promise<XdsProcess> {
  const { source, name, log, tls } = options;
  const nodeReports = createNodeReports(Date.now);
  let follower: RevisionFollower | undefined;
  const server = createXdsServer({
    log,
    registry: options.metrics,
    quarantineMemory: options.quarantineMemory,
    ...(options.settings === undefined ? {} : { settings: options.settings }),
    ...(tls === undefined ? {} : { tls }),
    onEvent: (event) => {
      if (nodeReports.onEvent(event)) follower?.reportSoon();
      options.onEvent?.(event);
    },
  });
  const feed =
    options.feed === undefined ? undefined : feedOf(options.feed, options, (change) => server.change(change));
  const feedFiles =
    feed === undefined || options.feed?.directory === undefined
      ? undefined
      : watchEndpointFiles({ directory: options.feed.directory, feed, log, clock: systemClock });
  const feedNames =
    feed === undefined || options.feed === undefined
      ? undefined
      : createEndpointDns({
          settings: options.feed.dns,
          ...{ feed, log, clock: systemClock, random: Math.random, registry: options.metrics },
        });
  const secrets = await createSecretSource({
    root: options.secretsRoot,
    references: [],
    log,
    clock: systemClock,
    onChange: (changed) => server.setSecrets(changed),
  });
  const onOverdue = ({ number }: WaitingLayouts, missing: readonly string[]): void => {
    const behind = missing.length === 0 ? "no decision service is live" : missing.join(", ");
    log.error({ revision: number, behind }, "routes are pushed before the decision services know them");
  };
  const firstGate = new LayoutGate({ now: Date.now, maximumWaitMs: FIRST_GATE_MS, onOverdue });
  const gate = new LayoutGate({ now: Date.now, onOverdue });
  const onReport = (report: NodeReport): void => {
    firstGate.report(report);
    gate.report(report);
  };
  const reports = source.shared ? source.bus.watchReports(onReport) : undefined;

  const headStart = new HeadStart({
    ms: () => HEAD_START_MS + 2 * Math.min(source.publishMs?.() ?? 0, LONGEST_HEAD_START_MS),
    longestMs: LONGEST_HEAD_START_MS,
    onLongest: (revision) => log.warn({ revision }, "the tree changes all the time: routes are pushed meanwhile"),
  });
  // Beside what the follower sees: that one hears of nothing while it takes in what is on disk.
  const heads = source.bus.watchHead(({ number }) => {
    headStart.head(number);
    firstGate.head(number);
    gate.head(number);
  });

  let active: Revision | undefined;
  const first = Promise.withResolvers<void>();
  let groups = new Set<string>();
  /** @returns whether it is served; a newer one may be there already */
  const onRevision = async (revision: Revision): Promise<boolean> => {
    await secrets.setReferences(revision.secrets);
    if (source.shared) {
      if (!(await (active === undefined ? firstGate : gate).opened(revision))) return false;
    } else if (active !== undefined && !(await headStart.over(revision.number))) {
      return false;
    }
    const next = new Set(revision.nodeGroups.map((group) => group.name));
    for (const group of groups) if (!next.has(group)) server.removeGroup(group);
    groups = next;
    const whole = wholeGroups(revision.nodeGroups);
    feed?.setRevision(revision.program.targets, whole);
    // Before the first one, those before: Envoys that come back may still run one of them, and what it had is taken away
    // from them when they have gone on, not at once.
    const preceding = active === undefined ? await olderRevisions(source.store, revision.number) : [];
    const older = preceding.map(({ number, nodeGroups }) => ({ number, given: wholeGroups(nodeGroups) }));
    for (const { number, given } of [...older, { number: revision.number, given: whole }]) {
      for (const group of given) {
        const { name: of, layout, withheld } = group;
        const resources = byType(feed?.overlay(group) ?? group.resources);
        const said = withheld === undefined ? {} : { withheld };
        if (groups.has(of)) server.setSnapshot({ group: of, revision: number, layout, ...said, resources });
      }
    }
    // What it has upstreams for, and the one before had not.
    void feedFiles?.again();
    feedNames?.follow(revision.program.targets);
    active = revision;
    log.info(
      { revision: revision.number, groups: [...new Set([...groups].map(gatewayOfGroup))] },
      "serving a revision",
    );
    first.resolve();
    options.onRevision?.(revision);
    return true;
  };
  const since = new RevisionTimes();
  follower = await startFollower({
    bus: source.bus,
    store: source.store,
    reporter: name,
    role: "xds",
    onRevision: async (revision) => {
      if (await onRevision(revision)) since.set(revision.number, Date.now());
    },
    state: () => ({
      ...nodeReports.summaries(server.nodes()),
      active: active?.number ?? 0,
      layouts: active?.layouts.map((layout) => layout.hash) ?? [],
      firstDecisions: {},
      activeSince: since.report(),
      decisions: 0,
    }),
    onAlarm: (alarm) => log.error({ code: alarm.code }, alarm.message),
    now: Date.now,
    random: Math.random,
  });
  const close = async (): Promise<void> => {
    heads.close();
    headStart.close();
    reports?.close();
    firstGate.close();
    gate.close();
    await follower?.close();
    secrets.close();
    feedFiles?.close();
    feedNames?.close();
    feed?.close();
    await options.feed?.memory.close();
    await server.close();
    await options.quarantineMemory.close();
  };
  try {
    const timer = new AbortController();
    const late = delay(FIRST_REVISION_MS, undefined, { signal: timer.signal }).catch(() => undefined);
    await Promise.race([first.promise, late]);
    timer.abort();
    const port = await server.listen(options.listen);
    return {
      port,
      nodes: () => server.nodes(),
      pages: xdsPages(server),
      feed,
      revision: () => active,
      serving: first.promise,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Oldest first. */
async function olderRevisions(store: XdsProcessOptions["source"]["store"], below: number): Promise<Revision[]> {
  const older: Revision[] = [];
  for (let number = below; older.length < OLDER_REVISIONS; ) {
    const found = await store.lastGood(number);
    if (found === undefined) break;
    older.unshift(found.revision);
    number = found.revision.number;
  }
  return older;
}

function feedOf(
  { memory, updatesPerSecond }: FeedSettings,
  { log, metrics: registry }: Pick<XdsProcessOptions, "log" | "metrics">,
  change: EndpointFeedOptions["change"],
): EndpointFeed {
  const { remembered } = memory;
  return createEndpointFeed({ clock: systemClock, log, registry, change, memory, remembered, updatesPerSecond });
}

function byType(resources: NodeGroup["resources"]): ReadonlyMap<string, ReadonlyMap<string, EncodedResource>> {
  const types = new Map<string, Map<string, EncodedResource>>();
  for (const resource of resources) {
    const ofType = types.get(resource.typeUrl) ?? new Map<string, EncodedResource>();
    ofType.set(resource.name, resource);
    types.set(resource.typeUrl, ofType);
  }
  return types;
}
