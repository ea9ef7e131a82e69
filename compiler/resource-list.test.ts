import { create } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { ClusterSchema } from "../protos/gen/envoy/config/cluster/v3/cluster_pb.ts";
import { createResourceList } from "./resource-list.ts";

it("names the resource that breaks a rule of Envoy's protos", () => {
  const list = createResourceList();
  list.add(ClusterSchema, "type", "good", create(ClusterSchema, { name: "good" }));
  expect(list.violations).toEqual([]);
  list.add(ClusterSchema, "type", "bad", create(ClusterSchema, { name: "" }));
  expect(list.violations).toEqual([
    { resource: "Cluster bad", path: "name", message: "must have at least 1 characters" },
  ]);
});

it("sorts by type, then by name, whatever the order of adding", () => {
  const list = createResourceList();
  for (const [type, name] of [
    ["b", "1"],
    ["a", "2"],
    ["a", "1"],
  ] as const) {
    list.add(ClusterSchema, type, name, create(ClusterSchema, { name }));
  }
  expect(list.sorted().map(({ typeUrl, name }) => `${typeUrl}/${name}`)).toEqual(["a/1", "a/2", "b/1"]);
});
