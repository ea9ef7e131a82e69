import { pino } from "pino";
import { Registry } from "prom-client";
import { expect, test } from "vitest";
import type { Target } from "../policy/index.ts";
import type { DnsLookup } from "../resources/index.ts";
import { closeAtEnd, startDnsServer, waitFor } from "../test/support/index.ts";
import { createEndpointDns } from "./endpoint-dns.ts";

const log = pino({ level: "silent" });

interface Offer {
  readonly upstream: string;
  readonly endpoints: readonly { readonly address: string; readonly port: number }[];
}

function target(upstream: string, ...dns: readonly DnsLookup[]): Target {
  return { pool: `upstream/${upstream}`, kind: "upstream", upstream, labels: {}, credential: "none", dns };
}

const a = (name: string, more: object = {}): DnsLookup => {
  return { type: "A", name, port: 80, weight: 1, priority: 0, ...more };
};

/** A source over a real name server, with a clock that stands still; waits are run one by one. */
async function start() {
  const server = closeAtEnd(await startDnsServer());
  const offers: Offer[] = [];
  const waits: { readonly ms: number; readonly run: () => void }[] = [];
  let now = 0;
  const clock = {
    now: () => now,
    after: (ms: number, run: () => void) => {
      const wait = { ms, run };
      waits.push(wait);
      return () => void waits.splice(waits.indexOf(wait), 1);
    },
  };
  const feed = {
    offer: (source: string, update: unknown) => {
      expect(source).toBe("dns");
      offers.push(update as Offer);
      return { outcome: "applied", message: "" } as const;
    },
  };
  const settings = { servers: [server.address], minMs: 2_000, maxMs: 30_000 };
  const registry = new Registry();
  const dns = closeAtEnd(createEndpointDns({ settings, feed, log, clock, random: () => 0.5, registry }));
  return {
    server,
    dns,
    offers,
    metrics: () => registry.metrics(),
    /** Waits for the end of a round of lookups. @returns what it is until the next, ms */
    round: () => waitFor(() => (waits.length > 0 ? waits[0]?.ms : undefined), 15_000, "the end of a round"),
    /** Lets that time pass. */
    next() {
      const wait = waits.shift();
      now += wait?.ms ?? 0;
      wait?.run();
    },
  };
}

test("addresses of names are endpoints, for as long as their records say and no shorter or longer than bounds", async () => {
  const { server, dns, offers, round, next } = await start();
  server.set("shop.test", [
    { type: "A", address: "10.1.0.9", ttl: 20 },
    { type: "A", address: "10.1.0.7", ttl: 12 },
    { type: "AAAA", address: "2001:db8::7", ttl: 60 },
  ]);
  const six: DnsLookup = { ...a("shop.test", { type: "AAAA", port: 81, weight: 3, zone: "b" }) };
  dns.follow([target("shop", a("shop.test"), six)]);
  expect(await round()).toBe(12_000);
  const at = { weight: 1, priority: 0 };
  const first = [
    { address: "10.1.0.7", port: 80, ...at },
    { address: "10.1.0.9", port: 80, ...at },
    { address: "2001:db8::7", port: 81, weight: 3, priority: 0, zone: "b" },
  ];
  expect(offers).toEqual([{ upstream: "shop", endpoints: first }]);
  server.set("shop.test", [
    { type: "A", address: "10.1.0.8", ttl: 0 },
    { type: "AAAA", address: "2001:db8::7", ttl: 900 },
  ]);
  next();
  expect(await round()).toBe(2_000);
  expect(offers.at(-1)?.endpoints.map(({ address }) => address)).toEqual(["10.1.0.8", "2001:db8::7"]);
  server.set("shop.test", [
    { type: "A", address: "10.1.0.8", ttl: 900 },
    { type: "AAAA", address: "2001:db8::7", ttl: 900 },
  ]);
  next();
  expect(await round()).toBe(30_000);
  expect(offers).toHaveLength(2);
});

