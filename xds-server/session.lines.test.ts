import { describe, expect, test } from "vitest";
import { TYPE_URLS } from "../envoy/index.ts";
import { VIRTUAL_HOST } from "./resource-types.ts";
import {
  cluster,
  type DriverOptions,
  driveSession,
  endpoints,
  listener,
  namesOf,
  route,
  type SessionDriver,
  secret,
  typesOf,
} from "./session-driver.ts";
import type { ServedResource } from "./snapshot.ts";

const { cluster: CDS, endpoint: EDS, listener: LDS, route: RDS, secret: SDS } = TYPE_URLS;
const all = (content: string) => [
  cluster("a", content),
  endpoints("a", content),
  listener("l", content),
  route("r", content),
];

/** The first request for a type, in the words of the protocol. */
function askFirst(drive: SessionDriver, typeUrl: string, names: readonly string[] = []) {
  return drive.session.protocol === "sotw"
    ? drive.ask(typeUrl, names)
    : drive.change(typeUrl, names.length === 0 ? {} : { subscribe: names });
}

describe("state of the world: what reconnecting and order need", () => {
  test("line 9: the same content has the same version on every replica and after every restart", () => {
    const version = () => driveSession("sotw", { resources: all("1") }).ask(LDS, [])[0]?.version;
    expect(version()).toBe(version());
    expect(driveSession("sotw", { resources: all("2") }).ask(LDS, [])[0]?.version).not.toBe(version());
  });

  test("line 39: the secrets of a changed cluster are sent again", () => {
    const drive = driveSession("sotw", { resources: [cluster("a", "1", ["s"]), secret("s")] });
    drive.ack(drive.ask(CDS, [])[0]);
    drive.ack(drive.ask(SDS, ["s"])[0]);
    expect(typesOf(drive.publish(cluster("a", "2", ["s"]), secret("s")))).toEqual(["cluster", "secret"]);
  });

  test("line 40: a reconnect in another order is answered, and endpoints follow a cluster that was sent", () => {
    const drive = driveSession("sotw", { resources: all("1") });
    expect(typesOf(drive.ask(EDS, ["a"], { version: "old", nonce: "old-1" }))).toEqual(["endpoint"]);
    expect(typesOf(drive.ask(LDS, [], { version: "old", nonce: "old-2" }))).toEqual(["listener"]);
    expect(typesOf(drive.ask(CDS, [], { version: "old", nonce: "old-3" }))).toEqual(["cluster", "endpoint"]);
  });

  test("line 44: two changes between clusters and the request for endpoints do not deadlock", () => {
    const drive = driveSession("sotw", { resources: all("1") });
    drive.ask(CDS, []);
    drive.publish(...all("2"));
    drive.publish(...all("3"));
    expect(drive.ask(EDS, ["a"])[0]?.resources[0]?.version).toBe(endpoints("a", "3").version);
  });

  test("line 45: later requests need no node, and may not name another", () => {
    const drive = driveSession("sotw", { resources: all("1") });
    drive.ask(CDS, [], { node: "n1" });
    expect(drive.ask(LDS, [])).toHaveLength(1);
    drive.ask(EDS, ["a"], { node: "n2" });
    expect(drive.effects.at(-1)).toMatchObject({ kind: "close", code: "invalid-argument" });
  });

  test("line 48: while the transport is full, changes merge to the newest", () => {
    const drive = driveSession("sotw", { resources: [cluster("a")], autoWrite: false });
    expect(drive.ask(CDS, [])).toHaveLength(1);
    for (let content = 2; content <= 100; content++) expect(drive.publish(cluster("a", String(content)))).toEqual([]);
    const sent = drive.deliver({ kind: "written", now: 0 });
    expect(sent.map(({ resources }) => resources.map(({ version }) => version))).toEqual([
      [cluster("a", "100").version],
    ]);
  });
});

