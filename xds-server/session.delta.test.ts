import { describe, expect, test } from "vitest";
import { TYPE_URLS } from "../envoy/index.ts";
import {
  cluster,
  driveSession,
  endpoints,
  extensionConfig,
  listener,
  namesOf,
  route,
  type SessionDriver,
  secret,
  typesOf,
} from "./session-driver.ts";
import { leftoversOf } from "./session-state.ts";

const { cluster: CDS, endpoint: EDS, listener: LDS, route: RDS, secret: SDS, extensionConfig: ECDS } = TYPE_URLS;

const unknownType = "type.googleapis.com/acme.Unknown";

/** Brings a client to where it holds and has acknowledged everything that it asked for. */
function settle(drive: SessionDriver, wanted: readonly (readonly [string, readonly string[]])[]): void {
  const open = wanted.flatMap(([typeUrl, subscribe]) => drive.change(typeUrl, { subscribe }));
  for (let response = open.shift(); response !== undefined; response = open.shift()) open.push(...drive.ack(response));
}

/** Line numbers are those of the list of conformance rules that both protocols are held to. */
describe("delta: nonce and version", () => {
  test("line 1: nonces are not empty, unique in the stream, and differ from those of other streams", () => {
    const nonces = ["one-", "two-"].flatMap((noncePrefix) => {
      const drive = driveSession("delta", { resources: [cluster("a")], noncePrefix });
      return [...drive.change(CDS), ...drive.publish(cluster("a", "2"))].map(({ nonce }) => nonce);
    });
    expect(nonces).toHaveLength(4);
    expect(nonces).not.toContain("");
    expect(new Set(nonces).size).toBe(4);
  });

  test("line 2: a first request with the nonce of an old stream is answered as a first request", () => {
    const drive = driveSession("delta", { resources: [cluster("a")] });
    expect(namesOf(drive.change(CDS, { nonce: "old-3" })[0])).toEqual(["a"]);
  });

  test("line 5: subscriptions change whatever the nonce", () => {
    const drive = driveSession("delta", { resources: [endpoints("a"), endpoints("b")] });
    const [first] = drive.change(EDS, { subscribe: ["a"] });
    drive.publish(endpoints("a", "2"), endpoints("b"));
    expect(namesOf(drive.change(EDS, { subscribe: ["b"], nonce: first?.nonce ?? "" })[0])).toEqual(["b"]);
    expect(namesOf(drive.change(EDS, { subscribe: ["b"], nonce: "nonsense" })[0])).toEqual(["b"]);
  });

  test("line 9: the same content sends nothing to a client that reconnects, to any replica", () => {
    const resources = [cluster("a"), cluster("b")];
    const [first] = driveSession("delta", { resources }).change(CDS);
    const claims = Object.fromEntries((first?.resources ?? []).map(({ name, version }) => [name, version]));
    const replica = driveSession("delta", { resources: [cluster("b"), cluster("a")], noncePrefix: "other-" });
    expect(replica.change(CDS, { claims })).toEqual([]);
    expect(replica.pass(60_000)).toEqual([]);
  });
});

