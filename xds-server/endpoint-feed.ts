import type { BlockList } from "node:net";
import type { Logger } from "pino";
import { Counter, Gauge, type Registry } from "prom-client";
import { type EncodedResource, fedEndpoints, type NodeGroup } from "../compiler/index.ts";
import { type PoolEndpoint, TYPE_URLS } from "../envoy/index.ts";
import type { Target } from "../policy/index.ts";
import type { Key } from "../resources/index.ts";
import type { Clock } from "./clock.ts";
import { type EndpointUpdate, outsideOf, parseEndpointUpdate, rangesOf } from "./endpoint-update.ts";
import type { GroupChange } from "./snapshot.ts";

/** What became of an update. */
export type FeedOutcome =
  | "applied"
  | "unchanged"
  /** The source says more than it may; the newest update of each upstream is applied when its turn comes. */
  | "delayed"
  | "invalid"
  | "unknown-upstream"
  | "out-of-range"
  | "empty";

export interface FeedAnswer {
  readonly outcome: FeedOutcome;
  /** Why it was refused; "" where it was not. */
  readonly message: string;
}

/** What was fed, kept over restarts: last known good. */
export interface FeedMemory {
  /** Newest wins; must not throw. @param endpoints  undefined: forget it */
  keep(upstream: Key, endpoints: readonly PoolEndpoint[] | undefined): void;
}

export interface EndpointFeedOptions {
  readonly clock: Clock;
  readonly log: Logger;
  readonly registry?: Registry;
  /** Called with the endpoints of the pools that an update concerns, and nothing else. */
  readonly change: (change: GroupChange) => unknown;
  readonly memory?: FeedMemory;
  /** As memory had it when the process ended. */
  readonly remembered?: ReadonlyMap<Key, readonly PoolEndpoint[]>;
  /** Updates that each source may make in the long run. */
  readonly updatesPerSecond: number;
}

/** Endpoints, health and weights as sources tell them, in the place of those that a revision has. */
export interface EndpointFeed {
  /** A revision is to be served: which upstreams may be fed, and where their pools are. */
  setRevision(targets: readonly Target[], groups: readonly NodeGroup[]): void;
  /** The resources of a group of the newest revision, with endpoints as they are now. */
  overlay(group: NodeGroup): readonly EncodedResource[];
  /** @param input  an update as it came from outside */
  offer(source: string, input: unknown): FeedAnswer;
  /** Safe to call twice. */
  close(): void;
}

interface Fed {
  readonly ranges: BlockList;
  /** As the revision has them. */
  readonly compiled: { readonly group: string; readonly resource: EncodedResource }[];
}

interface Source {
  tokens: number;
  at: number;
  readonly waiting: Map<Key, EndpointUpdate>;
  cancel: () => void;
}

