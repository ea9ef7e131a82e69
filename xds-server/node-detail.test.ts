import { expect, test } from "vitest";
import { TYPE_URLS } from "../envoy/index.ts";
import { type DetailFacts, nodeDetail } from "./node-detail.ts";
import type { QuarantineEntry } from "./quarantine.ts";
import { cluster, driveSession, endpoints, listener, route, type SessionDriver, secret } from "./session-driver.ts";

const { cluster: CDS, endpoint: EDS, route: RDS, listener: LDS } = TYPE_URLS;

function detailOf(drive: SessionDriver, name?: string, facts: Partial<DetailFacts> = {}) {
  const identity = drive.session.node;
  if (identity === undefined) throw new Error("the node has not said who it is");
  const view = drive.view();
  const none = { heldBack: [], groupsWith: () => [], isSecret: () => false };
  return nodeDetail(identity, [drive.session], { view, groupView: view, ...none, ...facts }, name).resources;
}

const standings = (drive: SessionDriver, name?: string, facts?: Partial<DetailFacts>) =>
  detailOf(drive, name, facts).map(({ standing, text }) => `${standing}: ${text}`);

test("says what is in force, what waits for which acknowledgement, and what the node has not asked for", () => {
  const drive = driveSession("delta", { resources: [cluster("a"), endpoints("a"), listener("l"), route("r")] });
  const [first] = drive.change(CDS);
  expect(standings(drive, "a")).toEqual([
    expect.stringMatching(/^unacknowledged: sent at 1970-01-01T00:16:40.000Z, not yet acknowledged \(an Envoy/),
    expect.stringMatching(/^type-not-asked-for: .* any ClusterLoadAssignment: a cluster that it runs must name it$/),
  ]);
  drive.ack(first);
  drive.ack(drive.change(EDS, { subscribe: ["a"] })[0]);
  expect(standings(drive, "a")).toEqual(["in-force: acknowledged", "in-force: acknowledged"]);
  drive.ack(drive.change(LDS)[0]);
  drive.change(RDS);
  expect(standings(drive, "r")).toEqual([
    "not-asked-for: the node has not asked for it: a listener that it runs must name it",
  ]);
  drive.publish(cluster("a", "2"), endpoints("a"), listener("l", "2"), route("r"));
  expect(standings(drive, "l")).toEqual(["waits-for-clusters: held back until the clusters are acknowledged"]);
});

test("says what was refused, in Envoy's words", () => {
  const drive = driveSession("delta", { resources: [cluster("a")] });
  drive.ack(drive.change(CDS)[0]);
  const bad = cluster("a", "2");
  drive.nack(drive.publish(bad)[0], "no good at all");
  const entry: QuarantineEntry = {
    ...{ typeUrl: CDS, name: "a", version: bad.version, revision: 7, message: "no good at all", since: 0 },
    ...{ refusers: new Map([["n1", "b"]]), builds: new Set<string>(), wholeGroup: false, lastGoodRefused: false },
  };
  expect(standings(drive, "a", { heldBack: [entry] })).toEqual([
    "held-back: held back from this node since 1970-01-01T00:00:00.000Z: revision 7 was refused, the last good one stays: no good at all",
  ]);
});

test("says why there is nothing to have", () => {
  const drive = driveSession("delta", { resources: [cluster("a"), secret("s")] });
  drive.change(CDS);
  const facts = {
    groupsWith: (name: string) => (name === "b" ? ["team/other"] : []),
    isSecret: (n: string) => n === "key",
  };
  expect(standings(drive, "b", facts)).toEqual([
    'not-in-its-group: gateway "g" has no resource of that name; these have it: team/other',
  ]);
  expect(standings(drive, "key", facts)).toEqual([
    'not-its-secret: there is such a secret, and nothing of gateway "g" refers to it',
  ]);
  drive.change(TYPE_URLS.secret, { subscribe: ["s"] });
  expect(detailOf(drive, "s").map(({ version }) => version)).toEqual([""]);
  const unknown = driveSession("delta", { known: false });
  unknown.change(CDS);
  expect(standings(unknown, "a")).toEqual(['group-unknown: no revision has a gateway "g": the node is given nothing']);
});

test("lists all that a node holds or shall have", () => {
  const drive = driveSession("delta", { resources: [cluster("a"), cluster("b"), endpoints("a")] });
  drive.ack(drive.change(CDS)[0]);
  expect(detailOf(drive).map(({ name, standing }) => `${name} ${standing}`)).toEqual([
    "a in-force",
    "b in-force",
    "a type-not-asked-for",
  ]);
});