describe("delta: ACK and NACK", () => {
  test("line 10: only error_detail makes a refusal", () => {
    const drive = driveSession("delta", { resources: [cluster("a")] });
    const [first] = drive.change(CDS);
    drive.ack(first);
    drive.nack(drive.publish(cluster("a", "2"))[0], "cluster a is no good");
    expect(drive.effects.filter(({ kind }) => kind === "accepted")).toHaveLength(1);
    expect(drive.effects.filter(({ kind }) => kind === "rejected")).toEqual([
      {
        kind: "rejected",
        typeUrl: CDS,
        resources: ["a"],
        culprits: [{ name: "a", version: cluster("a", "2").version }],
        message: "cluster a is no good",
        revision: 2,
      },
    ]);
  });

  test("line 11: after a refusal nothing is sent until content or subscription changes", () => {
    const drive = driveSession("delta", { resources: [cluster("a"), cluster("b")] });
    drive.ack(drive.change(CDS)[0]);
    const [second] = drive.publish(cluster("a", "2"), cluster("b"));
    expect(drive.nack(second)).toEqual([]);
    expect(drive.nack(second)).toEqual([]);
    expect(drive.publish(cluster("a", "2"), cluster("b"))).toEqual([]);
    expect(drive.pass(60_000)).toEqual([]);
    expect(namesOf(drive.publish(cluster("a", "3"), cluster("b"))[0])).toEqual(["a"]);
  });

  test("line 12: a refused first response does not loop", () => {
    const drive = driveSession("delta", { resources: [cluster("a")] });
    expect(drive.nack(drive.change(CDS)[0])).toEqual([]);
    expect(drive.pass(60_000)).toEqual([]);
  });

  test("line 13: a refusal that also changes names serves the new names", () => {
    const drive = driveSession("delta", { resources: [route("a"), route("b")] });
    const [first] = drive.change(RDS, { subscribe: ["a"] });
    const sent = drive.change(RDS, { subscribe: ["b"], nonce: first?.nonce ?? "", error: "bad" });
    expect(namesOf(sent[0])).toEqual(["b"]);
  });

  test("line 14: going back to the version before the refused one is sent", () => {
    const drive = driveSession("delta", { resources: [cluster("a")] });
    drive.ack(drive.change(CDS)[0]);
    drive.nack(drive.publish(cluster("a", "2"))[0]);
    expect(namesOf(drive.publish(cluster("a"))[0])).toEqual(["a"]);
  });

  test("line 15: a refusal of one type does not hold another", () => {
    const drive = driveSession("delta", { resources: [cluster("a"), route("r")] });
    drive.ack(drive.change(CDS)[0]);
    drive.ack(drive.change(RDS, { subscribe: ["r"] })[0]);
    const sent = drive.publish(cluster("a", "2"), route("r", "2"));
    expect(typesOf(sent)).toEqual(["cluster"]);
    expect(typesOf(drive.nack(sent[0]))).toEqual(["route"]);
  });

  test("line 16: a duplicate acknowledgement and an unchanged state cause no response", () => {
    const drive = driveSession("delta", { resources: [cluster("a")] });
    const [first] = drive.change(CDS);
    expect([...drive.ack(first), ...drive.ack(first), ...drive.publish(cluster("a"))]).toEqual([]);
  });

  test("all of a refused batch goes out again with the next change, since part of it may have been applied", () => {
    const drive = driveSession("delta", { resources: [cluster("a")] });
    drive.ack(drive.change(CDS)[0]);
    const [batch] = drive.publish(cluster("a"), cluster("good"), cluster("bad"));
    drive.nack(batch, "bad: no");
    expect(namesOf(drive.publish(cluster("a"), cluster("good"), cluster("bad", "2"))[0])).toEqual(["bad", "good"]);
  });

  test("Envoy applies nothing of what it cannot decode and names nothing: halves find the culprit, the rest arrives", () => {
    const names = ["a", "b", "c", "d", "e"];
    const drive = driveSession("delta", { resources: [cluster("old")], isEnvoy: true });
    const [first] = drive.change(CDS);
    drive.ack(first);
    let sent = drive.publish(...names.map((name) => cluster(name)));
    const arrived: string[] = [];
    let refusals = 0;
    for (let next = sent.shift(); next !== undefined; next = sent.shift()) {
      const bad = next.resources.some(({ name }) => name === "d");
      if (bad) refusals += 1;
      else arrived.push(...namesOf(next));
      sent = sent.concat(bad ? drive.nack(next, "cannot be decoded") : drive.ack(next));
    }
    expect(arrived.sort()).toEqual(["-old", "a", "b", "c", "e"]);
    expect(refusals).toBeLessThanOrEqual(4);
    const found = drive.effects.filter((effect) => effect.kind === "rejected").map(({ culprits }) => culprits);
    expect(found.at(-1)).toEqual([{ name: "d", version: cluster("d").version }]);
    expect(drive.pass(60_000)).toEqual([]);
  });

  test("what Envoy names is left out, and the rest of the refused response arrives at once", () => {
    const drive = driveSession("delta", { resources: [cluster("a")], isEnvoy: true });
    drive.ack(drive.change(CDS)[0]);
    const [refused] = drive.publish(cluster("a"), cluster("b"), cluster("c"));
    const sent = drive.nack(refused, "Error adding/updating cluster(s) c: no good");
    expect(sent.map(namesOf)).toEqual([["b"]]);
    expect(drive.ack(sent[0])).toEqual([]);
  });

  test("a resource of a refused batch that is not wanted any more is removed, though the client may lack it", () => {
    const drive = driveSession("delta", { resources: [cluster("a")] });
    drive.ack(drive.change(CDS)[0]);
    drive.nack(drive.publish(cluster("a"), cluster("ghost"), cluster("bad"))[0], "bad: no");
    expect(namesOf(drive.publish(cluster("a"))[0])).toEqual(["-bad", "-ghost"]);
  });

  test("a newer response that is accepted outweighs the refusal of an older one", () => {
    const drive = driveSession("delta", { resources: [cluster("a")] });
    const [first] = drive.change(CDS);
    const [second] = drive.publish(cluster("a", "2"));
    drive.nack(first);
    drive.ack(second);
    expect(leftoversOf(drive.session).size).toBe(0);
    expect(drive.session.acknowledgedRevision).toBe(2);
  });

  test("what was refused is not tried again by reconnecting, and its ghost is removed once it is not wanted", () => {
    const resources = [cluster("a"), cluster("ghost"), cluster("bad")];
    const drive = driveSession("delta", { resources: [cluster("a")] });
    drive.ack(drive.change(CDS)[0]);
    drive.nack(drive.publish(...resources)[0], "bad: no");
    const leftovers = leftoversOf(drive.session);
    const claims = { a: cluster("a").version };

    const again = driveSession("delta", { resources, leftovers });
    expect(again.change(CDS, { claims })).toEqual([]);
    expect(namesOf(again.publish(cluster("a"), cluster("ghost"))[0])).toEqual(["-bad", "ghost"]);

    const later = driveSession("delta", { resources: [cluster("a")], leftovers });
    expect(namesOf(later.change(CDS, { claims })[0])).toEqual(["-bad", "-ghost"]);

    const restarted = driveSession("delta", { resources, leftovers });
    expect(namesOf(restarted.change(CDS)[0])).toEqual(["a", "bad", "ghost"]);
  });
});

