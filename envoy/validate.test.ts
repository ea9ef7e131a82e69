import {
  create,
  type DescMessage,
  getOption,
  hasOption,
  type JsonValue,
  type MessageInitShape,
  toJson,
} from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { ClusterSchema } from "../protos/gen/envoy/config/cluster/v3/cluster_pb.ts";
import { HeaderValueSchema, MetadataSchema } from "../protos/gen/envoy/config/core/v3/base_pb.ts";
import { HealthCheckSchema } from "../protos/gen/envoy/config/core/v3/health_check_pb.ts";
import { ClusterLoadAssignmentSchema } from "../protos/gen/envoy/config/endpoint/v3/endpoint_pb.ts";
import { PermissionSchema } from "../protos/gen/envoy/config/rbac/v3/rbac_pb.ts";
import {
  DirectResponseActionSchema,
  InternalRedirectPolicySchema,
  RouteMatchSchema,
} from "../protos/gen/envoy/config/route/v3/route_components_pb.ts";
import { RouteConfigurationSchema } from "../protos/gen/envoy/config/route/v3/route_pb.ts";
import { BufferSettingsSchema } from "../protos/gen/envoy/extensions/filters/http/ext_authz/v3/ext_authz_pb.ts";
import { RouterSchema } from "../protos/gen/envoy/extensions/filters/http/router/v3/router_pb.ts";
import { GenericSchema } from "../protos/gen/envoy/extensions/http/injected_credentials/generic/v3/generic_pb.ts";
import { PriorityGroupClusterSpecifierSchema } from "../protos/gen/envoy/extensions/router/cluster_specifiers/priority_group/v3/priority_group_pb.ts";
import { PercentSchema } from "../protos/gen/envoy/type/v3/percent_pb.ts";
import { FieldRulesSchema, rules } from "../protos/gen/validate/validate_pb.ts";
import { envoyTypes, extension, pack } from "./registry.ts";
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

test("demands items, bounds their number, checks each and forbids repeated ones", () => {
  expect(check(RouteConfigurationSchema, { virtualHosts: [{ name: "v", domains: [] }] })).toEqual([
    "virtual_hosts[0].domains: needs at least 1 items",
  ]);
  const header = { header: { key: "a" } };
  const headers = (count: number) => ({ requestHeadersToAdd: Array.from({ length: count }, () => header) });
  expect(check(RouteConfigurationSchema, headers(1000))).toEqual([]);
  expect(check(RouteConfigurationSchema, headers(1001))).toEqual([
    "request_headers_to_add: has 1001 items, more than 1000",
  ]);
  expect(check(InternalRedirectPolicySchema, { responseHeadersToCopy: ["a", "b", "a"] })).toEqual([
    "response_headers_to_copy: has an item twice",
  ]);
  const [wrong, ...more] = check(RouterSchema, { strictCheckHeaders: ["x-envoy-max-retries", "x-other"] });
  expect(wrong).toContain('strict_check_headers[1]: "x-other" is not one of ');
  expect(more).toEqual([]);
});

test("checks the keys of maps, and looks into their values", () => {
  expect(check(MetadataSchema, { filterMetadata: { a: {}, "": {} } })).toEqual([
    'filter_metadata[""] (key): must have at least 1 characters',
  ]);
  const empty = { ...pack(RouterSchema, {}), typeUrl: "" };
  expect(check(MetadataSchema, { typedFilterMetadata: { a: empty } })).toEqual([
    'typed_filter_metadata["a"]: an Any without a type',
  ]);
});

test.each([
  [-1, "-1 must be at least 0 and at most 100"],
  [0, undefined],
  [100, undefined],
  [100.5, "100.5 must be at least 0 and at most 100"],
])("checks a number from both sides: %j", (value, message) => {
  expect(check(PercentSchema, { value })).toEqual(message === undefined ? [] : [`value: ${message}`]);
});

test("checks numbers that have to be below a bound", () => {
  const status = (status: number) => check(DirectResponseActionSchema, { status });
  expect(status(199)).toEqual(["status: 199 must be at least 200 and less than 600"]);
  expect(status(200)).toEqual([]);
  expect(status(599)).toEqual([]);
  expect(status(600)).toEqual(["status: 600 must be at least 200 and less than 600"]);
});

test("checks the only value of a boolean", () => {
  expect(check(PermissionSchema, { rule: { case: "any", value: true } })).toEqual([]);
  expect(check(PermissionSchema, { rule: { case: "any", value: false } })).toEqual(["any: must be true"]);
});

test("checks the size of bytes and of text", () => {
  expect(check(HeaderValueSchema, { key: "a", rawValue: new Uint8Array(16_385) })).toEqual([
    "raw_value: must have at most 16384 bytes",
  ]);
  // Bytes, not characters.
  expect(check(HeaderValueSchema, { key: "a", value: "é".repeat(8_193) })).toEqual([
    "value: must have at most 16384 bytes",
  ]);
});

test("checks patterns, and leaves what may be empty", () => {
  const path = (value: string) => check(RouteMatchSchema, { pathSpecifier: { case: "pathSeparatedPrefix", value } });
  expect(path("/a")).toEqual([]);
  expect(path("/a/")[0]).toMatch(/^path_separated_prefix: "\/a\/" does not match /);
  expect(check(GenericSchema, { credential: { name: "c" }, header: "" })).toEqual([]);
  expect(check(GenericSchema, { credential: { name: "c" }, header: "a b" })).toEqual([
    'header: "a b" is not a header name',
  ]);
});

test("knows every rule that the registered types carry", () => {
  const known = new Set([
    "any.required",
    "bool.const",
    "bytes.maxLen",
    "bytes.minLen",
    "duration.gt",
    "duration.gte",
    "duration.lt",
    "duration.lte",
    "duration.required",
    "enum.definedOnly",
    "enum.notIn",
    "map.keys.string.minLen",
    "map.minPairs",
    "message.required",
    "message.skip",
    ...["double", "int64", "uint32", "uint64"].flatMap((type) =>
      ["gt", "gte", "lt", "lte"].map((bound) => `${type}.${bound}`),
    ),
    "repeated.maxItems",
    "repeated.minItems",
    "repeated.unique",
    ...["ignoreEmpty", "in", "maxBytes", "minLen", "pattern", "prefix", "strict", "suffix", "wellKnownRegex"].map(
      (rule) => `string.${rule}`,
    ),
  ]);
  const inUse = [...rulesInUse()];
  expect(inUse).toContain("repeated.items.string.in");
  const unknown = inUse.filter((rule) => !known.has(rule.replace("repeated.items.", "")));
  expect(unknown).toEqual([]);
});

/** "string.minLen", "repeated.items.string.in", …: of all fields of all messages that can be reached. */
function rulesInUse(): ReadonlySet<string> {
  const found = new Set<string>();
  const seen = new Set<DescMessage>();
  const visit = (message: DescMessage) => {
    if (seen.has(message)) return;
    seen.add(message);
    for (const field of message.fields) {
      if (field.message !== undefined) visit(field.message);
      if (hasOption(field, rules)) collect(toJson(FieldRulesSchema, getOption(field, rules)), "");
    }
  };
  const collect = (value: JsonValue, path: string) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) found.add(path);
    else for (const [name, inner] of Object.entries(value)) collect(inner, path === "" ? name : `${path}.${name}`);
  };
  for (const type of envoyTypes) if (type.kind === "message") visit(type);
  return found;
}

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
