import { randomBytes } from "node:crypto";
import * as grpc from "@grpc/grpc-js";
import type { Logger } from "pino";
import type { Registry } from "prom-client";
import { type EncodedResource, gatewayOfGroup } from "../compiler/index.ts";
import {
  bindingOf,
  hostOf,
  isLoopback,
  misuse,
  mutualTls,
  removeStaleSocket,
  type ServerCertificates,
  serviceDefinition,
  shareSocket,
  TYPE_URLS,
} from "../envoy/index.ts";
import { LoadReportingService } from "../protos/gen/envoy/service/load_stats/v3/lrs_pb.ts";
import {
  ClientStatusDiscoveryService,
  type ClientStatusRequest,
} from "../protos/gen/envoy/service/status/v3/csds_pb.ts";
import { ChanceryError } from "../resources/index.ts";
import { type AdmissionSettings, createAdmission } from "./admission.ts";
import { clientStatus, clientStatusService } from "./client-status.ts";
import { type Clock, systemClock } from "./clock.ts";
import { createDispatcher, type DispatchSettings } from "./dispatch.ts";
import { type LoadReportSettings, loadReportService } from "./load-reports.ts";
import { type ClusterLoad, createLoadTable } from "./load-table.ts";
import { createXdsMetrics } from "./metrics.ts";
import { NameLists } from "./name-lists.ts";
import { type NodeDetail, nodeDetail } from "./node-detail.ts";
import { subscriberOf } from "./node-identity.ts";
import { createNodeTable, type NodeState } from "./node-state.ts";
import { DEFAULT_QUARANTINE_SETTINGS, heldBackFrom, keyOf, type Quarantine, widestScope } from "./quarantine.ts";
import type { HeldBack, QuarantineMemory } from "./quarantine-memory.ts";
import type { RequestPaceSettings } from "./request-pace.ts";
import { discoveryServices, type XdsCall } from "./services.ts";
import type { Protocol, SessionSettings } from "./session-state.ts";
import type { GroupChange, GroupSnapshot } from "./snapshot.ts";
import { createSnapshotStore } from "./store.ts";
import { type StreamContext, type XdsEvent, XdsStream } from "./stream.ts";
import type { GroupView } from "./view.ts";

export interface XdsSettings
  extends SessionSettings,
    DispatchSettings,
    AdmissionSettings,
    RequestPaceSettings,
    LoadReportSettings {
  /** Largest request, bytes. */
  readonly maxMessageBytes: number;
  /** Nodes that are remembered, connected or not. */
  readonly maxNodes: number;
  /** Silence after which a connection is probed, ms; and how long the answer may take, ms. */
  readonly keepaliveMs: number;
  readonly keepaliveTimeoutMs: number;
  /** Give the full plan to clients that list no extensions at all: clients that are not Envoy. */
  readonly trustUnlistedNodes: boolean;
  /**
   * Serve CSDS: names and versions of all nodes' resources, to whoever may connect. Left out: without TLS only, where
   * that is this machine.
   */
  readonly clientStatus?: boolean;
  /**
   * How long a stream may last, ms, give or take a tenth, so that nodes spread over replicas that came later and do not
   * return all at once. A node that reconnects is sent what changed, nothing else.
   */
  readonly maxStreamAgeMs: number;
  /**
   * With TLS: refuse client certificates that do not name a gateway (`spiffe://…[/node/ID]/gateway/GROUP`). Those that
   * do are good for their gateway (and node) only, whatever is set here.
   */
  readonly mustBindNodes: boolean;
  /** What names a node's group: its `cluster`, or (each node on its own) its `id`. */
  readonly groupBy: "cluster" | "id";
}

export const DEFAULT_XDS_SETTINGS: XdsSettings = {
  orderWaitMs: 2_000,
  removalGraceMs: 2_000,
  removalWaitMs: 5_000,
  reconnectWaitMs: 500,
  maxTypes: 64,
  maxNames: 100_000,
  maxNodeNames: 200_000,
  maxResponseBytes: 2 * 1024 * 1024,
  maxStreams: 10_000,
  admissionWaitMs: 10_000,
  requestsPerSecond: 1_000,
  requestBurst: 5_000,
  loadReportMs: 10_000,
  maxLoads: 2_000,
  maxMessageBytes: 4 * 1024 * 1024,
  maxNodes: 10_000,
  keepaliveMs: 30_000,
  keepaliveTimeoutMs: 10_000,
  trustUnlistedNodes: false,
  groupBy: "cluster",
  maxStreamAgeMs: 60 * 60 * 1_000,
  mustBindNodes: true,
  quietMs: 10,
  maxMs: 100,
  sliceMs: 10,
  ...DEFAULT_QUARANTINE_SETTINGS,
  canaries: [],
  canaryWaitMs: 5_000,
  maxLastGoodBytes: 64 * 1024 * 1024,
};