describe("delta: subscriptions", () => {
  test("line 17: a first request without names is a wildcard for clusters and listeners", () => {
    const drive = driveSession("delta", { resources: [cluster("a"), cluster("b"), listener("l")] });
    expect(namesOf(drive.change(CDS)[0])).toEqual(["a", "b"]);
    expect(namesOf(drive.change(LDS)[0])).toEqual(["l"]);
  });

  test("line 19: {} then +A is wildcard and A; then -* is A; then -A is nothing", () => {
    const drive = driveSession("delta", { resources: [cluster("a"), cluster("b")] });
    drive.ack(drive.change(CDS)[0]);
    drive.change(CDS, { subscribe: ["a"] });
    expect(namesOf(drive.publish(cluster("a"), cluster("b", "2"))[0])).toEqual(["b"]);
    expect(drive.change(CDS, { unsubscribe: ["*"] })).toEqual([]);
    expect(drive.publish(cluster("a"), cluster("b", "3"))).toEqual([]);
    expect(namesOf(drive.publish(cluster("a", "2"), cluster("b", "3"))[0])).toEqual(["a"]);
    expect(drive.change(CDS, { unsubscribe: ["a"] })).toEqual([]);
    expect(drive.publish(cluster("a", "3"), cluster("b", "4"))).toEqual([]);
  });

  test("line 20: dropping a name that the wildcard still covers is answered", () => {
    const drive = driveSession("delta", { resources: [cluster("a"), cluster("b")] });
    drive.change(CDS, { subscribe: ["*", "a", "gone"] });
    expect(namesOf(drive.change(CDS, { unsubscribe: ["a"] })[0])).toEqual(["a"]);
    expect(namesOf(drive.change(CDS, { unsubscribe: ["gone"] })[0])).toEqual(["-gone"]);
  });

  test("line 21: dropping a name never asked for is ignored", () => {
    const drive = driveSession("delta", { resources: [cluster("a"), endpoints("a")] });
    drive.change(CDS);
    expect(drive.change(CDS, { unsubscribe: ["a", "x"] })).toEqual([]);
    expect(drive.change(EDS, { unsubscribe: ["a"] })).toEqual([]);
    expect(drive.session.closed).toBe(false);
  });

  test("line 22: dropping a name without a wildcard needs no answer, and its changes are not sent", () => {
    const drive = driveSession("delta", { resources: [endpoints("a")] });
    drive.change(EDS, { subscribe: ["a"] });
    expect(drive.change(EDS, { unsubscribe: ["a"] })).toEqual([]);
    expect(drive.publish(endpoints("a", "2"))).toEqual([]);
  });

  test("line 23: a first wildcard without a match is answered, empty", () => {
    const drive = driveSession("delta");
    for (const typeUrl of [CDS, LDS, unknownType]) {
      const sent = drive.change(typeUrl);
      expect(sent).toHaveLength(1);
      expect(namesOf(sent[0])).toEqual([]);
    }
  });

  test("line 24: no names means nothing for endpoints, routes and secrets", () => {
    const drive = driveSession("delta", { resources: [endpoints("a"), route("r"), secret("s")] });
    expect([...drive.change(EDS), ...drive.change(RDS), ...drive.change(SDS)]).toEqual([]);
  });

  test("line 25: the empty name is a name, not a wildcard", () => {
    const drive = driveSession("delta", { resources: [cluster("a")] });
    expect(namesOf(drive.change(CDS, { subscribe: [""] })[0])).toEqual(["-"]);
  });
});

