import { promisify } from "node:util";
import { create } from "@bufbuild/protobuf";
import {
  type Client,
  credentials,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceError,
  type sendUnaryData,
} from "@grpc/grpc-js";
import { serviceDefinition } from "../../envoy/index.ts";
import {
  Authorization,
  type CheckRequest,
  type CheckResponse,
} from "../../protos/gen/envoy/service/auth/v3/external_auth_pb.ts";
import {
  Health,
  type HealthCheckRequest,
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus,
  HealthCheckResponseSchema,
} from "../../protos/gen/grpc/health/v1/health_pb.ts";

/** Asks a decision service as Envoy does. */
export interface DecisionClient {
  check(request: CheckRequest): Promise<CheckResponse>;
  close(): void;
}

/** @param address  "127.0.0.1:9191" */
export function createDecisionClient(address: string): DecisionClient {
  const methods = serviceDefinition(Authorization);
  const DecisionServiceClient = makeGenericClientConstructor(methods, "Authorization");
  const client: Client = new DecisionServiceClient(address, credentials.createInsecure());
  const { path, requestSerialize, responseDeserialize } = methods.check;
  return {
    check: (request) =>
      new Promise((resolve, reject) => {
        const done = (error: ServiceError | null, response?: CheckResponse): void => {
          if (error !== null || response === undefined) reject(error ?? new Error("no response"));
          else resolve(response);
        };
        client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, done);
      }),
    close: () => client.close(),
  };
}

/** How a Check is answered; a rejection is a gRPC error. */
export type Script = (request: CheckRequest) => CheckResponse | Promise<CheckResponse>;

/** A decision service that says whatever a test wants it to say. */
export interface ScriptedAuthz {
  /** As Envoy reaches it. */
  readonly address: string;
  answerWith(script: Script): void;
  /** Checks received since the last call of `answerWith`. */
  checks(): readonly CheckRequest[];
  close(): Promise<void>;
}

/** It is healthy from the start and refuses every Check with a gRPC error until it has a script. */
export async function startScriptedAuthz(): Promise<ScriptedAuthz> {
  const unscripted: Script = () => Promise.reject(new Error("no script"));
  let script = unscripted;
  let checks: CheckRequest[] = [];
  const server = new Server();
  server.addService(serviceDefinition(Authorization), {
    check: (call: ServerUnaryCall<CheckRequest, CheckResponse>, callback: sendUnaryData<CheckResponse>) => {
      checks.push(call.request);
      Promise.resolve(call.request)
        .then(script)
        .then(
          (response) => callback(null, response),
          (error: unknown) => callback({ code: 13, details: String(error) }),
        );
    },
  });
  server.addService(serviceDefinition(Health), {
    check: (
      _: ServerUnaryCall<HealthCheckRequest, HealthCheckResponse>,
      callback: sendUnaryData<HealthCheckResponse>,
    ) => callback(null, create(HealthCheckResponseSchema, { status: HealthCheckResponse_ServingStatus.SERVING })),
    watch: () => undefined,
  });
  const bind = promisify<string, ServerCredentials, number>(server.bindAsync.bind(server));
  const port = await bind("127.0.0.1:0", ServerCredentials.createInsecure());
  return {
    address: `127.0.0.1:${port}`,
    answerWith: (next) => {
      script = next;
      checks = [];
    },
    checks: () => checks,
    close: async () => server.forceShutdown(),
  };
}