describe("separate streams", () => {
  for (const protocol of ["sotw", "delta"] as const) {
    const kinds = [
      [CDS, [], cluster],
      [LDS, [], listener],
      [EDS, ["a"], endpoints],
      [RDS, ["a"], route],
      [SDS, ["a"], secret],
    ] as const;
    for (const [only, names, make] of kinds) {
      const type = only.slice(only.lastIndexOf(".") + 1);
      test(`${protocol} ${type}: changes go out at once, refusals do not loop, other types are refused`, () => {
        const drive = driveSession(protocol, { only, resources: [make("a")] });
        const [first] = askFirst(drive, only, names);
        expect(namesOf(first)).toEqual(["a"]);
        expect(drive.ack(first)).toEqual([]);
        const [second] = drive.publish(make("a", "2"));
        expect(namesOf(second)).toEqual(["a"]);
        expect(drive.nack(second)).toEqual([]);
        expect(drive.pass(60_000)).toEqual([]);
        expect(namesOf(drive.publish(make("a", "3"))[0])).toEqual(["a"]);
        askFirst(drive, "type.googleapis.com/acme.Other");
        expect(drive.effects.at(-1)).toMatchObject({ kind: "close", code: "invalid-argument" });
      });
    }

    test(`${protocol}: line 46: an empty type means the type of the stream`, () => {
      const drive = driveSession(protocol, { only: CDS, resources: [cluster("a")] });
      expect(askFirst(drive, "").map(({ typeUrl }) => typeUrl)).toEqual([CDS]);
    });

    test(`${protocol}: a removal waits for nothing that comes on another stream`, () => {
      const drive = driveSession(protocol, { only: CDS, resources: [...all("1"), cluster("b")] });
      drive.ack(askFirst(drive, CDS)[0]);
      expect(namesOf(drive.publish(...all("1"))[0])).toEqual(protocol === "delta" ? ["-b"] : ["a"]);
    });
  }
});

describe("lifetimes", () => {
  const mortal = (name: string, ttlMs: number, content = "1"): ServedResource => ({
    ...endpoints(name, content),
    ttlMs,
  });
  const features = { supportsTtl: true, supportsResourceInSotw: true };
  const start = (protocol: "sotw" | "delta", options: Partial<DriverOptions> = {}) => {
    const drive = driveSession(protocol, { resources: [mortal("a", 3_000), endpoints("b")], features, ...options });
    const [first] = askFirst(drive, EDS, ["a", "b"]);
    drive.ack(first);
    return { drive, first };
  };

  for (const protocol of ["sotw", "delta"] as const) {
    test(`line 50: ${protocol}: heartbeats have the version and no body, and end with the lifetime`, () => {
      const { drive, first } = start(protocol);
      expect(first?.ttl).toBe(true);
      for (let round = 0; round < 3; round++) {
        const [beat, ...more] = drive.pass(1_000);
        expect(more).toEqual([]);
        expect(beat?.version).toBe(first?.version);
        expect(beat?.resources).toEqual([]);
        expect(beat?.bodiless).toEqual([{ name: "a", version: endpoints("a").version, ttlMs: 3_000 }]);
        expect(drive.ack(beat)).toEqual([]);
      }
      // The body goes along once more: only so a client hears that the lifetime is no more.
      const [unset] = drive.publish(endpoints("a"), endpoints("b"));
      expect(namesOf(unset)).toEqual(["a"]);
      expect(unset?.resources[0]?.ttlMs).toBeUndefined();
      drive.ack(unset);
      expect(drive.pass(60_000)).toEqual([]);
    });

    test(`line 50: ${protocol}: a client that does not know lifetimes hears nothing of them`, () => {
      const { drive, first } = start(protocol, { features: {} });
      expect(first?.ttl).toBe(false);
      expect(drive.pass(60_000)).toEqual([]);
      const withTtl = [mortal("a", 5_000), endpoints("b")];
      expect(driveSession(protocol, { resources: withTtl }).pass(60_000)).toEqual([]);
    });

    test(`${protocol}: a changed resource is an update, and the next heartbeat is of the new version`, () => {
      const { drive } = start(protocol);
      const [update] = drive.publish(mortal("a", 3_000, "2"), endpoints("b"));
      drive.ack(update);
      expect(drive.pass(1_000)[0]?.bodiless[0]?.version).toBe(endpoints("a", "2").version);
    });

    test(`${protocol}: what was refused, dropped or removed has no heartbeat`, () => {
      const refused = start(protocol).drive;
      refused.nack(refused.publish(mortal("a", 3_000, "2"), endpoints("b"))[0]);
      expect(refused.pass(60_000)).toEqual([]);
      const dropped = start(protocol).drive;
      const nonce = dropped.session.types.get(EDS)?.nonce ?? "";
      if (protocol === "sotw") dropped.ask(EDS, ["b"], { nonce });
      else dropped.change(EDS, { unsubscribe: ["a"] });
      expect(dropped.pass(60_000)).toEqual([]);
      const removed = start(protocol).drive;
      removed.publish(endpoints("b"));
      expect(removed.pass(60_000).flatMap(({ bodiless }) => bodiless)).toEqual([]);
    });

    test(`${protocol}: a refused heartbeat is not followed by another`, () => {
      const { drive } = start(protocol);
      drive.nack(drive.pass(1_000)[0]);
      expect(drive.pass(60_000)).toEqual([]);
    });

    test(`${protocol}: while the transport is full, no heartbeats pile up`, () => {
      const drive = driveSession(protocol, { resources: [mortal("a", 3_000)], features, autoWrite: false });
      expect(askFirst(drive, EDS, ["a"])).toHaveLength(1);
      expect(drive.pass(60_000)).toEqual([]);
      expect(drive.deliver({ kind: "written", now: 2_000_000 })).toHaveLength(1);
    });
  }

  test("line 50: state of the world needs the feature of wrapped resources, too", () => {
    const { drive, first } = start("sotw", { features: { supportsTtl: true } });
    expect(first?.ttl).toBe(false);
    expect(drive.pass(60_000)).toEqual([]);
  });

  test("sotw: a heartbeat of clusters names all of them, since what is missing would be deleted", () => {
    const resources = [{ ...cluster("a"), ttlMs: 3_000 }, cluster("b")];
    const drive = driveSession("sotw", { resources, features });
    drive.ack(drive.ask(CDS, [])[0]);
    const [beat] = drive.pass(1_000);
    expect([namesOf(beat), beat?.bodiless.map(({ name }) => name)]).toEqual([["b"], ["a"]]);
  });

  test("delta: what a reconnecting client holds is kept alive at once: how long it has left is not known", () => {
    const drive = driveSession("delta", { resources: [mortal("a", 3_000)], features });
    const [beat] = drive.change(EDS, { subscribe: ["a"], claims: { a: endpoints("a").version } });
    expect([beat?.resources, beat?.bodiless.map(({ name }) => name)]).toEqual([[], ["a"]]);
  });
});

