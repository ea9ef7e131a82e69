import { describe, expect, test } from "vitest";
import { TYPE_URLS } from "../envoy/index.ts";
import { cluster, driveSession, endpoints, listener, namesOf, route, typesOf } from "./session-driver.ts";

const { cluster: CDS, endpoint: EDS, listener: LDS, route: RDS } = TYPE_URLS;

/** Line numbers are those of the list of conformance rules that both protocols are held to. */
describe("state of the world: nonce and version", () => {
  test("line 1: nonces are not empty and unique in the stream", () => {
    const drive = driveSession("sotw", { resources: [cluster("a"), endpoints("a")] });
    const sent = [...drive.ask(CDS, []), ...drive.ask(EDS, ["a"]), ...drive.publish(cluster("a", "2"), endpoints("a"))];
    const nonces = sent.map(({ nonce }) => nonce);
    expect(nonces).toHaveLength(4);
    expect(nonces).not.toContain("");
    expect(new Set(nonces).size).toBe(nonces.length);
  });

  test("line 2: a first request with the nonce of an old stream is answered as a first request", () => {
    const drive = driveSession("sotw", { resources: [cluster("a")] });
    expect(namesOf(drive.ask(CDS, [], { nonce: "old-7" })[0])).toEqual(["a"]);
  });

  test("line 3: a request with a stale nonce gets no response", () => {
    const drive = driveSession("sotw", { resources: [endpoints("a"), endpoints("b")] });
    const [first] = drive.ask(EDS, ["a"]);
    drive.publish(endpoints("a", "2"), endpoints("b"));
    expect(drive.ask(EDS, ["a", "b"], { nonce: first?.nonce ?? "" })).toEqual([]);
  });

  test("line 4: the names of a stale request are served when they come with the newer acknowledgement", () => {
    const drive = driveSession("sotw", { resources: [endpoints("a"), endpoints("b")] });
    const [first] = drive.ask(EDS, ["a"]);
    const [second] = drive.publish(endpoints("a", "2"), endpoints("b"));
    drive.ask(EDS, ["a", "b"], { nonce: first?.nonce ?? "" });
    expect(namesOf(drive.ask(EDS, ["a", "b"], { nonce: second?.nonce ?? "" })[0])).toEqual(["b"]);
  });

  test("line 6: a change of clusters neither bumps nor resends routes", () => {
    const drive = driveSession("sotw", { resources: [cluster("a"), route("r")] });
    drive.ack(drive.ask(CDS, [])[0]);
    const [routes] = drive.ask(RDS, ["r"]);
    drive.ack(routes);
    expect(typesOf(drive.publish(cluster("a", "2"), route("r")))).toEqual(["cluster"]);
    expect(drive.session.types.get(RDS)?.sentVersion).toBe(routes?.version);
  });

  test("line 7: a wildcard that reconnects at the current version is answered with nothing, new names are answered", () => {
    const resources = [cluster("a"), cluster("b"), endpoints("a")];
    const version = driveSession("sotw", { resources }).ask(CDS, [])[0]?.version ?? "";
    const again = driveSession("sotw", { resources });
    expect(again.ask(CDS, [], { version, nonce: "old-1" })).toEqual([]);
    expect(namesOf(again.publish(cluster("a", "2"), cluster("b"), endpoints("a"))[0])).toEqual(["a", "b"]);
    expect(namesOf(again.ask(EDS, ["a"], { version, nonce: "old-2" })[0])).toEqual(["a"]);
  });

  test("line 8: an unknown version is answered with the whole state, and content alone makes versions", () => {
    const resources = [cluster("a"), cluster("b")];
    const one = driveSession("sotw", { resources, noncePrefix: "x-" }).ask(CDS, [], {
      version: "other",
      nonce: "o",
    })[0];
    const two = driveSession("sotw", { resources: [...resources].reverse(), noncePrefix: "y-" }).ask(CDS, [])[0];
    expect(namesOf(one)).toEqual(["a", "b"]);
    expect(two?.version).toBe(one?.version);
    expect(driveSession("sotw", { resources: [cluster("a")] }).ask(CDS, [])[0]?.version).not.toBe(one?.version);
  });

  test("a subset has a version of its own, which is not taken for that of the whole", () => {
    const resources = [cluster("a"), cluster("b")];
    const [subset] = driveSession("sotw", { resources }).ask(CDS, ["a"]);
    const again = driveSession("sotw", { resources }).ask(CDS, [], { version: subset?.version ?? "", nonce: "old" });
    expect(namesOf(again[0])).toEqual(["a", "b"]);
  });
});

