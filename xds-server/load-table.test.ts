import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { ClusterStatsSchema } from "../protos/gen/envoy/config/endpoint/v3/load_report_pb.ts";
import { createLoadTable } from "./load-table.ts";

function stats(clusterName: string, zone: string, successful: number, inProgress = 0) {
  const counts = { totalSuccessfulRequests: BigInt(successful), totalErrorRequests: 1n, totalIssuedRequests: 9n };
  const upstreamLocalityStats = [{ locality: { zone }, ...counts, totalRequestsInProgress: BigInt(inProgress) }];
  return create(ClusterStatsSchema, { clusterName, upstreamLocalityStats });
}

const node = (id: string, group = "g") => ({ id, group });
const all = () => true;

test("reports of all nodes of a group add up by cluster and locality, and what is under way is the newest", () => {
  const table = createLoadTable(10);
  table.report(node("n1"), [stats("a", "z1", 5, 3), stats("a", "z2", 1)], all, 1);
  table.report(node("n2"), [stats("a", "z1", 2, 4)], all, 2);
  table.report(node("n1"), [stats("a", "z1", 1, 1)], all, 3);
  table.report(node("n1", "other"), [stats("a", "z1", 100)], all, 4);
  const of = (zone: string) => table.loads().find((load) => load.group === "g" && load.zone === zone);
  expect(of("z1")).toMatchObject({ successful: 8, failed: 3, issued: 27, inProgress: 5, nodes: 2, reportedAt: 3 });
  expect(of("z2")).toMatchObject({ successful: 1, nodes: 1 });
  table.gone(node("n2"));
  expect(of("z1")).toMatchObject({ successful: 8, inProgress: 1, nodes: 1 });
});

test("of clusters that are not the group's nothing is kept, and what is kept is bounded", () => {
  const table = createLoadTable(2);
  const increases = table.report(node("n1"), [stats("a", "", 1), stats("made-up", "", 1)], (name) => name === "a", 1);
  expect(increases.map(({ cluster }) => cluster)).toEqual(["a"]);
  table.report(node("n1"), [stats("b", "", 1), stats("a", "", 1), stats("c", "", 1)], all, 2);
  expect(table.loads().map(({ cluster }) => cluster)).toEqual(["a", "c"]);
});