describe("delta: aliases", () => {
  const host = (name: string, aliases: readonly string[], version = "1"): ServedResource => ({
    typeUrl: VIRTUAL_HOST,
    name,
    version,
    value: new TextEncoder().encode(version),
    aliases,
  });
  const [shop, blog] = [
    host("rc/shop", ["rc/shop.example", "rc/www.shop.example"]),
    host("rc/blog", ["rc/blog.example"]),
  ];

  test("line 35: a host that is asked for by an alias is sent once, with its aliases, and kept up to date", () => {
    const drive = driveSession("delta", { resources: [shop, blog] });
    const subscribe = ["rc/shop.example", "rc/www.shop.example", "rc/shop"];
    const [first] = drive.change(VIRTUAL_HOST, { subscribe });
    expect(first?.resources).toEqual([shop]);
    drive.ack(first);
    const next = host("rc/shop", shop.aliases ?? [], "2");
    expect(drive.publish(next, { ...blog, version: "2" })[0]?.resources).toEqual([next]);
    expect(drive.change(VIRTUAL_HOST, { subscribe: ["rc/shop.example"] })[0]?.resources).toEqual([next]);
  });

  test("line 35: an unknown host is said to be so under its alias, and sent when it comes", () => {
    const drive = driveSession("delta", { resources: [shop] });
    const [none] = drive.change(VIRTUAL_HOST, { subscribe: ["rc/blog.example"] });
    expect([none?.resources, none?.removed]).toEqual([[], []]);
    expect(none?.bodiless).toEqual([{ name: "rc/blog.example", version: "", aliases: ["rc/blog.example"] }]);
    drive.ack(none);
    expect(drive.publish(shop, blog)[0]?.resources).toEqual([blog]);
    expect(namesOf(drive.publish(shop)[0])).toEqual(["-rc/blog"]);
  });

  test("line 35: a host that loses the alias it was asked by is removed, and an alias that is dropped ends its updates", () => {
    const drive = driveSession("delta", { resources: [shop, blog] });
    drive.ack(drive.change(VIRTUAL_HOST, { subscribe: ["rc/shop.example", "rc/blog.example"] })[0]);
    expect(namesOf(drive.publish(host("rc/shop", [], "2"), blog)[0])).toEqual(["-rc/shop"]);
    expect(drive.change(VIRTUAL_HOST, { unsubscribe: ["rc/blog.example"] })).toEqual([]);
    expect(drive.publish(host("rc/blog", ["rc/blog.example"], "2"))).toEqual([]);
  });
});
