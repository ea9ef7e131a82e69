import { describe, expect, test } from "vitest";
import { TYPE_URLS } from "../envoy/index.ts";
import {
  cluster,
  driveSession,
  endpoints,
  namesOf,
  route,
  type SessionDriver,
  secret,
  typesOf,
} from "./session-driver.ts";
import type { Protocol } from "./session-state.ts";

const { cluster: CDS, endpoint: EDS, route: RDS, secret: SDS } = TYPE_URLS;
const LONG_MS = 600_000;

const before = [cluster("x"), endpoints("x"), route("r", "to x")];
const after = [cluster("y"), endpoints("y"), route("r", "to y")];

/** Asks for names of a type in addition to what was asked for before, which state of the world repeats. */
function ask(drive: SessionDriver, protocol: Protocol, typeUrl: string, names: readonly string[], held: string[] = []) {
  return protocol === "delta"
    ? drive.change(typeUrl, { subscribe: names })
    : drive.ask(typeUrl, [...held, ...names], { nonce: drive.session.types.get(typeUrl)?.nonce ?? "" });
}

/** An Envoy that runs `before`. */
function running(protocol: Protocol, isEnvoy = true): SessionDriver {
  const drive = driveSession(protocol, { resources: before, isEnvoy });
  const open = [
    ...ask(drive, protocol, CDS, []),
    ...ask(drive, protocol, EDS, ["x"]),
    ...ask(drive, protocol, RDS, ["r"]),
  ];
  for (let response = open.shift(); response !== undefined; response = open.shift()) open.push(...drive.ack(response));
  return drive;
}

describe.each<Protocol>(["delta", "sotw"])("%s", (protocol) => {
  test("routes wait for as long as the Envoy has not asked for what their clusters need, and nothing goes meanwhile", () => {
    const drive = running(protocol);
    expect(typesOf(drive.publish(...after))).not.toContain("route");
    expect(drive.pass(LONG_MS)).toEqual([]);
    const asked = ask(drive, protocol, EDS, ["y"], ["x"]);
    // Endpoints first: what does not get warm has its bounded wait, which is over here.
    expect(typesOf(asked)).toEqual(["endpoint", "route"]);
  });

  test("what is acknowledged at last is followed by its routes, and then by removals", () => {
    const drive = running(protocol);
    const [clusters] = drive.publish(...after);
    drive.pass(LONG_MS);
    const [routes, ...more] = drive.ack(clusters).filter(({ typeUrl }) => typeUrl === RDS);
    expect([namesOf(routes), more]).toEqual([["r"], []]);
    const retained = drive.session.types.get(CDS)?.retained;
    expect([...(retained?.keys() ?? [])]).toEqual(["x"]);
    drive.ack(routes);
    drive.pass(2_000);
    expect(retained?.size).toBe(0);
  });
});

test("an Envoy that has read the clusters gets their routes after the bounded wait", () => {
  const drive = running("delta");
  drive.publish(...after);
  drive.pass(1_000);
  expect(typesOf(drive.change(EDS, { subscribe: ["y"] }))).toEqual(["endpoint"]);
  expect(drive.pass(999)).toEqual([]);
  expect(typesOf(drive.pass(1))).toEqual(["route"]);
});

test("the secrets of a cluster must have been asked for, too", () => {
  const drive = running("delta");
  drive.publish(cluster("y", "1", ["s"]), endpoints("y"), secret("s"), route("r", "to y"));
  drive.change(EDS, { subscribe: ["y"] });
  expect(drive.pass(LONG_MS)).toEqual([]);
  expect(typesOf(drive.change(SDS, { subscribe: ["s"] }))).toEqual(["secret", "route"]);
});

test("a cluster that went again before the Envoy asked for anything holds nothing up", () => {
  const drive = running("delta");
  drive.publish(...before, cluster("brief"), endpoints("brief"));
  drive.publish(...before.slice(0, 2), route("r", "to x again"));
  expect(drive.session.types.get(RDS)?.waiting.size).toBe(1);
  drive.pass(LONG_MS);
  expect(drive.session.types.get(RDS)?.waiting.size).toBe(0);
});

test("clusters that the Envoy has already and that change hold nothing up", () => {
  const drive = running("delta");
  drive.publish(cluster("x", "2"), endpoints("x"), route("r", "other"));
  expect(typesOf(drive.pass(2_000))).toEqual(["route"]);
});

test("other clients ask for what they use, and are not waited for without end", () => {
  const drive = running("delta", false);
  drive.publish(...after);
  expect(namesOf(drive.pass(2_000)[0])).toEqual(["r"]);
});
