import { createHash } from "node:crypto";
import { type DescMessage, fromJson, type JsonValue, toBinary } from "@bufbuild/protobuf";
import type { EncodedResource } from "../compiler/index.ts";
import { envoyTypes, typeUrl } from "../envoy/index.ts";
import { ClusterSchema } from "../protos/gen/envoy/config/cluster/v3/cluster_pb.ts";
import { ClusterLoadAssignmentSchema } from "../protos/gen/envoy/config/endpoint/v3/endpoint_pb.ts";
import { ListenerSchema } from "../protos/gen/envoy/config/listener/v3/listener_pb.ts";
import { RouteConfigurationSchema } from "../protos/gen/envoy/config/route/v3/route_pb.ts";
import type { GroupSnapshot } from "./snapshot.ts";

export const ADS = { ads: {}, resourceApiVersion: "V3" };
export const extensionType = (name: string) => `type.googleapis.com/envoy.extensions.${name}`;

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

/** @param at  a name of its own, and a port instead of any free one */
export function listener(
  secret?: string,
  statPrefix = "edge",
  at: { readonly name: string; readonly port: number } = { name: "edge", port: 0 },
): EncodedResource {
  const manager = {
    name: "envoy.filters.network.http_connection_manager",
    typedConfig: {
      "@type": extensionType("filters.network.http_connection_manager.v3.HttpConnectionManager"),
      statPrefix,
      rds: { routeConfigName: "routes", configSource: ADS },
      httpFilters: [
        { name: "envoy.filters.http.router", typedConfig: { "@type": extensionType("filters.http.router.v3.Router") } },
      ],
    },
  };
  const tls = {
    name: "envoy.transport_sockets.tls",
    typedConfig: {
      "@type": extensionType("transport_sockets.tls.v3.DownstreamTlsContext"),
      commonTlsContext: { tlsCertificateSdsSecretConfigs: [{ name: secret ?? "", sdsConfig: ADS }] },
    },
  };
  const chain = { filters: [manager], ...(secret === undefined ? {} : { transportSocket: tls }) };
  return encode(ListenerSchema, at.name, { name: at.name, address: address(at.port), filterChains: [chain] });
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
