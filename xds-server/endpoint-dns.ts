import { promises as dns } from "node:dns";
import type { Logger } from "pino";
import { Counter, Gauge, type Registry } from "prom-client";
import type { PoolEndpoint } from "../envoy/index.ts";
import type { Target } from "../policy/index.ts";
import { ChanceryError, type DnsLookup, type Key } from "../resources/index.ts";
import type { Clock } from "./clock.ts";
import type { EndpointFeed } from "./endpoint-feed.ts";

export interface DnsSettings {
  /** "address" or "address:port"; empty: those of this machine. */
  readonly servers: readonly string[];
  /** An answer counts for as long as its records say, and for this long at least and at most, ms. */
  readonly minMs: number;
  readonly maxMs: number;
}

export const DEFAULT_DNS_SETTINGS: DnsSettings = { servers: [], minMs: 5_000, maxMs: 60_000 };

export interface EndpointDnsOptions {
  readonly settings: DnsSettings;
  readonly feed: Pick<EndpointFeed, "offer">;
  readonly log: Logger;
  readonly clock: Clock;
  /** In [0, 1); spreads lookups over time. */
  readonly random: () => number;
  readonly registry?: Registry;
}

/** Looks names of upstreams up for as long as they have them, and says what their endpoints are. */
export interface EndpointDns {
  /** A revision is served: its upstreams' names are looked up from now on, and what is known of them is said again. */
  follow(targets: readonly Target[]): void;
  /** Safe to call twice. */
  close(): void;
}

const QUERY_MS = 2_000;
const QUERY_TRIES = 2;
/** Queries at a time. */
const MAX_QUERIES = 32;
/** Endpoints of one upstream, and targets of one SRV name. */
const MAX_ENDPOINTS = 1_000;
const MAX_TARGETS = 100;
const ENVOY_PRIORITIES = 128;
const ENVOY_WEIGHT = 1_000_000;

interface Answer {
  readonly endpoints: readonly PoolEndpoint[];
  readonly ttlMs: number;
}

interface Followed {
  readonly lookups: readonly DnsLookup[];
  /** The newest of each lookup: what fails keeps what it had. */
  readonly answers: (Answer | undefined)[];
  /** In a row. */
  failures: number;
  /** When all of them were answered last, ms since the epoch; when they were asked first, before that. */
  freshAt: number;
  said: string;
  cancel: () => void;
}