export function createEndpointFeed(options: EndpointFeedOptions): EndpointFeed {
  const { clock, log, change, memory, updatesPerSecond } = options;
  const current = new Map<Key, readonly PoolEndpoint[]>(options.remembered);
  const sources = new Map<string, Source>();
  const count = options.registry === undefined ? () => {} : counters(options.registry, () => current.size);
  let upstreams: ReadonlyMap<Key, Fed> = new Map();
  let overlaid: ReadonlyMap<EncodedResource, EncodedResource> = new Map();

  /** @returns why the endpoints cannot be those of the upstream */
  function objection(fed: Fed, endpoints: readonly PoolEndpoint[]): string | undefined {
    const outside = outsideOf(fed.ranges, endpoints);
    return outside === undefined ? undefined : `${outside.address} lies in none of the upstream's ranges`;
  }

  function refusal(update: EndpointUpdate): FeedAnswer | undefined {
    const { upstream } = update;
    const fed = upstreams.get(upstream);
    if (fed === undefined) {
      const message = `there is no upstream "${upstream}" that has ranges: spec.ranges says where a feed may put endpoints`;
      return { outcome: "unknown-upstream", message };
    }
    if ("withdraw" in update) return undefined;
    if (update.endpoints.length === 0 && !update.allowEmpty) {
      const message = `an update without endpoints would stop all traffic of "${upstream}"; allowEmpty: true says that it is meant`;
      return { outcome: "empty", message };
    }
    const why = objection(fed, update.endpoints);
    return why === undefined ? undefined : { outcome: "out-of-range", message: `${upstream}: ${why}` };
  }

  function apply(update: EndpointUpdate): FeedAnswer {
    const { upstream } = update;
    const endpoints = "withdraw" in update ? undefined : update.endpoints;
    const fed = upstreams.get(upstream);
    if (fed === undefined) return { outcome: "unknown-upstream", message: "" };
    if (JSON.stringify(current.get(upstream)) === JSON.stringify(endpoints))
      return { outcome: "unchanged", message: "" };
    const replaced = new Map(overlaid);
    const byGroup = new Map<string, EncodedResource[]>();
    for (const { group, resource } of fed.compiled) {
      const now = endpoints === undefined ? resource : fedEndpoints(group, resource.name, endpoints);
      if (now === undefined) return { outcome: "invalid", message: `${upstream}: Envoy would refuse these endpoints` };
      replaced.set(resource, now);
      byGroup.set(group, [...(byGroup.get(group) ?? []), now]);
    }
    overlaid = replaced;
    if (endpoints === undefined) current.delete(upstream);
    else current.set(upstream, endpoints);
    memory?.keep(upstream, endpoints);
    for (const [group, resources] of byGroup) change({ group, resources });
    return { outcome: "applied", message: "" };
  }

  function sourceOf(name: string): Source {
    const known = sources.get(name);
    if (known !== undefined) return known;
    const source = { tokens: updatesPerSecond, at: clock.now(), waiting: new Map(), cancel: () => {} };
    sources.set(name, source);
    return source;
  }

  function refill(source: Source): void {
    const now = clock.now();
    const earned = (Math.max(0, now - source.at) / 1_000) * updatesPerSecond;
    source.tokens = Math.min(updatesPerSecond, source.tokens + earned);
    source.at = now;
  }

  /** Applies what waits, oldest first, as far as the source may. */
  function drain(name: string, source: Source): void {
    refill(source);
    for (const [upstream, update] of source.waiting) {
      if (source.tokens < 1) break;
      source.waiting.delete(upstream);
      // The revision may have changed while it waited.
      const answer = refusal(update) ?? apply(update);
      if (answer.outcome === "applied") source.tokens -= 1;
      told(name, answer);
    }
    plan(name, source);
  }

  function plan(name: string, source: Source): void {
    source.cancel();
    if (source.waiting.size === 0) return;
    const waitMs = Math.ceil(((1 - source.tokens) / updatesPerSecond) * 1_000);
    source.cancel = clock.after(Math.max(1, waitMs), () => drain(name, source));
  }

  function told(source: string, answer: FeedAnswer): FeedAnswer {
    count(source, answer.outcome);
    if (answer.message !== "")
      log.warn({ source, outcome: answer.outcome, reason: answer.message }, "endpoints refused");
    return answer;
  }

  return {
    setRevision(targets, groups) {
      const upstreamOf = new Map<string, Key>();
      const found = new Map<Key, Fed>();
      for (const { pool, upstream, ranges } of targets) {
        if (ranges === undefined) continue;
        upstreamOf.set(pool, upstream);
        if (!found.has(upstream)) found.set(upstream, { ranges: rangesOf(ranges), compiled: [] });
      }
      for (const { name: group, resources } of groups) {
        for (const resource of resources) {
          if (resource.typeUrl !== TYPE_URLS.endpoint) continue;
          found.get(upstreamOf.get(resource.name) ?? "")?.compiled.push({ group, resource });
        }
      }
      upstreams = found;
      const replaced = new Map<EncodedResource, EncodedResource>();
      for (const [upstream, endpoints] of current) {
        const fed = found.get(upstream);
        // Kept all the same: an upstream that is gone may come back, and what it had then is better than nothing.
        if (fed === undefined) continue;
        const why = objection(fed, endpoints);
        if (why !== undefined) {
          log.error(
            { upstream, reason: why },
            "endpoints that were fed are no longer in range: those of the revision hold",
          );
          current.delete(upstream);
          memory?.keep(upstream, undefined);
          continue;
        }
        for (const { group, resource } of fed.compiled) {
          const now = fedEndpoints(group, resource.name, endpoints);
          if (now !== undefined) replaced.set(resource, now);
        }
      }
      overlaid = replaced;
    },
    overlay: ({ resources }) => resources.map((resource) => overlaid.get(resource) ?? resource),
    offer(name, input) {
      const update = parseEndpointUpdate(input);
      if (typeof update === "string") return told(name, { outcome: "invalid", message: update });
      const refused = refusal(update);
      if (refused !== undefined) return told(name, refused);
      // What waits for its turn is older, whoever said it.
      for (const source of sources.values()) source.waiting.delete(update.upstream);
      const source = sourceOf(name);
      refill(source);
      if (source.tokens < 1) {
        source.waiting.set(update.upstream, update);
        plan(name, source);
        return told(name, { outcome: "delayed", message: "" });
      }
      const answer = apply(update);
      if (answer.outcome === "applied") source.tokens -= 1;
      return told(name, answer);
    },
    close() {
      for (const source of sources.values()) {
        source.cancel();
        source.waiting.clear();
      }
    },
  };
}

function counters(registry: Registry, fed: () => number) {
  const updates = new Counter({
    name: "chancery_xds_endpoint_updates_total",
    help: "Updates of endpoints by their source and what became of them.",
    labelNames: ["source", "outcome"],
    registers: [registry],
  });
  new Gauge({
    name: "chancery_xds_fed_upstreams",
    help: "Upstreams whose endpoints were fed.",
    registers: [registry],
    collect() {
      this.set(fed());
    },
  });
  return (source: string, outcome: FeedOutcome) => updates.inc({ source, outcome });
}
