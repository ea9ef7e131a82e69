import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { type DescMessage, fromJson, type JsonValue, toBinary } from "@bufbuild/protobuf";
import { pino } from "pino";
import { Registry } from "prom-client";
import type { EncodedResource } from "../compiler/index.ts";
import { envoyTypes, typeUrl } from "../envoy/index.ts";
import { ClusterSchema } from "../protos/gen/envoy/config/cluster/v3/cluster_pb.ts";
import { ClusterLoadAssignmentSchema } from "../protos/gen/envoy/config/endpoint/v3/endpoint_pb.ts";
import { ListenerSchema } from "../protos/gen/envoy/config/listener/v3/listener_pb.ts";
import { RouteConfigurationSchema } from "../protos/gen/envoy/config/route/v3/route_pb.ts";
import { closeAtEnd, http, type RunningEnvoy, startEnvoy, waitFor } from "../test/support/index.ts";
import { createXdsServer, type XdsServer, type XdsServerOptions } from "./server.ts";
import type { GroupSnapshot } from "./snapshot.ts";

const binary = fileURLToPath(new URL("../.tools/envoy-1.40.0/envoy", import.meta.url));
export const ADS = { ads: {}, resourceApiVersion: "V3" };
const type = (name: string) => `type.googleapis.com/envoy.extensions.${name}`;

export function encode(schema: DescMessage, name: string, json: JsonValue): EncodedResource {
  const value = toBinary(schema, fromJson(schema, json, { registry: envoyTypes }));
  const version = createHash("sha256").update(value).digest("hex").slice(0, 16);
  return { typeUrl: typeUrl(schema), name, version, value };
}

export const address = (port: number) => ({ socketAddress: { address: "127.0.0.1", portValue: port } });

export function cluster(name: string, extra: Record<string, JsonValue> = {}): EncodedResource {
  return encode(ClusterSchema, name, { name, type: "EDS", edsClusterConfig: { edsConfig: ADS }, ...extra });
}

export function endpoints(clusterName: string, port: number): EncodedResource {
  return encode(ClusterLoadAssignmentSchema, clusterName, {
    clusterName,
    endpoints: [{ lbEndpoints: [{ endpoint: { address: address(port) } }] }],
  });
}

export function listener(secret?: string, statPrefix = "edge"): EncodedResource {
  const manager = {
    name: "envoy.filters.network.http_connection_manager",
    typedConfig: {
      "@type": type("filters.network.http_connection_manager.v3.HttpConnectionManager"),
      statPrefix,
      rds: { routeConfigName: "routes", configSource: ADS },
      httpFilters: [
        { name: "envoy.filters.http.router", typedConfig: { "@type": type("filters.http.router.v3.Router") } },
      ],
    },
  };
  const tls = {
    name: "envoy.transport_sockets.tls",
    typedConfig: {
      "@type": type("transport_sockets.tls.v3.DownstreamTlsContext"),
      commonTlsContext: { tlsCertificateSdsSecretConfigs: [{ name: secret ?? "", sdsConfig: ADS }] },
    },
  };
  const chain = { filters: [manager], ...(secret === undefined ? {} : { transportSocket: tls }) };
  return encode(ListenerSchema, "edge", { name: "edge", address: address(0), filterChains: [chain] });
}

export function routes(...list: readonly (readonly [prefix: string, cluster: string])[]): EncodedResource {
  return encode(RouteConfigurationSchema, "routes", {
    name: "routes",
    virtualHosts: [
      {
        name: "all",
        domains: ["*"],
        routes: list.map(([prefix, name]) => ({ match: { prefix }, route: { cluster: name } })),
      },
    ],
  });
}

export const brokenRoutes = encode(RouteConfigurationSchema, "routes", {
  name: "routes",
  virtualHosts: [
    { name: "all", domains: ["*"], routes: [{ match: { safeRegex: { regex: "(" } }, route: { cluster: "a" } }] },
  ],
});

export function snapshot(revision: number, ...resources: readonly EncodedResource[]): GroupSnapshot {
  const types = new Map<string, Map<string, EncodedResource>>();
  for (const resource of resources) {
    const map = types.get(resource.typeUrl) ?? new Map<string, EncodedResource>();
    types.set(resource.typeUrl, map.set(resource.name, resource));
  }
  return { group: "edge", revision, layout: `layout-${revision}`, resources: types };
}

export async function startUpstream(says: string): Promise<number> {
  const server = createServer((_request, response) => response.end(says));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closeAtEnd(server);
  return (server.address() as AddressInfo).port;
}

export interface RunningServer {
  readonly server: XdsServer;
  readonly port: number;
  readonly registry: Registry;
}

export async function startServer(
  first: GroupSnapshot,
  port = 0,
  options: Omit<Partial<XdsServerOptions>, "registry"> = {},
): Promise<RunningServer> {
  const registry = new Registry();
  const settings = { removalGraceMs: 100, ...options.settings };
  const server = createXdsServer({ log: pino({ level: "silent" }), ...options, registry, settings });
  closeAtEnd(server);
  server.setSnapshot(first);
  return { server, port: await server.listen(`127.0.0.1:${port}`), registry };
}

/** @param extra  fields of the bootstrap besides those that every node has */
export async function startNode(xdsPort: number, id = "node-1", extra: object = {}): Promise<RunningEnvoy> {
  const envoy = await startEnvoy({
    binary,
    bootstrap: {
      node: { id, cluster: "edge" },
      ...extra,
      admin: { address: address(0) },
      dynamic_resources: {
        ads_config: {
          api_type: "DELTA_GRPC",
          transport_api_version: "V3",
          set_node_on_first_message_only: true,
          grpc_services: [{ envoy_grpc: { cluster_name: "xds" } }],
        },
        cds_config: { ads: {}, resource_api_version: "V3" },
        lds_config: { ads: {}, resource_api_version: "V3" },
      },
      static_resources: {
        clusters: [
          {
            name: "xds",
            type: "STATIC",
            typed_extension_protocol_options: {
              "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": type("upstreams.http.v3.HttpProtocolOptions"),
                explicit_http_config: { http2_protocol_options: {} },
              },
            },
            load_assignment: {
              cluster_name: "xds",
              endpoints: [{ lb_endpoints: [{ endpoint: { address: address(xdsPort) } }] }],
            },
          },
        ],
      },
    },
  });
  return closeAtEnd(envoy);
}

export function runs(server: XdsServer, revision: number): Promise<true> {
  return waitFor(
    () => server.nodes()[0]?.acknowledgedRevision === revision,
    10_000,
    () => `revision ${revision} on the node: ${JSON.stringify(server.nodes(), null, 1)}`,
  );
}

export async function portOf(envoy: RunningEnvoy): Promise<number> {
  return waitFor(async () => (await envoy.listenerPorts()).edge?.[0], 10_000, "the listener");
}

export const get = async (port: number, path = "/") => (await http(`http://127.0.0.1:${port}${path}`)).text();

/** Responses sent so far, by type. */
export async function pushes(registry: Registry): Promise<Record<string, number>> {
  const found = (await registry.metrics()).matchAll(/chancery_xds_pushes_total\{type="(\w+)"\} (\d+)/g);
  return Object.fromEntries([...found].map(([, kind, count]) => [kind ?? "", Number(count)]));
}