describe("delta: content", () => {
  test("line 29: subscribing to a held resource sends it again, and so does the wildcard", () => {
    const drive = driveSession("delta", { resources: [cluster("a"), cluster("b")] });
    drive.ack(drive.change(CDS)[0]);
    expect(namesOf(drive.change(CDS, { subscribe: ["a"] })[0])).toEqual(["a"]);
    expect(namesOf(drive.change(CDS, { subscribe: ["a"] })[0])).toEqual(["a"]);
    expect(namesOf(drive.change(CDS, { subscribe: ["*"] })[0])).toEqual(["a", "b"]);
  });

  test("line 30: a name that does not exist is said to be removed, and pushed when it comes", () => {
    const drive = driveSession("delta");
    const [absent] = drive.change(SDS, { subscribe: ["s"] });
    expect(namesOf(absent)).toEqual(["-s"]);
    expect(drive.ack(absent)).toEqual([]);
    expect(namesOf(drive.publish(secret("s"))[0])).toEqual(["s"]);
  });

  test("line 32: no response has a name twice where wildcard and name overlap", () => {
    const drive = driveSession("delta", { resources: [cluster("a"), cluster("b")] });
    expect(namesOf(drive.change(CDS, { subscribe: ["*", "a", "a"] })[0])).toEqual(["a", "b"]);
  });

  test("line 33: what nobody asked for is not sent", () => {
    const drive = driveSession("delta", { resources: [endpoints("a"), endpoints("b")] });
    expect(namesOf(drive.change(EDS, { subscribe: ["a"] })[0])).toEqual(["a"]);
    expect(drive.publish(endpoints("a"), endpoints("b", "2"))).toEqual([]);
  });

  test("line 34: of what a reconnecting client claims, the same is not sent, the changed is, the gone is removed", () => {
    const drive = driveSession("delta", {
      resources: [endpoints("same"), endpoints("changed", "2"), endpoints("other")],
    });
    const claims = {
      same: endpoints("same").version,
      changed: endpoints("changed").version,
      gone: "0",
      other: "0",
    };
    const sent = drive.change(EDS, { subscribe: ["same", "changed", "gone"], claims });
    expect(namesOf(sent[0])).toEqual(["-gone", "changed"]);
  });
});

