import { create } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { afterEach, expect, test } from "vitest";
import { Authorization } from "../protos/gen/envoy/service/auth/v3/external_auth_pb.ts";
import { AggregatedDiscoveryService } from "../protos/gen/envoy/service/discovery/v3/ads_pb.ts";
import {
  type DeltaDiscoveryRequest,
  DeltaDiscoveryRequestSchema,
  type DeltaDiscoveryResponse,
  DeltaDiscoveryResponseSchema,
} from "../protos/gen/envoy/service/discovery/v3/discovery_pb.ts";
import { serviceDefinition } from "./grpc-service.ts";

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

test("names paths and kinds of streaming as the proto does", () => {
  const ads = serviceDefinition(AggregatedDiscoveryService);
  expect(ads.deltaAggregatedResources.path).toBe(
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
  );
  expect([ads.deltaAggregatedResources.requestStream, ads.deltaAggregatedResources.responseStream]).toEqual([
    true,
    true,
  ]);
  const { check } = serviceDefinition(Authorization);
  expect([check.path, check.requestStream, check.responseStream]).toEqual([
    "/envoy.service.auth.v3.Authorization/Check",
    false,
    false,
  ]);
});

test("carries messages both ways over a real connection", async () => {
  const definition = serviceDefinition(AggregatedDiscoveryService);
  const server = new grpc.Server();
  closing.push(() => server.forceShutdown());
  server.addService(definition, {
    deltaAggregatedResources(call: grpc.ServerDuplexStream<DeltaDiscoveryRequest, DeltaDiscoveryResponse>) {
      call.on("data", (request: DeltaDiscoveryRequest) => {
        const { typeUrl, resourceNamesSubscribe } = request;
        call.write(create(DeltaDiscoveryResponseSchema, { typeUrl, removedResources: resourceNamesSubscribe }));
      });
      call.on("end", () => call.end());
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  closing.push(() => client.close());
  const { path, requestSerialize, responseDeserialize } = definition.deltaAggregatedResources;
  const stream = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
  const answer = new Promise<DeltaDiscoveryResponse>((resolve, reject) => {
    stream.once("data", resolve);
    stream.once("error", reject);
  });
  stream.write(create(DeltaDiscoveryRequestSchema, { typeUrl: "a type", resourceNamesSubscribe: ["Zürich"] }));
  expect((await answer).removedResources).toEqual(["Zürich"]);
  stream.end();
});
