import { describe, expect, test } from "vitest";
import { TYPE_URLS } from "../envoy/index.ts";
import { cluster, driveSession, endpoints, namesOf, route, typesOf } from "./session-driver.ts";

const { cluster: CDS, endpoint: EDS, route: RDS } = TYPE_URLS;
const clusters = (...names: readonly string[]) => names.map((name) => cluster(name));
/** Each resource is a part of its own. */
const one = { maxResponseBytes: 1 };
/** Two resources of this file in a part. */
const two = { maxResponseBytes: 800 };

describe("delta: a response that is too large comes in parts", () => {
  test("of which each has its nonce, none has too much, and all together are what was asked for", () => {
    const drive = driveSession("delta", { resources: clusters("a", "b", "c", "d", "e"), settings: two });
    const parts = drive.change(CDS);
    expect(parts.map(namesOf)).toEqual([["a", "b"], ["c", "d"], ["e"]]);
    expect(new Set(parts.map(({ nonce }) => nonce)).size).toBe(3);
    for (const part of parts) drive.ack(part);
    expect(drive.pass(60_000)).toEqual([]);
  });

  test("which streams share that are given the same", () => {
    const resources = clusters("a", "b", "c");
    const view = driveSession("delta", { resources, settings: two });
    const first = view.change(CDS);
    const other = driveSession("delta", { settings: two, sameViewAs: view }).change(CDS);
    expect(first).toHaveLength(2);
    expect(other.map((part) => part.resources)).toEqual(first.map((part) => part.resources));
    for (const [index, part] of other.entries()) expect(part.resources).toBe(first[index]?.resources);
  });

  test("one resource that is too large by itself goes alone", () => {
    const drive = driveSession("delta", { resources: clusters("a", "b"), settings: one });
    expect(drive.change(CDS).map(namesOf)).toEqual([["a"], ["b"]]);
  });

  test("changes and removals too, and each name once", () => {
    const drive = driveSession("delta", { resources: clusters("a", "b", "c", "d"), settings: two });
    for (const part of drive.change(CDS)) drive.ack(part);
    const parts = drive.publish(cluster("a", "2"), cluster("b", "2"), cluster("c", "2"), cluster("e"));
    expect(parts.flatMap(namesOf).toSorted()).toEqual(["-d", "a", "b", "c", "e"]);
    expect(parts.length).toBeGreaterThan(1);
    for (const part of parts) drive.ack(part);
    expect(drive.pass(10_000)).toEqual([]);
  });

  test("routes wait until the last part of the clusters is acknowledged", () => {
    const drive = driveSession("delta", { resources: [...clusters("a", "b"), route("r", "1")], settings: one });
    for (const part of drive.change(CDS)) drive.ack(part);
    for (const part of drive.change(RDS, { subscribe: ["r"] })) drive.ack(part);
    const parts = drive.publish(cluster("a", "2"), cluster("b", "2"), route("r", "2"));
    expect(typesOf(parts)).toEqual(["cluster", "cluster"]);
    expect(drive.ack(parts[0])).toEqual([]);
    expect(typesOf(drive.ack(parts[1]))).toEqual(["route"]);
  });

  test("a revision is acknowledged with the last part", () => {
    const drive = driveSession("delta", { resources: clusters("a", "b"), settings: one });
    const parts = drive.change(CDS);
    const acknowledged = () => drive.effects.filter(({ kind }) => kind === "acknowledged").length;
    drive.ack(parts[0]);
    expect(acknowledged()).toBe(0);
    drive.ack(parts[1]);
    expect(acknowledged()).toBe(1);
  });

  test("a change has converged once, with its last part", () => {
    const drive = driveSession("delta", { resources: clusters("a", "b"), settings: one });
    for (const part of drive.change(CDS)) drive.ack(part);
    const before = drive.effects.length;
    for (const part of drive.publish(cluster("a", "2"), cluster("b", "2"))) drive.ack(part);
    const accepted = drive.effects.slice(before).filter((effect) => effect.kind === "accepted");
    expect(accepted.map(({ publishedAt }) => publishedAt !== undefined)).toEqual([false, true]);
  });

  test("what is asked for after a change is no part of it", () => {
    const resources = [endpoints("a", "1"), endpoints("b", "1")];
    const drive = driveSession("delta", { resources });
    const accepted = () =>
      drive.effects.flatMap((effect) => (effect.kind === "accepted" ? [effect.publishedAt !== undefined] : []));
    drive.ack(drive.change(EDS, { subscribe: ["a"] })[0]);
    drive.ack(drive.publish(endpoints("a", "2"), endpoints("b", "1"))[0]);
    drive.ack(drive.change(EDS, { subscribe: ["b"] })[0]);
    expect(accepted()).toEqual([false, true, false]);
  });

  test("the refusal of a part is its own: the others stay accepted", () => {
    const drive = driveSession("delta", { resources: clusters("a", "b", "c"), settings: one });
    const [first, second, third] = drive.change(CDS);
    drive.ack(first);
    expect(drive.nack(second)).toEqual([]);
    drive.ack(third);
    expect(namesOf(drive.publish(cluster("a"), cluster("b", "2"), cluster("c"))[0])).toEqual(["b"]);
  });

  test("a refusal after later parts went out holds back what it refused and nothing else", () => {
    const drive = driveSession("delta", { resources: clusters("a", "b", "c"), settings: one });
    const parts = drive.change(CDS);
    drive.nack(parts[0]);
    drive.ack(parts[1]);
    drive.ack(parts[2]);
    expect(drive.pass(60_000)).toEqual([]);
    expect(namesOf(drive.publish(cluster("a", "2"), cluster("b"), cluster("c"))[0])).toEqual(["a"]);
  });

  describe("while the transport is slow", () => {
    const slow = (settings = one) => {
      const drive = driveSession("delta", { resources: clusters("a", "b", "c"), settings, autoWrite: false });
      const written = () => drive.deliver({ kind: "written", now: 1_000_000 });
      return { drive, written };
    };

    test("the next part waits until the one before is taken", () => {
      const { drive, written } = slow();
      expect(drive.change(CDS).map(namesOf)).toEqual([["a"]]);
      expect(written().map(namesOf)).toEqual([["b"]]);
      expect(written().map(namesOf)).toEqual([["c"]]);
      expect(written()).toEqual([]);
    });

    test("a part leaves out what changed or went meanwhile, and the newest is told", () => {
      const { drive, written } = slow(two);
      expect(drive.change(CDS).map(namesOf)).toEqual([["a", "b"]]);
      drive.publish(cluster("a"), cluster("b"), cluster("c", "2"));
      const [next] = written();
      expect(next?.resources.map(({ name, version }) => [name, version])).toEqual([["c", cluster("c", "2").version]]);
      expect(written()).toEqual([]);
    });

    test("a name that is given up before its part is not sent", () => {
      const drive = driveSession("delta", {
        resources: ["a", "b", "c"].map((name) => endpoints(name)),
        settings: one,
        autoWrite: false,
      });
      const written = () => drive.deliver({ kind: "written", now: 1_000_000 });
      expect(drive.change(EDS, { subscribe: ["a", "b", "c"] }).map(namesOf)).toEqual([["a"]]);
      drive.change(EDS, { unsubscribe: ["b", "c"] });
      expect(written()).toEqual([]);
      drive.publish(endpoints("a", "2"));
      expect(namesOf(drive.deliver({ kind: "tick", now: 1_000_000 })[0])).toEqual([]);
    });
  });
});

describe("state of the world", () => {
  test("is never in parts: what is missing from a list of clusters is deleted", () => {
    const drive = driveSession("sotw", { resources: clusters("a", "b", "c"), settings: one });
    expect(drive.ask(CDS, []).map(namesOf)).toEqual([["a", "b", "c"]]);
  });
});
