import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { ClusterSchema } from "../protos/gen/envoy/config/cluster/v3/cluster_pb.ts";
import { HeaderValueSchema } from "../protos/gen/envoy/config/core/v3/base_pb.ts";
import { HealthCheckSchema } from "../protos/gen/envoy/config/core/v3/health_check_pb.ts";
import { ClusterLoadAssignmentSchema } from "../protos/gen/envoy/config/endpoint/v3/endpoint_pb.ts";
import { RouteConfigurationSchema } from "../protos/gen/envoy/config/route/v3/route_pb.ts";
import { BufferSettingsSchema } from "../protos/gen/envoy/extensions/filters/http/ext_authz/v3/ext_authz_pb.ts";
import { PriorityGroupClusterSpecifierSchema } from "../protos/gen/envoy/extensions/router/cluster_specifiers/priority_group/v3/priority_group_pb.ts";
import { extension, pack } from "./registry.ts";
import { validate } from "./validate.ts";
import { duration } from "./values.ts";

/** The violations of a message as "path: message" lines. */
function check<Desc extends DescMessage>(schema: Desc, init: MessageInitShape<Desc>): string[] {
  return validate(schema, create(schema, init)).map(({ path, message }) => `${path}: ${message}`);
}

test("passes what Envoy accepts", () => {
  expect(check(ClusterSchema, { name: "a", connectTimeout: duration(1000) })).toEqual([]);
  expect(check(RouteConfigurationSchema, { virtualHosts: [{ name: "v", domains: ["*"] }] })).toEqual([]);
});

test("names the path of a string that is too short", () => {
  expect(check(ClusterSchema, { name: "" })).toEqual(["name: must have at least 1 characters"]);
});

test("checks durations", () => {
  expect(check(ClusterSchema, { name: "a", connectTimeout: duration(0) })).toEqual([
    "connect_timeout: must be more than 0 s",
  ]);
});

test("checks numbers in wrapper messages", () => {
  expect(check(BufferSettingsSchema, { maxRequestBytes: 0 })).toEqual(["max_request_bytes: 0 must be greater than 0"]);
});

test("demands messages that are required", () => {
  const violations = check(HealthCheckSchema, { healthChecker: { case: "grpcHealthCheck", value: {} } });
  expect(violations).toContain("timeout: is required");
  expect(violations).toContain("unhealthy_threshold: is required");
});

test("demands one member of a required oneof", () => {
  expect(
    check(RouteConfigurationSchema, { virtualHosts: [{ name: "v", domains: ["*"], routes: [{ match: {} }] }] }),
  ).toEqual([
    "virtual_hosts[0].routes[0].action: one of its fields is required",
    "virtual_hosts[0].routes[0].match.path_specifier: one of its fields is required",
  ]);
});

test("demands items and forbids repeated ones", () => {
  expect(check(RouteConfigurationSchema, { virtualHosts: [{ name: "v", domains: [] }] })).toEqual([
    "virtual_hosts[0].domains: needs at least 1 items",
  ]);
});

test("checks header names and values", () => {
  expect(check(HeaderValueSchema, { key: "x\n", value: "a\rb" })).toEqual([
    'key: "x\\n" is not a header name',
    'value: "a\\rb" is not a header value',
  ]);
});

test("checks enums against their definition", () => {
  // 9 is no DiscoveryType.
  const cluster = { name: "a", clusterDiscoveryType: { case: "type" as const, value: 9 as 0 } };
  expect(check(ClusterSchema, cluster)).toEqual(["type: 9 is not a value of DiscoveryType"]);
});

test("looks into what is packed in an Any", () => {
  const plugin = (weight: number) =>
    extension("p", PriorityGroupClusterSpecifierSchema, {
      priorityGroups: [{ name: "a", clusters: [{ clusterName: "c", weight }] }],
    });
  const routes = (weight: number) => ({ clusterSpecifierPlugins: [{ extension: plugin(weight) }] });
  expect(check(RouteConfigurationSchema, routes(1))).toEqual([]);
  const [violation] = check(RouteConfigurationSchema, routes(0));
  expect(violation).toContain("typed_config<PriorityGroupClusterSpecifier>.priority_groups[0].clusters[0].weight");
});

test("reports an Any whose type is not known", () => {
  const any = { ...pack(ClusterLoadAssignmentSchema, { clusterName: "x" }), typeUrl: "type.googleapis.com/no.Such" };
  expect(check(ClusterSchema, { name: "a", typedExtensionProtocolOptions: { k: any } })).toEqual([
    'typed_extension_protocol_options["k"]: unknown type type.googleapis.com/no.Such',
  ]);
});