export interface XdsServerOptions {
  readonly log: Logger;
  readonly clock?: Clock;
  /** In [0, 1); spreads the ends of streams. */
  readonly random?: () => number;
  readonly registry?: Registry;
  readonly settings?: Partial<XdsSettings>;
  /** Mutual TLS, demanded off loopback: what goes over this channel includes private keys. */
  readonly tls?: ServerCertificates;
  /** What nodes refused is not sent to them again after a restart. */
  readonly quarantineMemory?: QuarantineMemory;
  /** Called synchronously; must not throw. */
  readonly onEvent?: (event: XdsEvent) => void;
}

export interface XdsServer {
  /** Replaces what the nodes of a group shall run. Only what differs in content is sent. */
  setSnapshot(snapshot: GroupSnapshot): void;
  /**
   * Changes some resources of a group, other than secrets, and leaves the rest and the revision as they are: endpoints,
   * health, weights. Costs what it changes. The next snapshot replaces all.
   *
   * @returns false where no snapshot has named the group
   */
  change(change: GroupChange): boolean;
  /** The group is no more: its nodes are told to drop everything. */
  removeGroup(group: string): void;
  /** Replaces the secrets (by SDS name). A group is served those that its resources refer to. */
  setSecrets(secrets: ReadonlyMap<string, EncodedResource>): void;
  /**
   * Serves ADS and each type on streams of its own. May be called for several addresses. Set the snapshots first: nodes of a group that is not known yet are
   * left as they are, and new ones get nothing.
   *
   * @param address  "host:port" (port 0: any free one) or "unix:/path"; off loopback only with `tls`
   * @returns the port, 0 for a Unix socket
   */
  listen(address: string): Promise<number>;
  nodes(): NodeState[];
  /** What nodes report of their clusters' load. */
  loads(): ClusterLoad[];
  /**
   * How the connected nodes of an id stand with their resources.
   *
   * @param name  only resources of this name, and why a node has them not
   */
  nodeDetails(id: string, name?: string): NodeDetail[];
  /** Ends all streams, then what is left of them after `deadlineMs`. Safe to call twice. */
  close(deadlineMs?: number): Promise<void>;
}

