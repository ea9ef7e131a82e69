import { createHash } from "node:crypto";
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { fromAds, TYPE_URLS } from "../envoy/index.ts";
import { Cluster_DiscoveryType, ClusterSchema } from "../protos/gen/envoy/config/cluster/v3/cluster_pb.ts";
import { TypedExtensionConfigSchema } from "../protos/gen/envoy/config/core/v3/extension_pb.ts";
import { ClusterLoadAssignmentSchema } from "../protos/gen/envoy/config/endpoint/v3/endpoint_pb.ts";
import { ListenerSchema } from "../protos/gen/envoy/config/listener/v3/listener_pb.ts";
import { RouteConfigurationSchema } from "../protos/gen/envoy/config/route/v3/route_pb.ts";
import { HttpConnectionManagerSchema } from "../protos/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import { SecretSchema } from "../protos/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";
import { UpstreamTlsContextSchema } from "../protos/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts";
import type { NodeIdentity } from "./node-identity.ts";
import type { Response } from "./respond.ts";
import { advance, createSession, type Effect, type SessionEvent } from "./session.ts";
import type { Leftovers, Protocol, Session, SessionSettings } from "./session-state.ts";
import type { ServedResource } from "./snapshot.ts";
import { emptyGroup, type GroupView, nextView, unknownGroup } from "./view.ts";

/** Drives a session by hand, for tests: a clock that moves when told, a transport that takes everything at once. */
export interface SessionDriver {
  readonly session: Session;
  readonly effects: Effect[];
  view(): GroupView;
  /** Replaces the whole state of the group; returns what is sent. */
  publish(...resources: readonly ServedResource[]): Response[];
  /** State of the world. */
  ask(typeUrl: string, names: readonly string[], options?: AskOptions): Response[];
  /** Delta. */
  change(typeUrl: string, options?: ChangeOptions): Response[];
  /** Answers with the names that were asked for last (state of the world). */
  ack(response: Response | undefined): Response[];
  nack(response: Response | undefined, message?: string): Response[];
  /** Lets time pass, with the ticks that the session asked for. */
  pass(ms: number): Response[];
  deliver(event: SessionEvent): Response[];
}

export interface AskOptions {
  readonly nonce?: string;
  readonly version?: string;
  readonly error?: string;
  readonly node?: string;
}

export interface ChangeOptions extends Omit<AskOptions, "version"> {
  readonly subscribe?: readonly string[];
  readonly unsubscribe?: readonly string[];
  readonly claims?: Readonly<Record<string, string>>;
}

export interface DriverOptions {
  readonly resources?: readonly ServedResource[];
  readonly known?: boolean;
  readonly settings?: Partial<SessionSettings>;
  readonly leftovers?: Leftovers;
  readonly noncePrefix?: string;
  /** What the client understands of lifetimes. */
  readonly features?: Pick<NodeIdentity, "supportsTtl" | "supportsResourceInSotw">;
  readonly isEnvoy?: boolean;
  /** What the node's other streams subscribe to; left out: nothing. */
  readonly namesElsewhere?: () => number;
  /** A separate stream of this type. */
  readonly only?: string;
  /** false: responses stay unwritten until the test delivers "written". */
  readonly autoWrite?: boolean;
  /** Instead of `resources`: the node shall have what the node of another session has, the very same objects. */
  readonly sameViewAs?: SessionDriver;
}

const SETTINGS: SessionSettings = {
  orderWaitMs: 2_000,
  removalGraceMs: 2_000,
  removalWaitMs: 5_000,
  reconnectWaitMs: 500,
  maxTypes: 16,
  maxNames: 100,
  maxNodeNames: 150,
  maxResponseBytes: 1024 * 1024,
};