describe("delta: order", () => {
  const all = (content: string) => [
    cluster("a", content),
    endpoints("a", content),
    listener("l", content),
    route("r", content),
  ];
  const everything = [
    [CDS, []],
    [EDS, ["a"]],
    [LDS, []],
    [RDS, ["r"]],
  ] as const;

  test("line 36: a change of everything arrives as clusters, endpoints, then listeners and routes", () => {
    const drive = driveSession("delta", { resources: all("1") });
    settle(drive, everything);
    const sent = drive.publish(...all("2"));
    expect(typesOf(sent)).toEqual(["cluster", "endpoint"]);
    expect(typesOf(drive.ack(sent[0]))).toEqual(["listener", "route"]);
  });

  test("listeners and routes go out after a bounded wait when clusters do not get warm", () => {
    const drive = driveSession("delta", { resources: all("1") });
    settle(drive, everything);
    drive.publish(...all("2"));
    expect(drive.pass(1_999)).toEqual([]);
    expect(typesOf(drive.pass(1))).toEqual(["listener", "route"]);
  });

  test("further changes do not put off the routes that wait", () => {
    const drive = driveSession("delta", { resources: all("1") });
    settle(drive, everything);
    const sent = drive.publish(...all("2"));
    for (let round = 3; round < 8; round++) {
      sent.push(...drive.pass(500), ...drive.publish(...all(String(round))));
    }
    expect(typesOf(sent)).toContain("route");
  });

  test("line 37: a dropped cluster stays until routes are acknowledged, and a grace longer", () => {
    const drive = driveSession("delta", { resources: [cluster("x"), cluster("y"), route("r", "to x")] });
    settle(drive, [
      [CDS, []],
      [RDS, ["r"]],
    ]);
    const sent = drive.publish(cluster("y"), route("r", "to y"));
    expect(typesOf(sent)).toEqual(["route"]);
    expect([...drive.pass(4_000), ...drive.ack(sent[0]), ...drive.pass(1_999)]).toEqual([]);
    expect(namesOf(drive.pass(1)[0])).toEqual(["-x"]);
  });

  test("a node that reconnects gets changed routes after the clusters that it lacks", () => {
    const drive = driveSession("delta", { resources: [cluster("y"), route("r", "to y")] });
    expect(drive.change(RDS, { subscribe: ["r"], claims: { r: "old" } })).toEqual([]);
    const [clusters] = drive.change(CDS, { claims: { x: "old" } });
    expect(namesOf(clusters)).toEqual(["y"]);
    const [routes] = drive.ack(clusters);
    expect(namesOf(routes)).toEqual(["r"]);
    expect(drive.pass(1_000)).toEqual([]);
    drive.ack(routes);
    expect(namesOf(drive.pass(2_000)[0])).toEqual(["-x"]);
  });

  test("a node that reconnects and asks for no clusters gets its routes soon", () => {
    const drive = driveSession("delta", { resources: [cluster("y"), route("r", "to y")] });
    expect(drive.change(RDS, { subscribe: ["r"], claims: { r: "old" } })).toEqual([]);
    expect(namesOf(drive.pass(500)[0])).toEqual(["r"]);
  });

  test("a dropped cluster goes after a bounded wait when routes are never acknowledged", () => {
    const drive = driveSession("delta", { resources: [cluster("x"), route("r", "to x")] });
    settle(drive, [
      [CDS, []],
      [RDS, ["r"]],
    ]);
    drive.publish(route("r", "to y"));
    expect(drive.pass(4_999)).toEqual([]);
    expect(namesOf(drive.pass(1)[0])).toEqual(["-x"]);
  });

  test("a dropped cluster stays for as long as the node refuses the routes that no longer need it", () => {
    const drive = driveSession("delta", { resources: [cluster("x"), route("r", "to x")] });
    settle(drive, [
      [CDS, []],
      [RDS, ["r"]],
    ]);
    drive.nack(drive.publish(route("r", "broken"))[0]);
    expect(drive.pass(600_000)).toEqual([]);
    const [fixed, ...more] = drive.publish(route("r", "to y"));
    expect(namesOf(fixed)).toEqual(["r"]);
    expect(more).toEqual([]);
    expect([...drive.ack(fixed), ...drive.pass(1_999)]).toEqual([]);
    expect(namesOf(drive.pass(1)[0])).toEqual(["-x"]);
  });

  test("a dropped cluster that comes back before its removal is not sent", () => {
    const drive = driveSession("delta", { resources: [cluster("x"), route("r", "to x")] });
    settle(drive, [
      [CDS, []],
      [RDS, ["r"]],
    ]);
    drive.publish(route("r", "to y"));
    expect(typesOf(drive.publish(cluster("x"), route("r", "to x")))).toEqual(["route"]);
    expect(typesOf(drive.pass(60_000))).toEqual([]);
  });

  test("a cluster that a reconnecting node holds and no longer needs goes after its routes", () => {
    const drive = driveSession("delta", { resources: [cluster("y"), route("r", "to y")] });
    expect(drive.change(CDS, { claims: { x: "old", y: cluster("y").version } })).toEqual([]);
    const [routes] = drive.change(RDS, { subscribe: ["r"], claims: { r: "old" } });
    expect(namesOf(routes)).toEqual(["r"]);
    drive.ack(routes);
    expect(namesOf(drive.pass(2_000)[0])).toEqual(["-x"]);
  });

  test("line 38: the endpoints of a changed cluster are sent again, unchanged ones of others are not", () => {
    const drive = driveSession("delta", { resources: [cluster("a"), endpoints("a"), cluster("b"), endpoints("b")] });
    settle(drive, [
      [CDS, []],
      [EDS, ["a", "b"]],
    ]);
    const sent = drive.publish(cluster("a", "2"), endpoints("a"), cluster("b"), endpoints("b"));
    expect(sent.map(namesOf)).toEqual([["a"], ["a"]]);
    expect(typesOf(sent)).toEqual(["cluster", "endpoint"]);
  });

  test("line 39: the secrets of a changed cluster and the children of a changed listener are sent again", () => {
    const resources = (content: string) => [
      cluster("a", content, ["s"]),
      secret("s"),
      listener("l", content, { extensionConfigs: ["x"] }),
      extensionConfig("x"),
      route("r"),
    ];
    const drive = driveSession("delta", { resources: resources("1") });
    settle(drive, [
      [CDS, []],
      [SDS, ["s"]],
      [LDS, []],
      [ECDS, ["x"]],
      [RDS, ["r"]],
    ]);
    const sent = drive.publish(...resources("2"));
    expect(typesOf(sent)).toEqual(["cluster", "secret"]);
    expect(typesOf(drive.ack(sent[0]))).toEqual(["listener", "route", "extensionConfig"]);
  });

  test("line 40: a reconnect in another order is answered, and endpoints follow a cluster that was sent", () => {
    const drive = driveSession("delta", { resources: all("1") });
    const claims = { a: endpoints("a", "1").version };
    expect(drive.change(EDS, { subscribe: ["a"], claims })).toEqual([]);
    expect(drive.change(LDS, { claims: { l: listener("l", "1").version } })).toEqual([]);
    expect(typesOf(drive.change(CDS))).toEqual(["cluster", "endpoint"]);
    const other = driveSession("delta", { resources: all("1") });
    expect(typesOf(other.change(CDS))).toEqual(["cluster"]);
    expect(typesOf(other.change(EDS, { subscribe: ["a"], claims }))).toEqual(["endpoint"]);
  });

  test("line 41: endpoints of a cluster that was taken away while warming are said to be removed", () => {
    const drive = driveSession("delta", { resources: [cluster("a"), endpoints("a")] });
    drive.change(CDS);
    expect(namesOf(drive.publish()[0])).toEqual(["-a"]);
    expect(namesOf(drive.change(EDS, { subscribe: ["a"] })[0])).toEqual(["-a"]);
  });

  test("line 42: an extension config is not removed while a listener names it", () => {
    const drive = driveSession("delta", {
      resources: [listener("l", "1", { extensionConfigs: ["x"] }), extensionConfig("x"), route("r")],
    });
    settle(drive, [
      [LDS, []],
      [ECDS, ["x", "never-was"]],
      [RDS, ["r"]],
    ]);
    expect(drive.publish(listener("l", "1", { extensionConfigs: ["x"] }), route("r"))).toEqual([]);
    expect(drive.pass(60_000)).toEqual([]);
    const sent = drive.publish(listener("l", "2"), route("r"));
    expect(typesOf(sent)).toEqual(["listener", "route"]);
    expect([...sent.flatMap(drive.ack), ...drive.pass(1_999)]).toEqual([]);
    expect(drive.pass(1).map(namesOf)).toEqual([["-x"]]);
  });

  test("line 43: a refused removal of a secret does no harm", () => {
    const drive = driveSession("delta");
    const [absent] = drive.change(SDS, { subscribe: ["s"] });
    expect(drive.nack(absent)).toEqual([]);
    expect(leftoversOf(drive.session).size).toBe(0);
    expect(namesOf(drive.publish(secret("s"))[0])).toEqual(["s"]);
  });

  test("line 44: two changes between clusters and the request for endpoints do not deadlock", () => {
    const drive = driveSession("delta", { resources: all("1") });
    drive.change(CDS);
    drive.publish(...all("2"));
    drive.publish(...all("3"));
    const [answer] = drive.change(EDS, { subscribe: ["a"] });
    expect(answer?.resources[0]?.version).toBe(endpoints("a", "3").version);
  });

  test("the revision is acknowledged when every type is, and at once where nothing had to be sent", () => {
    const drive = driveSession("delta", { resources: all("1") });
    settle(drive, everything);
    expect(drive.session.acknowledgedRevision).toBe(1);
    const sent = drive.publish(...all("2"));
    for (const response of drive.ack(sent[0])) drive.ack(response);
    expect(drive.session.acknowledgedRevision).toBe(1);
    drive.ack(sent[1]);
    expect(drive.session.acknowledgedRevision).toBe(2);
    expect(drive.publish(...all("2"))).toEqual([]);
    expect(drive.session.acknowledgedRevision).toBe(3);
  });

  test("a listener without its routes is not an acknowledged revision", () => {
    const drive = driveSession("delta", { resources: all("1") });
    settle(drive, everything.slice(0, 3));
    expect(drive.session.acknowledgedRevision).toBeUndefined();
  });
});

