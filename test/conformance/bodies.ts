import {
  create,
  type DescMessage,
  equals,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { pack, socketAddress, TYPE_URLS, typeUrl } from "../../envoy/index.ts";
import { Cluster_DiscoveryType, ClusterSchema } from "../../protos/gen/envoy/config/cluster/v3/cluster_pb.ts";
import { TypedExtensionConfigSchema } from "../../protos/gen/envoy/config/core/v3/extension_pb.ts";
import { ClusterLoadAssignmentSchema } from "../../protos/gen/envoy/config/endpoint/v3/endpoint_pb.ts";
import { ListenerSchema } from "../../protos/gen/envoy/config/listener/v3/listener_pb.ts";
import { VirtualHostSchema } from "../../protos/gen/envoy/config/route/v3/route_components_pb.ts";
import { RouteConfigurationSchema } from "../../protos/gen/envoy/config/route/v3/route_pb.ts";
import { RBACSchema } from "../../protos/gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.ts";
import { RouterSchema } from "../../protos/gen/envoy/extensions/filters/http/router/v3/router_pb.ts";
import { HttpConnectionManagerSchema } from "../../protos/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import { SecretSchema } from "../../protos/gen/envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";
import { RuntimeSchema } from "../../protos/gen/envoy/service/runtime/v3/rtds_pb.ts";

/** Bodies made up for resources of which only the name is given. They refer to no other resource. */
interface BodyType {
  /** The name in a body; undefined: the bytes are no such message. */
  nameIn(value: Uint8Array): string | undefined;
  /** Whether a body holds nothing but its name. */
  isBare(value: Uint8Array): boolean;
  /** Another `generation` makes other bytes. */
  make(name: string, generation: number): Uint8Array;
}

const loopback = (port: number) => socketAddress("127.0.0.1", 20_000 + (port % 10_000));

const localEndpoints = (
  clusterName: string,
  generation: number,
): MessageInitShape<typeof ClusterLoadAssignmentSchema> => ({
  clusterName,
  endpoints: [{ lbEndpoints: [{ hostIdentifier: { case: "endpoint", value: { address: loopback(generation) } } }] }],
});

const answering = (name: string, domain: string): MessageInitShape<typeof VirtualHostSchema> => ({
  name,
  domains: [domain],
  routes: [
    {
      match: { pathSpecifier: { case: "prefix", value: "/" } },
      action: { case: "directResponse", value: { status: 200 } },
    },
  ],
});

const TYPES = new Map<string, BodyType>([
  [
    TYPE_URLS.cluster,
    bodyType(ClusterSchema, "name", (name, generation) =>
      create(ClusterSchema, {
        name,
        clusterDiscoveryType: { case: "type", value: Cluster_DiscoveryType.STATIC },
        loadAssignment: localEndpoints(name, generation),
      }),
    ),
  ],
  [
    TYPE_URLS.endpoint,
    bodyType(ClusterLoadAssignmentSchema, "clusterName", (name, generation) =>
      create(ClusterLoadAssignmentSchema, localEndpoints(name, generation)),
    ),
  ],
  [
    TYPE_URLS.listener,
    bodyType(ListenerSchema, "name", (name, generation) =>
      create(ListenerSchema, {
        name,
        address: loopback(generation),
        filterChains: [{ filters: [{ name: "http", configType: { case: "typedConfig", value: http(generation) } }] }],
      }),
    ),
  ],
  [
    TYPE_URLS.route,
    bodyType(RouteConfigurationSchema, "name", (name, generation) =>
      create(RouteConfigurationSchema, {
        name,
        virtualHosts: [answering(`generation-${generation}`, "*")],
      }),
    ),
  ],
  [
    TYPE_URLS.secret,
    bodyType(SecretSchema, "name", (name, generation) =>
      create(SecretSchema, {
        name,
        type: {
          case: "genericSecret",
          value: { secret: { specifier: { case: "inlineString", value: `generation ${generation}` } } },
        },
      }),
    ),
  ],
  [
    TYPE_URLS.extensionConfig,
    bodyType(TypedExtensionConfigSchema, "name", (name, generation) =>
      create(TypedExtensionConfigSchema, {
        name,
        typedConfig: pack(RBACSchema, { shadowRulesStatPrefix: `generation_${generation}` }),
      }),
    ),
  ],
  [
    typeUrl(RuntimeSchema),
    bodyType(RuntimeSchema, "name", (name, generation) =>
      create(RuntimeSchema, { name, layer: { "test.generation": generation } }),
    ),
  ],
  [
    typeUrl(VirtualHostSchema),
    bodyType(VirtualHostSchema, "name", (name, generation) =>
      create(VirtualHostSchema, {
        ...answering(name, name.slice(name.indexOf("/") + 1)),
        responseHeadersToRemove: [`x-generation-${generation}`],
      }),
    ),
  ],
]);

/** undefined: no body of this type can be made up, nor its name be read. */
export function bodyTypeOf(url: string): BodyType | undefined {
  return TYPES.get(url);
}

/** Names under which a virtual host may be asked for: its route configuration and each of its domains (vhds.rst). */
export function aliasesIn(url: string, name: string, value: Uint8Array): readonly string[] {
  const slash = name.indexOf("/");
  if (url !== typeUrl(VirtualHostSchema) || slash === -1) return [];
  const { domains } = fromBinary(VirtualHostSchema, value);
  return domains.map((domain) => `${name.slice(0, slash)}/${domain}`).filter((alias) => alias !== name);
}

function http(generation: number) {
  return pack(HttpConnectionManagerSchema, {
    statPrefix: `generation_${generation}`,
    routeSpecifier: { case: "routeConfig", value: { virtualHosts: [answering("all", "*")] } },
    httpFilters: [
      { name: "envoy.filters.http.router", configType: { case: "typedConfig", value: pack(RouterSchema, {}) } },
    ],
  });
}

function bodyType<Desc extends DescMessage>(
  schema: Desc,
  nameField: string,
  make: (name: string, generation: number) => MessageShape<Desc>,
): BodyType {
  const parse = (value: Uint8Array) => {
    try {
      return fromBinary(schema, value);
    } catch {
      // Suites send what does not parse on purpose; it is theirs to name (Item.name).
      return undefined;
    }
  };
  const nameIn = (value: Uint8Array) => {
    const message: object | undefined = parse(value);
    const name: unknown = message === undefined ? undefined : Reflect.get(message, nameField);
    return typeof name === "string" ? name : undefined;
  };
  return {
    nameIn,
    isBare(value) {
      const message = parse(value);
      const bare = { [nameField]: nameIn(value) } as MessageInitShape<Desc>;
      return message !== undefined && equals(schema, message, create(schema, bare));
    },
    make: (name, generation) => toBinary(schema, make(name, generation)),
  };
}
