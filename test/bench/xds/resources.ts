import { createHash } from "node:crypto";
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { fromAds, pack, socketAddress, TYPE_URLS } from "../../../envoy/index.ts";
import {
  Cluster_DiscoveryType,
  Cluster_LbPolicy,
  ClusterSchema,
} from "../../../protos/gen/envoy/config/cluster/v3/cluster_pb.ts";
import { ClusterLoadAssignmentSchema } from "../../../protos/gen/envoy/config/endpoint/v3/endpoint_pb.ts";
import { ListenerSchema } from "../../../protos/gen/envoy/config/listener/v3/listener_pb.ts";
import { RouteConfigurationSchema } from "../../../protos/gen/envoy/config/route/v3/route_pb.ts";
import { RouterSchema } from "../../../protos/gen/envoy/extensions/filters/http/router/v3/router_pb.ts";
import { HttpConnectionManagerSchema } from "../../../protos/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import type { ServedResource } from "../../../xds-server/index.ts";

/** The resources of the benchmark, the same messages as reference/resources.go makes, so that bytes are comparable. */
export interface Size {
  readonly clusters: number;
  readonly endpointsPerCluster: number;
  readonly routes: number;
}

const HOSTS_PER_ROUTE = 10;

/** What a client looks for to know that it has change `rev`. */
const marker = (rev: number) => `x-rev-${String(rev).padStart(9, "0")}`;

export function allResources(size: Size): ServedResource[] {
  const all: ServedResource[] = [];
  for (let index = 0; index < size.clusters; index++) {
    all.push(cluster(index), endpoints(index, size, 0));
  }
  for (let index = 0; index < size.routes; index++) all.push(listener(index), route(index, size, 0));
  return all;
}

function cluster(index: number): ServedResource {
  const name = `cluster-${index}`;
  return encoded(TYPE_URLS.cluster, name, ClusterSchema, {
    name,
    connectTimeout: { seconds: 1n },
    clusterDiscoveryType: { case: "type", value: Cluster_DiscoveryType.EDS },
    lbPolicy: Cluster_LbPolicy.LEAST_REQUEST,
    edsClusterConfig: { edsConfig: fromAds() },
  });
}

/** @param rev  0: as loaded; else the change whose marker it carries */
export function endpoints(index: number, { endpointsPerCluster }: Size, rev: number): ServedResource {
  const clusterName = `cluster-${index}`;
  const lbEndpoints = Array.from({ length: endpointsPerCluster }, (_, at) => ({
    hostIdentifier: {
      case: "endpoint" as const,
      value: {
        address: socketAddress(`10.${Math.floor(index / 250)}.${index % 250}.${at + 1}`, 8080),
        hostname: at === 0 && rev > 0 ? marker(rev) : "",
      },
    },
  }));
  return encoded(TYPE_URLS.endpoint, clusterName, ClusterLoadAssignmentSchema, {
    clusterName,
    endpoints: [{ locality: { region: "r1", zone: "z1" }, lbEndpoints }],
  });
}

function listener(index: number): ServedResource {
  const name = `listener-${index}`;
  const manager = pack(HttpConnectionManagerSchema, {
    statPrefix: "in",
    routeSpecifier: { case: "rds", value: { routeConfigName: `route-${index}`, configSource: fromAds() } },
    httpFilters: [
      { name: "envoy.filters.http.router", configType: { case: "typedConfig", value: pack(RouterSchema, {}) } },
    ],
  });
  return encoded(TYPE_URLS.listener, name, ListenerSchema, {
    name,
    address: socketAddress("0.0.0.0", 10_000 + index),
    filterChains: [
      {
        filters: [
          {
            name: "envoy.filters.network.http_connection_manager",
            configType: { case: "typedConfig", value: manager },
          },
        ],
      },
    ],
  });
}

/** Ten virtual hosts with a weighted pair each; the weights of the first flip with `rev`. */
export function route(index: number, { clusters }: Size, rev: number): ServedResource {
  const name = `route-${index}`;
  const virtualHosts = Array.from({ length: HOSTS_PER_ROUTE }, (_, host) => {
    const weight = host === 0 && rev % 2 === 1 ? 10 : 90;
    const first = (index * HOSTS_PER_ROUTE + host) % clusters;
    const pair = [
      { name: `cluster-${first}`, weight },
      { name: `cluster-${(first + 1) % clusters}`, weight: 100 - weight },
    ];
    const weighted = { case: "weightedClusters" as const, value: { clusters: pair } };
    return {
      name: `vh-${host}`,
      domains: [`h${index}-${host}.example.com`],
      routes: [
        {
          match: { pathSpecifier: { case: "prefix" as const, value: "/" } },
          action: { case: "route" as const, value: { clusterSpecifier: weighted } },
        },
      ],
    };
  });
  return encoded(TYPE_URLS.route, name, RouteConfigurationSchema, {
    name,
    internalOnlyHeaders: rev > 0 ? [marker(rev)] : [],
    virtualHosts,
  });
}

function encoded<Desc extends DescMessage>(
  typeUrl: string,
  name: string,
  schema: Desc,
  init: MessageInitShape<Desc>,
): ServedResource {
  const value = toBinary(schema, create(schema, init));
  return { typeUrl, name, version: createHash("sha256").update(value).digest("hex").slice(0, 16), value };
}