test("of SRV records ports, priorities and weights are taken, and addresses of either family", async () => {
  const { server, dns, offers, round } = await start();
  server.set("_http._tcp.shop.test", [
    { type: "SRV", target: "one.test", port: 8080, priority: 10, weight: 5 },
    { type: "SRV", target: "two.test", port: 8081, priority: 20, weight: 0 },
  ]);
  server.set("one.test", [{ type: "A", address: "10.1.0.1", ttl: 7 }]);
  server.set("two.test", [{ type: "AAAA", address: "2001:db8::2", ttl: 9 }]);
  dns.follow([target("shop", { type: "SRV", name: "_http._tcp.shop.test", region: "eu" })]);
  expect(await round()).toBe(7_000);
  expect(offers[0]?.endpoints).toEqual([
    { address: "10.1.0.1", port: 8080, weight: 5, priority: 0, region: "eu" },
    { address: "2001:db8::2", port: 8081, weight: 1, priority: 1, region: "eu" },
  ]);
});

test("what fails keeps what it had, is asked again ever more slowly, and shows its age", async () => {
  const { server, dns, offers, round, next, metrics } = await start();
  server.set("one.test", [{ type: "A", address: "10.1.0.1", ttl: 5 }]);
  server.set("two.test", [{ type: "A", address: "10.1.0.2", ttl: 5 }]);
  dns.follow([target("shop", a("one.test"), a("two.test"))]);
  await round();
  expect(offers).toHaveLength(1);
  server.set("one.test", [{ type: "A", address: "10.1.0.11", ttl: 20 }]);
  server.set("two.test", []);
  const waits: number[] = [];
  for (let failures = 0; failures < 3; failures += 1) {
    next();
    waits.push(await round());
  }
  expect(waits).toEqual([2_000, 4_000, 8_000]);
  expect(offers.slice(1).map(({ endpoints }) => endpoints.map(({ address }) => address))).toEqual([
    ["10.1.0.11", "10.1.0.2"],
  ]);
  server.behave("failing");
  next();
  expect(await round()).toBe(16_000);
  expect(offers).toHaveLength(2);
  const told = await metrics();
  expect(told).toContain('chancery_xds_dns_age_seconds{upstream="shop"} 19');
  expect(told).toContain('chancery_xds_dns_lookups_total{outcome="failed"} 5');
  server.behave("well");
  server.set("two.test", [{ type: "A", address: "10.1.0.2", ttl: 5 }]);
  next();
  expect(await round()).toBe(5_000);
  expect(await metrics()).toContain('chancery_xds_dns_age_seconds{upstream="shop"} 0');
});

test("nothing is said while a name was never answered, nor of upstreams that have no names any more", async () => {
  const { server, dns, offers, round, next } = await start();
  server.set("one.test", [{ type: "A", address: "10.1.0.1", ttl: 5 }]);
  dns.follow([target("shop", a("one.test"), a("ghost.test"))]);
  await round();
  expect(offers).toEqual([]);
  dns.follow(
    [target("shop", a("one.test")), target("fixed")].map(({ dns: names, ...rest }) =>
      names?.length ? { ...rest, dns: names } : rest,
    ),
  );
  await waitFor(() => offers.length === 1, 5_000, "an answer to the one name that is left");
  await round();
  // Of a new revision's ranges nobody can know here: what is known is said again.
  dns.follow([target("shop", a("one.test"))]);
  expect(offers).toHaveLength(2);
  dns.follow([]);
  const asked = server.questions().length;
  next();
  expect(server.questions()).toHaveLength(asked);
});

test("a name server that is none is an error", () => {
  const settings = { servers: ["no-address"], minMs: 1, maxMs: 1 };
  const nobody = { now: () => 0, after: () => () => {} };
  const feed = { offer: () => ({ outcome: "applied", message: "" }) as const };
  expect(() => createEndpointDns({ settings, feed, log, clock: nobody, random: () => 0 })).toThrow(/no-address/);
});
