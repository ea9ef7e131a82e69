import { create, createRegistry, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type Any, AnySchema } from "@bufbuild/protobuf/wkt";
import { ClusterSchema } from "../protos/gen/envoy/config/cluster/v3/cluster_pb.ts";
import { TypedExtensionConfigSchema } from "../protos/gen/envoy/config/core/v3/extension_pb.ts";
import { ClusterLoadAssignmentSchema } from "../protos/gen/envoy/config/endpoint/v3/endpoint_pb.ts";
import { ListenerSchema } from "../protos/gen/envoy/config/listener/v3/listener_pb.ts";
import { RouteConfigurationSchema } from "../protos/gen/envoy/config/route/v3/route_pb.ts";
import { FileAccessLogSchema } from "../protos/gen/envoy/extensions/access_loggers/file/v3/file_pb.ts";
import { StdoutAccessLogSchema } from "../protos/gen/envoy/extensions/access_loggers/stream/v3/stream_pb.ts";
import { DnsClusterSchema } from "../protos/gen/envoy/extensions/clusters/dns/v3/dns_cluster_pb.ts";
import { CredentialInjectorSchema } from "../protos/gen/envoy/extensions/filters/http/credential_injector/v3/credential_injector_pb.ts";
import {
  ExtAuthzPerRouteSchema,
  ExtAuthzSchema,
} from "../protos/gen/envoy/extensions/filters/http/ext_authz/v3/ext_authz_pb.ts";
import { HeaderMutationSchema } from "../protos/gen/envoy/extensions/filters/http/header_mutation/v3/header_mutation_pb.ts";
import { JwtAuthenticationSchema } from "../protos/gen/envoy/extensions/filters/http/jwt_authn/v3/config_pb.ts";
import { LuaSchema } from "../protos/gen/envoy/extensions/filters/http/lua/v3/lua_pb.ts";
import { RBACSchema } from "../protos/gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.ts";
import { RouterSchema } from "../protos/gen/envoy/extensions/filters/http/router/v3/router_pb.ts";
import { UpstreamCodecSchema } from "../protos/gen/envoy/extensions/filters/http/upstream_codec/v3/upstream_codec_pb.ts";
import { TlsInspectorSchema } from "../protos/gen/envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector_pb.ts";
import { HttpConnectionManagerSchema } from "../protos/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import { HeaderMutationSchema as EarlyHeaderMutationSchema } from "../protos/gen/envoy/extensions/http/early_header_mutation/header_mutation/v3/header_mutation_pb.ts";
import { GenericSchema } from "../protos/gen/envoy/extensions/http/injected_credentials/generic/v3/generic_pb.ts";
import { DownstreamConnectionsConfigSchema } from "../protos/gen/envoy/extensions/resource_monitors/downstream_connections/v3/downstream_connections_pb.ts";
import { PreviousHostsPredicateSchema } from "../protos/gen/envoy/extensions/retry/host/previous_hosts/v3/previous_hosts_pb.ts";
import { PriorityGroupClusterSpecifierSchema } from "../protos/gen/envoy/extensions/router/cluster_specifiers/priority_group/v3/priority_group_pb.ts";
import { SecretSchema } from "../protos/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";
import {
  DownstreamTlsContextSchema,
  UpstreamTlsContextSchema,
} from "../protos/gen/envoy/extensions/transport_sockets/tls/v3/tls_pb.ts";
import { HttpProtocolOptionsSchema } from "../protos/gen/envoy/extensions/upstreams/http/v3/http_protocol_options_pb.ts";

/** Every message that Chancery generates or reads as a resource or inside an `Any`: for validation and for JSON. */
export const envoyTypes = createRegistry(
  ClusterSchema,
  ClusterLoadAssignmentSchema,
  CredentialInjectorSchema,
  DnsClusterSchema,
  DownstreamConnectionsConfigSchema,
  DownstreamTlsContextSchema,
  EarlyHeaderMutationSchema,
  ExtAuthzPerRouteSchema,
  ExtAuthzSchema,
  FileAccessLogSchema,
  GenericSchema,
  HeaderMutationSchema,
  HttpConnectionManagerSchema,
  HttpProtocolOptionsSchema,
  JwtAuthenticationSchema,
  ListenerSchema,
  LuaSchema,
  PreviousHostsPredicateSchema,
  PriorityGroupClusterSpecifierSchema,
  RBACSchema,
  RouteConfigurationSchema,
  RouterSchema,
  SecretSchema,
  StdoutAccessLogSchema,
  TlsInspectorSchema,
  TypedExtensionConfigSchema,
  UpstreamCodecSchema,
  UpstreamTlsContextSchema,
);

/** "type.googleapis.com/<full name>", as xDS and `Any` write it. */
export function typeUrl(schema: DescMessage): string {
  return `type.googleapis.com/${schema.typeName}`;
}

/** The resource types that Envoy asks for, by their usual short names. */
export const TYPE_URLS = {
  cluster: typeUrl(ClusterSchema),
  endpoint: typeUrl(ClusterLoadAssignmentSchema),
  listener: typeUrl(ListenerSchema),
  route: typeUrl(RouteConfigurationSchema),
  secret: typeUrl(SecretSchema),
  extensionConfig: typeUrl(TypedExtensionConfigSchema),
} as const;

/** Packs a message as Envoy's `typed_config` wants it. */
export function pack<Desc extends DescMessage>(schema: Desc, init: MessageInitShape<Desc>): Any {
  return create(AnySchema, { typeUrl: typeUrl(schema), value: toBinary(schema, create(schema, init)) });
}

/** `{ name, typed_config }`: how Envoy's extension points take most of their members. */
export function extension<Desc extends DescMessage>(name: string, schema: Desc, init: MessageInitShape<Desc>) {
  return { name, typedConfig: pack(schema, init) };
}

/** The same where the configuration is one member of the oneof `config_type`. */
export function configured(name: string, typedConfig: Any) {
  return { name, configType: { case: "typedConfig" as const, value: typedConfig } };
}
