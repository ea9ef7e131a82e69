import { type DescService, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import type { MethodDefinition } from "@grpc/grpc-js";

/** The methods of a generated service as grpc-js takes them (`addService`, `makeClientConstructor`), by local name. */
export type GrpcMethods<Service extends DescService> = {
  readonly [Name in keyof Service["method"]]: MethodDefinition<
    MessageShape<Service["method"][Name]["input"]>,
    MessageShape<Service["method"][Name]["output"]>
  >;
};

/**
 * Makes a grpc-js service definition out of a generated service descriptor. Works for a server and for a client.
 *
 * @param service  e.g. `AggregatedDiscoveryService` of `ads_pb.ts`
 * @returns methods keyed by their local name (`streamAggregatedResources`), with `/package.Service/Method` as path
 */
export function serviceDefinition<Service extends DescService>(service: Service): GrpcMethods<Service> {
  const methods: Record<string, MethodDefinition<unknown, unknown>> = {};
  for (const method of service.methods) {
    methods[method.localName] = {
      path: `/${service.typeName}/${method.name}`,
      requestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
      responseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
      requestSerialize: (message) => buffer(toBinary(method.input, message as MessageShape<typeof method.input>)),
      requestDeserialize: (bytes) => fromBinary(method.input, bytes),
      responseSerialize: (message) => buffer(toBinary(method.output, message as MessageShape<typeof method.output>)),
      responseDeserialize: (bytes) => fromBinary(method.output, bytes),
    };
  }
  return methods as GrpcMethods<Service>;
}

/** The same bytes as a Buffer, which is what grpc-js writes. */
function buffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