describe("state of the world: ACK and NACK", () => {
  test("line 10: only error_detail makes a refusal, whatever the version says", () => {
    const drive = driveSession("sotw", { resources: [cluster("a")] });
    const [first] = drive.ask(CDS, []);
    drive.ask(CDS, [], { nonce: first?.nonce ?? "", version: "something else" });
    expect(drive.effects.filter(({ kind }) => kind === "rejected")).toEqual([]);
    expect(drive.effects.filter(({ kind }) => kind === "accepted")).toHaveLength(1);
  });

  test("line 11: after a refusal nothing is sent until content or subscription changes", () => {
    const drive = driveSession("sotw", { resources: [cluster("a")] });
    drive.ack(drive.ask(CDS, [])[0]);
    const [second] = drive.publish(cluster("a", "2"));
    expect(drive.nack(second)).toEqual([]);
    expect(drive.publish(cluster("a", "2"))).toEqual([]);
    expect(drive.pass(60_000)).toEqual([]);
    expect(namesOf(drive.publish(cluster("a", "3"))[0])).toEqual(["a"]);
  });

  test("line 12: a refused first response does not loop", () => {
    const drive = driveSession("sotw", { resources: [listener("l")] });
    expect(drive.nack(drive.ask(LDS, [])[0])).toEqual([]);
  });

  test("line 13: a refusal that also changes names serves the new names", () => {
    const drive = driveSession("sotw", { resources: [route("a"), route("b")] });
    const [first] = drive.ask(RDS, ["a"]);
    const sent = drive.ask(RDS, ["a", "b"], { nonce: first?.nonce ?? "", error: "bad" });
    expect(namesOf(sent[0])).toEqual(["b"]);
  });

  test("line 14: going back to the version before the refused one is sent", () => {
    for (const [typeUrl, names, make] of [
      [CDS, [], cluster],
      [EDS, ["a"], endpoints],
    ] as const) {
      const drive = driveSession("sotw", { resources: [make("a")] });
      drive.ack(drive.ask(typeUrl, names)[0]);
      drive.nack(drive.publish(make("a", "2"))[0]);
      expect(namesOf(drive.publish(make("a"))[0])).toEqual(["a"]);
    }
  });

  test("line 15: a refusal of one type does not hold another", () => {
    const drive = driveSession("sotw", { resources: [cluster("a"), endpoints("a")] });
    drive.nack(drive.ask(CDS, [])[0]);
    drive.ack(drive.ask(EDS, ["a"])[0]);
    expect(typesOf(drive.publish(cluster("a"), endpoints("a", "2")))).toEqual(["endpoint"]);
  });

  test("line 16: a duplicate acknowledgement and an unchanged state cause no response", () => {
    const drive = driveSession("sotw", { resources: [cluster("a")] });
    const [first] = drive.ask(CDS, []);
    expect(drive.ack(first)).toEqual([]);
    expect(drive.ack(first)).toEqual([]);
    expect(drive.publish(cluster("a"))).toEqual([]);
  });
});

describe("state of the world: subscriptions", () => {
  test("line 17: a first request without names is a wildcard for clusters and listeners", () => {
    const drive = driveSession("sotw", { resources: [cluster("a"), cluster("b"), listener("l")] });
    expect(namesOf(drive.ask(CDS, [])[0])).toEqual(["a", "b"]);
    expect(namesOf(drive.ask(LDS, [])[0])).toEqual(["l"]);
  });

  test("line 18: {} then {*,A} then {A} then {} is wildcard, wildcard and A, A only, nothing", () => {
    const drive = driveSession("sotw", { resources: [cluster("a"), cluster("b")] });
    const ask = (names: string[]) => drive.ask(CDS, names, { nonce: drive.session.types.get(CDS)?.nonce ?? "" });
    const [first] = ask([]);
    drive.ack(first);
    ask(["*", "a"]);
    expect(namesOf(drive.publish(cluster("a"), cluster("b", "2"))[0])).toEqual(["a", "b"]);
    ask(["a"]);
    expect(drive.publish(cluster("a"), cluster("b", "3"))).toEqual([]);
    expect(namesOf(drive.publish(cluster("a", "2"), cluster("b", "3"))[0])).toEqual(["a"]);
    expect(ask([])).toEqual([]);
    expect(drive.publish(cluster("a", "3"), cluster("b", "4"))).toEqual([]);
  });

  test("line 24: an empty list of endpoints or routes means nothing", () => {
    const drive = driveSession("sotw", { resources: [endpoints("a"), route("r")] });
    expect(drive.ask(EDS, [])).toEqual([]);
    expect(drive.ask(RDS, [])).toEqual([]);
  });

  test("line 25: the empty name is a name, not a wildcard", () => {
    const drive = driveSession("sotw", { resources: [cluster("a")] });
    expect(drive.ask(CDS, [""])).toEqual([]);
    expect(drive.publish(cluster("a", "2"))).toEqual([]);
  });
});