export function createXdsServer(options: XdsServerOptions): XdsServer {
  const { log, tls } = options;
  const clock = options.clock ?? systemClock;
  const random = options.random ?? Math.random;
  const settings: XdsSettings = { ...DEFAULT_XDS_SETTINGS, ...options.settings };
  const store = createSnapshotStore();
  const nodes = createNodeTable(settings.maxNodes);
  const loads = createLoadTable(settings.maxLoads);
  const onEvent = options.onEvent ?? (() => {});
  const { quarantineMemory: memory } = options;
  const remembered = memory === undefined ? {} : { remembered: memory.remembered };
  const dispatcher = createDispatcher({ store, clock, settings, ...remembered, onQuarantine });
  const admission = createAdmission({
    settings,
    elapsed: () => performance.now(),
    yieldTurn: (callback) => setImmediate(callback),
  });
  const gauges = { connectedNodes: nodes.count, waitingStreams: admission.waiting, heldBack: dispatcher.heldBack };
  const context: StreamContext = {
    store,
    dispatcher,
    nameLists: new NameLists(),
    identity: settings,
    nodes,
    clock,
    log,
    metrics: options.registry === undefined ? undefined : createXdsMetrics(options.registry, gauges),
    settings,
    mustBindNodes: settings.mustBindNodes,
    onEvent,
  };
  const streams = new Set<XdsStream>();
  // Nonces must not be taken for those of another stream, process or replica.
  const process = randomBytes(6).toString("base64url");
  let opened = 0;
  let secretNames: ReadonlySet<string> = new Set();

  function onQuarantine(group: string, now: Quarantine, before: Quarantine, heldBack: () => HeldBack): void {
    memory?.keep(group, heldBack());
    for (const entry of now.values()) {
      const scope = widestScope(entry);
      const { typeUrl, name: resource, revision, message } = entry;
      const old = before.get(keyOf(typeUrl, resource));
      if (old?.version === entry.version && widestScope(old) === scope) continue;
      log.error({ group, typeUrl, resource, revision, scope, message }, "a refused resource is held back");
      onEvent({ kind: "held-back", group, typeUrl, resource, revision, message, scope });
    }
  }

  function accept(call: XdsCall, protocol: Protocol, only: string | undefined): void {
    const leave = admission.apply({
      admit() {
        opened += 1;
        const ageMs = settings.maxStreamAgeMs * (0.9 + 0.2 * random());
        const noncePrefix = `${process}-${opened}-`;
        const stream = new XdsStream(context, call, { protocol, noncePrefix, only, ageMs }, () => {
          streams.delete(stream);
          leave();
        });
        streams.add(stream);
      },
      refuse(details) {
        context.metrics?.turnedAway();
        call.emit("error", { code: grpc.status.UNAVAILABLE, details });
      },
    });
    // A client that goes away while it waits is not let in.
    call.once("cancelled", leave);
  }

  const server = new grpc.Server({
    "grpc.max_receive_message_length": settings.maxMessageBytes,
    "grpc.max_send_message_length": -1,
    "grpc.keepalive_time_ms": settings.keepaliveMs,
    "grpc.keepalive_timeout_ms": settings.keepaliveTimeoutMs,
  });
  for (const { definition, implementation } of discoveryServices(accept)) {
    server.addService(definition, implementation);
  }
  if (settings.clientStatus ?? tls === undefined) {
    const answer = (request: ClientStatusRequest) => clientStatus(nodes.connectedNodes(), request);
    server.addService(serviceDefinition(ClientStatusDiscoveryService), clientStatusService(answer));
  }
  const loadReports = loadReportService({
    table: loads,
    clock,
    settings,
    clusters: (group) => store.view(group).types.get(TYPE_URLS.cluster)?.resources,
    misuse: (call, node) => {
      const { sslPeerCertificate } = call.getAuthContext();
      if (sslPeerCertificate === undefined) return undefined;
      return misuse(bindingOf(sslPeerCertificate.subjectaltname ?? ""), node, settings.mustBindNodes);
    },
    onLoad: (increases) => context.metrics?.loaded(increases),
  });
  server.addService(serviceDefinition(LoadReportingService), loadReports);
  let closing: Promise<void> | undefined;

  return {
    setSnapshot(snapshot) {
      dispatcher.follow(snapshot.group);
      store.setSnapshot(snapshot, clock.now());
    },
    change: (change) => store.change(change, clock.now()),
    removeGroup(group) {
      store.removeGroup(group, clock.now());
      dispatcher.forget(group);
      nodes.forgetRefusals(group);
    },
    setSecrets(secrets) {
      secretNames = new Set(secrets.keys());
      store.setSecrets(secrets, clock.now());
    },
    nodes: () =>
      nodes.states((node) => {
        const { group } = subscriberOf(node);
        const quarantine = dispatcher.quarantine(group);
        return { knownGroup: store.view(node.group).known, withheld: store.view(group).withheld, quarantine };
      }, clock.now()),
    loads: loads.loads,
    nodeDetails(id, name) {
      const details: NodeDetail[] = [];
      for (const { identity, sessions } of nodes.connectedNodes()) {
        if (identity.id !== id) continue;
        const { group } = identity;
        const groupsWith = (wanted: string) => {
          const others = store.groups().filter((other) => hasResource(store.view(other), wanted));
          return [...new Set(others.map(gatewayOfGroup))].filter((gateway) => gateway !== group);
        };
        const subscriber = subscriberOf(identity);
        const view = dispatcher.view(subscriber);
        const facts = {
          view,
          // Of what it is not given for lack of extensions, it is said why.
          groupView: store.view(identity.plan === "reduced" && view.withheld === undefined ? subscriber.group : group),
          heldBack: heldBackFrom(dispatcher.quarantine(subscriber.group), identity),
          groupsWith: (wanted: string) => groupsWith(wanted).slice(0, 20),
          isSecret: (wanted: string) => secretNames.has(wanted),
        };
        details.push(nodeDetail(identity, sessions, facts, name));
      }
      return details;
    },
    async listen(address) {
      if (tls === undefined && !isLocal(address)) {
        throw new ChanceryError(
          "invalid-argument",
          `xDS carries private keys and cannot listen on ${address} without TLS: listen on 127.0.0.1, [::1] or a ` +
            "Unix socket, or give a certificate, a key and the CA of the Envoys' client certificates",
        );
      }
      const unixPath = address.startsWith("unix:") ? address.slice("unix:".length) : undefined;
      if (unixPath !== undefined) await removeStaleSocket(unixPath);
      const credentials = tls === undefined ? grpc.ServerCredentials.createInsecure() : mutualTls(tls);
      return new Promise((resolve, reject) => {
        server.bindAsync(address, credentials, (error, port) => {
          if (error !== null) {
            reject(
              new ChanceryError("unavailable", `xDS cannot listen on ${address}: ${error.message}`, { cause: error }),
            );
            return;
          }
          log.info({ address, port }, "xDS server listens");
          // Whoever may talk to the socket may ask for private keys.
          if (unixPath === undefined) resolve(port);
          else shareSocket(unixPath).then(() => resolve(0), reject);
        });
      });
    },
    close(deadlineMs = 5_000) {
      closing ??= new Promise<void>((resolve) => {
        const cancel = clock.after(deadlineMs, () => {
          server.forceShutdown();
          resolve();
        });
        server.tryShutdown(() => {
          cancel();
          resolve();
        });
        admission.close();
        for (const stream of [...streams]) stream.close();
        dispatcher.close();
      });
      return closing;
    },
  };
}

function hasResource({ types }: GroupView, name: string): boolean {
  for (const { resources } of types.values()) if (resources.has(name)) return true;
  return false;
}

/** Whether only this machine can reach an address. */
function isLocal(address: string): boolean {
  return address.startsWith("unix:") || isLoopback(hostOf(address));
}
