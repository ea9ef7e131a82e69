import type { DescService } from "@bufbuild/protobuf";
import type { MethodDefinition, ServerDuplexStream, UntypedServiceImplementation } from "@grpc/grpc-js";
import { serviceDefinition, TYPE_URLS } from "../envoy/index.ts";
import { ClusterDiscoveryService } from "../protos/gen/envoy/service/cluster/v3/cds_pb.ts";
import { AggregatedDiscoveryService } from "../protos/gen/envoy/service/discovery/v3/ads_pb.ts";
import { EndpointDiscoveryService } from "../protos/gen/envoy/service/endpoint/v3/eds_pb.ts";
import { ExtensionConfigDiscoveryService } from "../protos/gen/envoy/service/extension/v3/config_discovery_pb.ts";
import { ListenerDiscoveryService } from "../protos/gen/envoy/service/listener/v3/lds_pb.ts";
import { RouteDiscoveryService, VirtualHostDiscoveryService } from "../protos/gen/envoy/service/route/v3/rds_pb.ts";
import { RuntimeDiscoveryService } from "../protos/gen/envoy/service/runtime/v3/rtds_pb.ts";
import { SecretDiscoveryService } from "../protos/gen/envoy/service/secret/v3/sds_pb.ts";
import { RUNTIME, VIRTUAL_HOST } from "./resource-types.ts";
import type { Protocol } from "./session-state.ts";

/** A call whose messages are bytes: how they are read and made depends on what came before in the stream. */
export type XdsCall = ServerDuplexStream<Buffer, Buffer>;

/** @param only  the one type of a separate stream; undefined: any (ADS) */
export type AcceptCall = (call: XdsCall, protocol: Protocol, only: string | undefined) => void;

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

/** The discovery services as grpc-js takes them. Their unary Fetch methods (REST xDS) are left unimplemented. */
export function discoveryServices(accept: AcceptCall) {
  return SERVICES.map(({ service, only }) => {
    const definition: Record<string, MethodDefinition<Buffer, Buffer>> = {};
    const implementation: UntypedServiceImplementation = {};
    for (const [name, method] of Object.entries(serviceDefinition(service))) {
      if (!method.requestStream) continue;
      const delta = name.startsWith("delta");
      definition[name] = {
        ...method,
        requestSerialize: (bytes) => bytes,
        requestDeserialize: (bytes) => bytes,
        responseSerialize: (bytes) => bytes,
        responseDeserialize: (bytes) => bytes,
      };
      implementation[name] = (call: XdsCall) => accept(call, delta ? "delta" : "sotw", only);
    }
    return { definition, implementation };
  });
}