describe("state of the world: content", () => {
  test("line 26: each response of clusters holds all of them, and an empty one removes the last", () => {
    const drive = driveSession("sotw", { resources: [cluster("a"), cluster("b"), cluster("c")] });
    drive.ack(drive.ask(CDS, [])[0]);
    const [second] = drive.publish(cluster("a", "2"), cluster("c"));
    expect(namesOf(second)).toEqual(["a", "c"]);
    drive.ack(second);
    const [third] = drive.publish();
    expect(third?.resources).toEqual([]);
  });

  test("line 27: other types are sent only what changed, and never an empty response", () => {
    const drive = driveSession("sotw", { resources: [endpoints("a"), endpoints("b")] });
    drive.ack(drive.ask(EDS, ["a", "b"])[0]);
    expect(namesOf(drive.publish(endpoints("a"), endpoints("b", "2"))[0])).toEqual(["b"]);
    expect(drive.publish(endpoints("a"))).toEqual([]);
    expect(drive.pass(60_000)).toEqual([]);
  });

  test("line 28: a name dropped and asked for again is sent again", () => {
    const drive = driveSession("sotw", { resources: [endpoints("a"), endpoints("b")] });
    const [first] = drive.ask(EDS, ["a", "b"]);
    const nonce = first?.nonce ?? "";
    expect(drive.ask(EDS, ["b"], { nonce })).toEqual([]);
    expect(namesOf(drive.ask(EDS, ["a", "b"], { nonce })[0])).toEqual(["a"]);
  });

  test("line 31: what exists is answered at once, what comes later is pushed", () => {
    const drive = driveSession("sotw", { resources: [route("a")] });
    drive.ack(drive.ask(RDS, ["a", "b"])[0]);
    expect(namesOf(drive.publish(route("a"), route("b"))[0])).toEqual(["b"]);
    const later = driveSession("sotw");
    expect(later.ask(RDS, ["a"])).toEqual([]);
    expect(namesOf(later.publish(route("a"))[0])).toEqual(["a"]);
  });

  test("line 32: no response has a name twice where wildcard and name overlap", () => {
    const drive = driveSession("sotw", { resources: [cluster("a"), cluster("b")] });
    expect(namesOf(drive.ask(CDS, ["*", "a", "a"])[0])).toEqual(["a", "b"]);
  });

  test("line 33: what nobody asked for is not sent", () => {
    const drive = driveSession("sotw", { resources: [endpoints("a"), endpoints("b")] });
    expect(namesOf(drive.ask(EDS, ["a"])[0])).toEqual(["a"]);
    expect(drive.publish(endpoints("a"), endpoints("b", "2"))).toEqual([]);
  });
});

