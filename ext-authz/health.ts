import { create } from "@bufbuild/protobuf";
import {
  type handleUnaryCall,
  type ServerWritableStream,
  status,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import {
  type HealthCheckRequest,
  type HealthCheckResponse,
  HealthCheckResponseSchema,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../protos/gen/grpc/health/v1/health_pb.ts";

type Watcher = ServerWritableStream<HealthCheckRequest, HealthCheckResponse>;

/** Watch streams that are open at most; Envoy uses Check, so only people and meshes watch. */
const MAX_WATCHERS = 64;

/**
 * The standard gRPC health service, for the whole server ("") and for each service it names. Envoy takes a decision
 * service that is not SERVING out of its list, so it says so before it stops.
 *
 * @see https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 */
export class HealthService {
  readonly #names: ReadonlySet<string>;
  readonly #watchers = new Set<Watcher>();
  #serving = false;

  constructor(services: readonly string[]) {
    this.#names = new Set(["", ...services]);
  }

  setServing(serving: boolean): void {
    if (serving === this.#serving) return;
    this.#serving = serving;
    for (const watcher of this.#watchers) watcher.write(this.#response(watcher.request.service));
  }

  /** Ends the streams of those who watch. */
  close(): void {
    this.setServing(false);
    for (const watcher of this.#watchers) watcher.end();
    this.#watchers.clear();
  }

  /** For `addService` with the definition of `grpc.health.v1.Health`. */
  implementation(): UntypedServiceImplementation {
    const check: handleUnaryCall<HealthCheckRequest, HealthCheckResponse> = (call, callback) => {
      if (this.#names.has(call.request.service)) callback(null, this.#response(call.request.service));
      else callback({ code: status.NOT_FOUND, details: "no such service" });
    };
    return {
      check,
      watch: (stream: Watcher) => {
        if (this.#watchers.size >= MAX_WATCHERS) {
          stream.destroy(Object.assign(new Error("too many watchers"), { code: status.RESOURCE_EXHAUSTED }));
          return;
        }
        this.#watchers.add(stream);
        stream.on("cancelled", () => this.#watchers.delete(stream));
        stream.write(this.#response(stream.request.service));
      },
    };
  }

  /** A watcher of a name that is not served is told so, and kept (health-checking.md). */
  #response(service: string): HealthCheckResponse {
    const known = this.#serving ? ServingStatus.SERVING : ServingStatus.NOT_SERVING;
    return create(HealthCheckResponseSchema, {
      status: this.#names.has(service) ? known : ServingStatus.SERVICE_UNKNOWN,
    });
  }
}
