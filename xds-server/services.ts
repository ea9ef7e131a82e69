import type { DescService } from "@bufbuild/protobuf";
import { TYPE_URLS } from "../envoy/index.ts";
import { ClusterDiscoveryService } from "../protos/gen/envoy/service/cluster/v3/cds_pb.ts";
import { AggregatedDiscoveryService } from "../protos/gen/envoy/service/discovery/v3/ads_pb.ts";
import { EndpointDiscoveryService } from "../protos/gen/envoy/service/endpoint/v3/eds_pb.ts";
import { ExtensionConfigDiscoveryService } from "../protos/gen/envoy/service/extension/v3/config_discovery_pb.ts";
import { ListenerDiscoveryService } from "../protos/gen/envoy/service/listener/v3/lds_pb.ts";
import { RouteDiscoveryService, VirtualHostDiscoveryService } from "../protos/gen/envoy/service/route/v3/rds_pb.ts";
import { RuntimeDiscoveryService } from "../protos/gen/envoy/service/runtime/v3/rtds_pb.ts";
import { SecretDiscoveryService } from "../protos/gen/envoy/service/secret/v3/sds_pb.ts";
import type { GrpcCall } from "./grpc-call.ts";
import { RUNTIME, VIRTUAL_HOST } from "./resource-types.ts";
import type { Protocol } from "./session-state.ts";

/** @param only  the one type of a separate stream; undefined: any (ADS) */
export type AcceptCall = (call: GrpcCall, protocol: Protocol, only: string | undefined) => void;

interface DiscoveryService {
  readonly service: DescService;
  readonly only: string | undefined;
}

const SERVICES: readonly DiscoveryService[] = [
  { service: AggregatedDiscoveryService, only: undefined },
  { service: ClusterDiscoveryService, only: TYPE_URLS.cluster },
  { service: EndpointDiscoveryService, only: TYPE_URLS.endpoint },
  { service: ListenerDiscoveryService, only: TYPE_URLS.listener },
  { service: RouteDiscoveryService, only: TYPE_URLS.route },
  { service: VirtualHostDiscoveryService, only: VIRTUAL_HOST },
  { service: SecretDiscoveryService, only: TYPE_URLS.secret },
  { service: RuntimeDiscoveryService, only: RUNTIME },
  { service: ExtensionConfigDiscoveryService, only: TYPE_URLS.extensionConfig },
];

/** The streams of the discovery services, by path. Their unary Fetch methods (REST xDS) are not served. */
export function discoveryMethods(accept: AcceptCall): Map<string, (call: GrpcCall) => void> {
  const methods = new Map<string, (call: GrpcCall) => void>();
  for (const { service, only } of SERVICES) {
    for (const { name, methodKind } of service.methods) {
      if (methodKind !== "bidi_streaming") continue;
      const protocol = name.startsWith("Delta") ? "delta" : "sotw";
      methods.set(`/${service.typeName}/${name}`, (call) => accept(call, protocol, only));
    }
  }
  return methods;
}