describe("state of the world: order", () => {
  const all = (content: string) => [
    cluster("a", content),
    endpoints("a", content),
    listener("l", content),
    route("r", content),
  ];

  test("line 36: a change of everything arrives as clusters, endpoints, listeners, routes", () => {
    const drive = driveSession("sotw", { resources: all("1") });
    for (const [typeUrl, names] of [
      [CDS, []],
      [EDS, ["a"]],
      [LDS, []],
      [RDS, ["r"]],
    ] as const) {
      for (const response of drive.ask(typeUrl, names)) drive.ack(response);
    }
    const sent = drive.publish(...all("2"));
    expect(typesOf(sent)).toEqual(["cluster", "endpoint"]);
    expect(typesOf(drive.ack(sent[0]))).toEqual(["listener", "route"]);
  });

  test("line 37: a dropped cluster stays until routes are acknowledged", () => {
    const drive = driveSession("sotw", { resources: [cluster("x"), cluster("y"), route("r", "to x")] });
    drive.ack(drive.ask(CDS, [])[0]);
    drive.ack(drive.ask(RDS, ["r"])[0]);
    const sent = drive.publish(cluster("y"), route("r", "to y"));
    expect(typesOf(sent)).toEqual(["route"]);
    expect(drive.pass(1_000)).toEqual([]);
    expect(drive.ack(sent[0])).toEqual([]);
    const [removal] = drive.pass(2_000);
    expect(namesOf(removal)).toEqual(["y"]);
  });

  test("line 37: after a restart, too, and the new routes wait for the new cluster", () => {
    const drive = driveSession("sotw", { resources: [cluster("x"), endpoints("x"), route("r", "to x")] });
    drive.publish(cluster("y"), endpoints("y"), route("r", "to y"));
    expect(drive.ask(RDS, ["r"], { version: "old" })).toEqual([]);
    const [clusters] = drive.ask(CDS, [], { version: "old" });
    expect(namesOf(clusters)?.toSorted()).toEqual(["x", "y"]);
    expect(namesOf(drive.ask(EDS, ["x", "y"], { version: "old" })[0])?.toSorted()).toEqual(["x", "y"]);
    const [routes] = drive.ack(clusters);
    expect(namesOf(routes)).toEqual(["r"]);
    expect(drive.pass(4_000)).toEqual([]);
    drive.ack(routes);
    expect(namesOf(drive.pass(2_000)[0])).toEqual(["y"]);
  });

  test("line 37: a node that is two revisions behind when its server dies keeps what its routes need", () => {
    const first = [cluster("x"), endpoints("x"), route("r", "to x")];
    const before = driveSession("sotw", { resources: first });
    const version = before.ask(CDS, [])[0]?.version;
    // The next process finds all three revisions on its disk.
    const drive = driveSession("sotw", { resources: first });
    drive.publish(cluster("y"), endpoints("y"), route("r", "to y"));
    drive.publish(cluster("z"), endpoints("z"), route("r", "to z"));
    const [clusters] = drive.ask(CDS, [], { version: version ?? "" });
    expect(namesOf(clusters)).toEqual(["x", "z"]);
    expect(namesOf(drive.ask(EDS, ["x", "z"], { version: "old" })[0])).toEqual(["x", "z"]);
    expect(drive.ask(RDS, ["r"], { version: "old" })).toEqual([]);
    const [routes] = drive.ack(clusters);
    expect(namesOf(routes)).toEqual(["r"]);
    expect(drive.pass(4_000)).toEqual([]);
    drive.ack(routes);
    expect(namesOf(drive.pass(2_000)[0])).toEqual(["z"]);
  });

  test("line 37: the same where removals of both revisions were on their way", () => {
    const drive = driveSession("sotw", { resources: [cluster("x"), route("r", "to x")] });
    drive.ack(drive.ask(CDS, [])[0]);
    drive.ack(drive.ask(RDS, ["r"])[0]);
    drive.publish(cluster("y"), route("r", "to y"));
    const [last] = drive.publish(cluster("z"), route("r", "to z"));
    expect(namesOf(last)).toEqual(["x", "y", "z"]);
    const next = driveSession("sotw", { resources: [cluster("x"), route("r", "to x")] });
    next.publish(cluster("y"), route("r", "to y"));
    next.publish(cluster("z"), route("r", "to z"));
    expect(namesOf(next.ask(CDS, [], { version: last?.version ?? "" })[0])).toEqual(["x", "y", "z"]);
  });

  test("a node that has the newest clusters is not given what went before them", () => {
    const drive = driveSession("sotw", { resources: [cluster("x")] });
    drive.publish(cluster("y"));
    const version = driveSession("sotw", { resources: [cluster("y")] }).ask(CDS, [])[0]?.version ?? "";
    expect(drive.ask(CDS, [], { version })).toEqual([]);
    drive.publish(cluster("y"), cluster("z"));
    const other = driveSession("sotw", { sameViewAs: drive });
    expect(namesOf(other.ask(CDS, [], { version })[0])).toEqual(["y", "z"]);
  });

  test("what went many changes ago is forgotten", () => {
    const drive = driveSession("sotw", { resources: [cluster("x"), route("r")] });
    for (let change = 1; change <= 40; change++) drive.publish(cluster(`y${change}`), route("r"));
    const [clusters] = drive.ask(CDS, [], { version: "old" });
    expect(namesOf(clusters)).not.toContain("x");
    expect(clusters?.resources).toHaveLength(17);
  });

  test("a node that has nothing is not given what went", () => {
    const drive = driveSession("sotw", { resources: [cluster("x"), route("r", "to x")] });
    drive.publish(cluster("y"), route("r", "to y"));
    expect(namesOf(drive.ask(CDS, [])[0])).toEqual(["y"]);
  });

  test("line 38: endpoints are sent again with their cluster", () => {
    const drive = driveSession("sotw", { resources: [cluster("a"), endpoints("a"), cluster("b"), endpoints("b")] });
    drive.ack(drive.ask(CDS, [])[0]);
    drive.ack(drive.ask(EDS, ["a", "b"])[0]);
    const sent = drive.publish(cluster("a", "2"), endpoints("a"), cluster("b"), endpoints("b"));
    expect(typesOf(sent)).toEqual(["cluster", "endpoint"]);
    expect(namesOf(sent[1])).toContain("a");
  });

  test("line 41: endpoints of a cluster that was taken away while warming are answered, empty", () => {
    const drive = driveSession("sotw", { resources: [cluster("a"), endpoints("a")] });
    drive.ask(CDS, []);
    drive.publish();
    const [answer] = drive.ask(EDS, ["a"]);
    expect(namesOf(answer)).toEqual(["a"]);
    expect(namesOf(drive.publish(cluster("a"), endpoints("a"))[1])).toEqual(["a"]);
  });
});
