import { once } from "node:events";
import { create } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { REQUIRED_EXTENSIONS, serviceDefinition, TYPE_URLS } from "../../../envoy/index.ts";
import { AggregatedDiscoveryService } from "../../../protos/gen/envoy/service/discovery/v3/ads_pb.ts";
import {
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
} from "../../../protos/gen/envoy/service/discovery/v3/discovery_pb.ts";

/**
 * A process of its own, `clients.ts PORT GROUP COUNT`: nodes of one group that want all there is, and accept it. A
 * connection each, as Envoys have.
 */
const [port = "", group = "", count = ""] = process.argv.slice(2);
const { deltaAggregatedResources } = serviceDefinition(AggregatedDiscoveryService);
const types = [TYPE_URLS.cluster, TYPE_URLS.endpoint, TYPE_URLS.listener, TYPE_URLS.route];

for (let index = 0; index < Number(count); index++) {
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), {
    "grpc.use_local_subchannel_pool": 1,
    "grpc.max_receive_message_length": -1,
  });
  const call: grpc.ClientDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse> = client.makeBidiStreamRequest(
    deltaAggregatedResources.path,
    deltaAggregatedResources.requestSerialize,
    deltaAggregatedResources.responseDeserialize,
  );
  call.on("data", ({ typeUrl, nonce }: DeltaDiscoveryResponse) =>
    call.write(create(DeltaDiscoveryRequestSchema, { typeUrl, responseNonce: nonce })),
  );
  const node = { id: `node-${index}`, cluster: group, extensions: REQUIRED_EXTENSIONS.map((name) => ({ name })) };
  for (const typeUrl of types) {
    call.write(create(DeltaDiscoveryRequestSchema, { node, typeUrl, resourceNamesSubscribe: ["*"] }));
  }
}
await once(process, "SIGTERM");
process.exit(0);