describe("the stream", () => {
  test("line 45: later requests need no node, and may not name another", () => {
    const drive = driveSession("delta", { resources: [cluster("a"), listener("l")] });
    drive.change(CDS, { node: "n1" });
    expect(drive.change(LDS)).toHaveLength(1);
    expect(drive.session.node?.id).toBe("n1");
    drive.change(EDS, { node: "n2" });
    expect(drive.effects.at(-1)).toMatchObject({ kind: "close", code: "invalid-argument" });
    expect(drive.change(RDS, { subscribe: ["r"] })).toEqual([]);
  });

  test("line 46: an empty type is refused, an unknown one is harmless", () => {
    for (const protocol of ["sotw", "delta"] as const) {
      const drive = driveSession(protocol, { resources: [cluster("a")] });
      const ask = (typeUrl: string) => (protocol === "sotw" ? drive.ask(typeUrl, []) : drive.change(typeUrl));
      expect(namesOf(ask(unknownType)[0])).toEqual([]);
      expect(namesOf(ask(CDS)[0])).toEqual(["a"]);
      ask("");
      expect(drive.effects.at(-1)).toMatchObject({ kind: "close", code: "invalid-argument" });
    }
  });

  test("line 47: a first request without a node id is refused", () => {
    for (const protocol of ["sotw", "delta"] as const) {
      const drive = driveSession(protocol);
      if (protocol === "sotw") drive.ask(CDS, [], { node: "" });
      else drive.change(CDS, { node: "" });
      expect(drive.effects).toMatchObject([{ kind: "close", code: "invalid-argument" }]);
    }
  });

  test("line 48: while the transport is full, changes merge to the newest", () => {
    const drive = driveSession("delta", { resources: [cluster("a")], autoWrite: false });
    expect(drive.change(CDS)).toHaveLength(1);
    for (let content = 2; content <= 1_000; content++) {
      expect(drive.publish(cluster("a", String(content)))).toEqual([]);
    }
    const sent = drive.deliver({ kind: "written", now: 0 });
    expect(sent.map((response) => response.resources)).toEqual([[drive.view().types.get(CDS)?.resources.get("a")]]);
  });

  test("a client that never answers costs no memory without bound", () => {
    const drive = driveSession("delta", { resources: [cluster("a")] });
    drive.change(CDS);
    for (let content = 0; content < 1_000; content++) drive.publish(cluster("a", String(content)));
    expect(drive.session.types.get(CDS)?.outstanding.size).toBeLessThan(100);
  });

  test("types and names of one stream are bounded", () => {
    const types = driveSession("delta");
    for (let index = 0; index < 20; index++) types.change(`type.googleapis.com/t${index}`);
    expect(types.effects.at(-1)).toMatchObject({ kind: "close", code: "resource-exhausted" });
    const names = driveSession("delta");
    names.change(EDS, { subscribe: Array.from({ length: 101 }, (_, index) => `e${index}`) });
    expect(names.effects.at(-1)).toMatchObject({ kind: "close", code: "resource-exhausted" });

    const spread = driveSession("delta", { settings: { maxNames: 3 } });
    spread.change(EDS, { subscribe: ["a", "b"] });
    spread.change(RDS, { subscribe: ["r"] });
    expect(spread.session.closed).toBe(false);
    spread.change(SDS, { subscribe: ["s"] });
    expect(spread.effects.at(-1)).toMatchObject({ kind: "close", code: "resource-exhausted" });
  });

  test.each(["delta", "sotw"] as const)("names of all streams of a node are bounded together (%s)", (protocol) => {
    let elsewhere = 2;
    const drive = driveSession(protocol, { settings: { maxNodeNames: 4 }, namesElsewhere: () => elsewhere });
    const ask = (...names: string[]) =>
      protocol === "delta" ? drive.change(EDS, { subscribe: names }) : drive.ask(EDS, names);
    ask("a", "b");
    expect(drive.session.closed).toBe(false);
    elsewhere = 3;
    // What it had asked for before others did, it may go on to ask for.
    if (protocol === "sotw") ask("b", "a");
    drive.publish(cluster("a"));
    expect(drive.session.closed).toBe(false);
    ask("a", "b", "c");
    expect(drive.effects.at(-1)).toMatchObject({ kind: "close", code: "resource-exhausted" });
  });

  test.each(["edge\nforged line", "\u001b[2J", "\u009b31m", "n".repeat(2_000)])(
    "a node may not call itself %j",
    (id) => {
      const drive = driveSession("delta");
      drive.change(CDS, { node: id });
      expect(drive.effects).toMatchObject([{ kind: "close", code: "invalid-argument" }]);
      expect(JSON.stringify(drive.effects)).not.toContain(JSON.stringify(id).slice(1, -1));
    },
  );

  test("a node of a group that is not known yet keeps what it has, and is served when the group comes", () => {
    const drive = driveSession("delta", { known: false });
    expect(drive.change(CDS, { claims: { x: "1" } })).toEqual([]);
    expect(drive.pass(60_000)).toEqual([]);
    expect(namesOf(drive.publish(cluster("a"))[0])).toEqual(["-x", "a"]);
    const fresh = driveSession("delta", { known: false });
    expect(fresh.change(CDS)).toHaveLength(1);
    const sotw = driveSession("sotw", { known: false });
    expect(sotw.ask(CDS, [], { version: "v7" })).toEqual([]);
    expect(namesOf(sotw.publish(cluster("a"))[0])).toEqual(["a"]);
  });
});