/** @throws ChanceryError "invalid-argument" where a server is no address */
export function createEndpointDns(options: EndpointDnsOptions): EndpointDns {
  const { settings, feed, log, clock, random } = options;
  const resolver = newResolver(settings.servers);
  const query = limited(MAX_QUERIES);
  const followed = new Map<Key, Followed>();
  const count = options.registry === undefined ? () => {} : metrics(options.registry, followed, clock);
  let closed = false;

  async function addresses(type: "A" | "AAAA", name: string): Promise<{ addresses: string[]; ttlMs: number }> {
    const records = await query(() =>
      type === "A" ? resolver.resolve4(name, { ttl: true }) : resolver.resolve6(name, { ttl: true }),
    );
    return {
      addresses: records.map(({ address }) => address),
      ttlMs: Math.min(...records.map(({ ttl }) => ttl * 1_000)),
    };
  }

  async function answerOf(lookup: DnsLookup): Promise<Answer> {
    const { name } = lookup;
    if (lookup.type !== "SRV") {
      const { port, weight, priority } = lookup;
      const found = await addresses(lookup.type, name);
      const at = { port, weight, priority, ...placeOf(lookup) };
      return { endpoints: found.addresses.map((address) => ({ address, ...at })), ttlMs: found.ttlMs };
    }
    const records = await query(() => resolver.resolveSrv(name));
    if (records.length > MAX_TARGETS) throw tooMany(`${records.length} targets`, MAX_TARGETS);
    const ranks = [...new Set(records.map(({ priority }) => priority))].sort((a, b) => a - b);
    const ofTargets = await Promise.all(
      records.map(async (record) => {
        const found = await bothFamilies(record.name);
        const at = {
          port: record.port,
          // Of a target with several addresses each gets the weight; 0 is "hardly ever" there, and refused by Envoy.
          weight: Math.min(Math.max(record.weight, 1), ENVOY_WEIGHT),
          priority: Math.min(ranks.indexOf(record.priority), ENVOY_PRIORITIES - 1),
          ...placeOf(lookup),
        };
        return { endpoints: found.addresses.map((address) => ({ address, ...at })), ttlMs: found.ttlMs };
      }),
    );
    // How long the SRV records themselves count, the resolver does not tell: as long as their targets.
    return {
      endpoints: ofTargets.flatMap(({ endpoints }) => endpoints),
      ttlMs: Math.min(...ofTargets.map(({ ttlMs }) => ttlMs)),
    };
  }

  /** A target may have addresses of one family only. */
  async function bothFamilies(name: string): Promise<{ addresses: string[]; ttlMs: number }> {
    const asked = await Promise.allSettled([addresses("A", name), addresses("AAAA", name)]);
    const found = asked.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
    const [failed] = asked.flatMap((each) => (each.status === "rejected" ? [each.reason as unknown] : []));
    if (found.length === 0) throw failed;
    return {
      addresses: found.flatMap((each) => each.addresses),
      ttlMs: Math.min(...found.map(({ ttlMs }) => ttlMs)),
    };
  }

  async function look(upstream: Key, entry: Followed): Promise<void> {
    const asked = await Promise.allSettled(entry.lookups.map(answerOf));
    if (closed || followed.get(upstream) !== entry) return;
    const reasons: string[] = [];
    let ttlMs = settings.maxMs;
    for (const [index, each] of asked.entries()) {
      count(each.status === "fulfilled" ? "answered" : "failed");
      if (each.status === "fulfilled") {
        entry.answers[index] = each.value;
        ttlMs = Math.min(ttlMs, each.value.ttlMs);
      } else reasons.push(ChanceryError.from(each.reason).message);
    }
    if (reasons.length === 0) {
      if (entry.failures > 0) log.info({ upstream }, "names are answered again");
      entry.failures = 0;
      entry.freshAt = clock.now();
    } else {
      if (entry.failures === 0) log.warn({ upstream, reasons }, "names are not answered: the last good endpoints stay");
      entry.failures += 1;
      ttlMs = Math.min(ttlMs, settings.minMs * 2 ** Math.min(entry.failures - 1, 10));
    }
    say(upstream, entry);
    const waitMs = Math.min(Math.max(ttlMs, settings.minMs), settings.maxMs) * (0.9 + 0.2 * random());
    entry.cancel = clock.after(waitMs, () => void look(upstream, entry));
  }

  /** Offers what is known, where it is something new. While a name was never answered there is nothing whole to say. */
  function say(upstream: Key, entry: Followed): void {
    const known = entry.answers.flatMap((answer) => (answer === undefined ? [] : [answer]));
    if (known.length < entry.lookups.length) return;
    const endpoints = inOrder(known.flatMap((answer) => answer.endpoints));
    if (endpoints.length > MAX_ENDPOINTS) {
      const { message } = tooMany(`${endpoints.length} endpoints`, MAX_ENDPOINTS);
      log.error({ upstream, reason: message }, "names are answered with too much: the last good endpoints stay");
      return;
    }
    const text = JSON.stringify(endpoints);
    if (text === entry.said) return;
    entry.said = text;
    feed.offer("dns", { upstream, endpoints });
  }

  return {
    follow(targets) {
      const wanted = new Map(
        targets.flatMap(({ upstream, dns: names }) => (names === undefined ? [] : [[upstream, names]])),
      );
      for (const [upstream, { lookups, cancel }] of followed) {
        if (JSON.stringify(wanted.get(upstream)) === JSON.stringify(lookups)) continue;
        cancel();
        followed.delete(upstream);
      }
      for (const [upstream, lookups] of wanted) {
        const known = followed.get(upstream);
        if (known !== undefined) {
          // What the revision before refused for its ranges, this one may take.
          known.said = "";
          say(upstream, known);
          continue;
        }
        const entry: Followed = {
          lookups,
          answers: lookups.map(() => undefined),
          failures: 0,
          freshAt: clock.now(),
          said: "",
          cancel: () => {},
        };
        followed.set(upstream, entry);
        void look(upstream, entry);
      }
    },
    close() {
      closed = true;
      for (const { cancel } of followed.values()) cancel();
      followed.clear();
      resolver.cancel();
    },
  };
}

function newResolver(servers: readonly string[]): dns.Resolver {
  const resolver = new dns.Resolver({ timeout: QUERY_MS, tries: QUERY_TRIES });
  try {
    if (servers.length > 0) resolver.setServers(servers);
  } catch (cause) {
    const message = `no name servers: ${servers.join(", ")}: write addresses such as 10.0.0.2 or 10.0.0.2:5353`;
    throw new ChanceryError("invalid-argument", message, { cause });
  }
  return resolver;
}

function placeOf({ region, zone }: DnsLookup): Pick<PoolEndpoint, "region" | "zone"> {
  return { ...(region === undefined ? {} : { region }), ...(zone === undefined ? {} : { zone }) };
}

/** One of each address, port and priority; in an order that does not depend on that of the answers. Priorities run from 0. */
function inOrder(endpoints: readonly PoolEndpoint[]): PoolEndpoint[] {
  const keyOf = ({ address, port, priority }: PoolEndpoint) =>
    `${String(priority).padStart(3, "0")} ${address} ${port}`;
  const byKey = new Map<string, PoolEndpoint>();
  for (const endpoint of endpoints) if (!byKey.has(keyOf(endpoint))) byKey.set(keyOf(endpoint), endpoint);
  return [...byKey].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, endpoint]) => endpoint);
}

function tooMany(what: string, most: number): ChanceryError {
  return new ChanceryError("unavailable", `a name has ${what}, more than ${most}`);
}

/** Runs at most `most` at a time, in the order in which they came. */
function limited(most: number): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
}

function metrics(registry: Registry, followed: ReadonlyMap<Key, Followed>, clock: Clock) {
  const lookups = new Counter({
    name: "chancery_xds_dns_lookups_total",
    help: "Lookups of names of upstreams, by whether they were answered.",
    labelNames: ["outcome"],
    registers: [registry],
  });
  new Gauge({
    name: "chancery_xds_dns_age_seconds",
    help: "Time since all names of an upstream were answered last, or were asked for first.",
    labelNames: ["upstream"],
    registers: [registry],
    collect() {
      this.reset();
      for (const [upstream, { freshAt }] of followed) this.set({ upstream }, (clock.now() - freshAt) / 1_000);
    },
  });
  return (outcome: "answered" | "failed") => lookups.inc({ outcome });
}