export function driveSession(protocol: Protocol, options: DriverOptions = {}): SessionDriver {
  let now = 1_000_000;
  let revision = 1;
  let view = options.known === false ? unknownGroup("g") : emptyGroup("g", 0, now);
  const snapshot = (resources: readonly ServedResource[]) => {
    const types = new Map<string, Map<string, ServedResource>>();
    for (const resource of resources) {
      const type = types.get(resource.typeUrl) ?? new Map<string, ServedResource>();
      types.set(resource.typeUrl, type.set(resource.name, resource));
    }
    return { group: "g", revision: revision++, layout: `layout${revision}`, resources: types };
  };
  if (options.sameViewAs !== undefined) view = options.sameViewAs.view();
  if (options.resources !== undefined) view = nextView(view, snapshot(options.resources), now).view;
  const session = createSession({
    protocol,
    noncePrefix: options.noncePrefix ?? "test-",
    only: options.only,
    settings: { ...SETTINGS, ...options.settings },
    resolve: () => ({
      view,
      leftovers: options.leftovers ?? new Map(),
      namesElsewhere: options.namesElsewhere ?? (() => 0),
    }),
  });
  const effects: Effect[] = [];
  const asked = new Map<string, readonly string[]>();
  let wakeAt: number | undefined;
  let first = true;

  function deliver(event: SessionEvent): Response[] {
    const sent: Response[] = [];
    const events = [event];
    for (let next = events.shift(); next !== undefined; next = events.shift()) {
      for (const effect of advance(session, next)) {
        effects.push(effect);
        if (effect.kind === "wake") wakeAt = effect.at;
        if (effect.kind !== "send") continue;
        sent.push(effect.response);
        if (options.autoWrite !== false) events.push({ kind: "written", now });
      }
    }
    return sent;
  }

  function node(id: string | undefined) {
    const given = id ?? (first ? "n1" : undefined);
    first = false;
    if (given === undefined) return undefined;
    return {
      id: given,
      group: "g",
      version: "1.40.0",
      build: "envoy 1.40.0",
      isEnvoy: options.isEnvoy ?? false,
      plan: "full" as const,
      missingExtensions: [],
      ...options.features,
    };
  }

  const driver: SessionDriver = {
    session,
    effects,
    view: () => view,
    deliver,
    publish(...resources) {
      const next = nextView(view, snapshot(resources), now);
      view = next.view;
      if (session.node === undefined) return [];
      return deliver({ kind: "view", view, changes: next.changes, now });
    },
    ask(typeUrl, names, { nonce = "", version = "", error, node: id } = {}) {
      asked.set(typeUrl, names);
      const body = { protocol: "sotw" as const, versionInfo: version, names };
      return deliver({ kind: "request", request: { typeUrl, node: node(id), nonce, error, names: body }, now });
    },
    change(typeUrl, { subscribe = [], unsubscribe = [], claims = {}, nonce = "", error, node: id } = {}) {
      const names = { protocol: "delta" as const, subscribe, unsubscribe, claims: new Map(Object.entries(claims)) };
      return deliver({ kind: "request", request: { typeUrl, node: node(id), nonce, error, names }, now });
    },
    ack(response) {
      if (response === undefined) throw new Error("there is no response to acknowledge");
      const { typeUrl, nonce, version } = response;
      if (protocol === "delta") return driver.change(typeUrl, { nonce });
      return driver.ask(typeUrl, asked.get(typeUrl) ?? [], { nonce, version });
    },
    nack(response, message = "no good") {
      if (response === undefined) throw new Error("there is no response to refuse");
      const { typeUrl, nonce } = response;
      if (protocol === "delta") return driver.change(typeUrl, { nonce, error: message });
      return driver.ask(typeUrl, asked.get(typeUrl) ?? [], { nonce, error: message });
    },
    pass(ms) {
      const end = now + ms;
      const sent: Response[] = [];
      while (wakeAt !== undefined && wakeAt <= end) {
        now = Math.max(now, wakeAt);
        wakeAt = undefined;
        sent.push(...deliver({ kind: "tick", now }));
      }
      now = end;
      return sent;
    },
  };
  return driver;
}

/** Names in the order sent, removals with a minus: what a test compares. */
export function namesOf(response: Response | undefined): string[] {
  if (response === undefined) return [];
  return [...response.resources.map(({ name }) => name), ...response.removed.map((name) => `-${name}`)].sort();
}

/** Short type names of responses, in order. */
export function typesOf(responses: readonly Response[]): string[] {
  const short = new Map<string, string>(Object.entries(TYPE_URLS).map(([name, typeUrl]) => [typeUrl, name]));
  return responses.map(({ typeUrl }) => short.get(typeUrl) ?? typeUrl);
}

function encoded<Desc extends DescMessage>(
  typeUrl: string,
  name: string,
  schema: Desc,
  init: MessageInitShape<Desc>,
): ServedResource {
  const value = toBinary(schema, create(schema, init));
  return { typeUrl, name, version: createHash("sha256").update(value).digest("hex").slice(0, 16), value };
}

const sds = (name: string) => ({ name, sdsConfig: fromAds() });

/** A cluster whose endpoints come by EDS, with secrets if any. Another `content` makes another version. */
export function cluster(name: string, content = "1", secrets: readonly string[] = []): ServedResource {
  const context = create(UpstreamTlsContextSchema, {
    commonTlsContext: { tlsCertificateSdsSecretConfigs: secrets.map(sds) },
  });
  return encoded(TYPE_URLS.cluster, name, ClusterSchema, {
    name,
    altStatName: content,
    clusterDiscoveryType: { case: "type", value: Cluster_DiscoveryType.EDS },
    edsClusterConfig: { edsConfig: fromAds() },
    ...(secrets.length === 0
      ? {}
      : {
          transportSocket: {
            name: "tls",
            configType: { case: "typedConfig", value: anyPack(UpstreamTlsContextSchema, context) },
          },
        }),
  });
}

export function endpoints(name: string, content = "1"): ServedResource {
  return encoded(TYPE_URLS.endpoint, name, ClusterLoadAssignmentSchema, {
    clusterName: name,
    endpoints: [{ locality: { zone: content } }],
  });
}

export function listener(
  name: string,
  content = "1",
  { route = "r", extensionConfigs = [] }: { route?: string; extensionConfigs?: readonly string[] } = {},
): ServedResource {
  const manager = create(HttpConnectionManagerSchema, {
    statPrefix: content,
    routeSpecifier: { case: "rds", value: { routeConfigName: route, configSource: fromAds() } },
    httpFilters: extensionConfigs.map((filter) => ({
      name: filter,
      configType: { case: "configDiscovery" as const, value: { configSource: fromAds() } },
    })),
  });
  return encoded(TYPE_URLS.listener, name, ListenerSchema, {
    name,
    filterChains: [
      {
        filters: [
          { name: "hcm", configType: { case: "typedConfig", value: anyPack(HttpConnectionManagerSchema, manager) } },
        ],
      },
    ],
  });
}

export function route(name: string, content = "1"): ServedResource {
  return encoded(TYPE_URLS.route, name, RouteConfigurationSchema, { name, virtualHosts: [{ name: content }] });
}

export function secret(name: string, content = "1"): ServedResource {
  const value = { secret: { specifier: { case: "inlineString" as const, value: content } } };
  return encoded(TYPE_URLS.secret, name, SecretSchema, { name, type: { case: "genericSecret", value } });
}

export function extensionConfig(name: string, content = "1"): ServedResource {
  return encoded(TYPE_URLS.extensionConfig, name, TypedExtensionConfigSchema, {
    name,
    typedConfig: { typeUrl: `type.googleapis.com/${content}` },
  });
}
