import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import { ApiVersion } from "../protos/gen/envoy/config/core/v3/config_source_pb.ts";
import type { GrpcServiceSchema } from "../protos/gen/envoy/config/core/v3/grpc_service_pb.ts";
import {
  ExtAuthzPerRouteSchema,
  ExtAuthzSchema,
} from "../protos/gen/envoy/extensions/filters/http/ext_authz/v3/ext_authz_pb.ts";
import { PreviousHostsPredicateSchema } from "../protos/gen/envoy/extensions/retry/host/previous_hosts/v3/previous_hosts_pb.ts";
import { StatusCode } from "../protos/gen/envoy/type/v3/http_status_pb.ts";
import { CREDENTIAL_HEADERS, DECISION_HEADER, EXT_AUTHZ_CLUSTER, JWT_NAMESPACE, type RoutePlan } from "./names.ts";
import { configured, pack } from "./registry.ts";
import { duration } from "./values.ts";

/** The filter that asks for the decision. */
export function extAuthz(plan: RoutePlan): Any {
  return pack(ExtAuthzSchema, {
    transportApiVersion: ApiVersion.V3,
    failureModeAllow: false,
    statusOnError: { code: StatusCode.ServiceUnavailable },
    validateMutations: true,
    encodeRawHeaders: true,
    includePeerCertificate: true,
    includeTlsSession: true,
    metadataContextNamespaces: [JWT_NAMESPACE],
    // Every route says for itself how much body it wants, or none; but as bytes it comes only if the filter says so.
    withRequestBody: { maxRequestBytes: 4_194_304, allowPartialMessage: false, packAsBytes: true },
    clearRouteCache: true,
    // Envoys of the reduced plan do not know the list: with them every header that an answer sets re-picks the route, and
    // the only one that it may set is this.
    clearRouteCacheHeaders: plan === "full" ? [DECISION_HEADER] : [],
    // Anything else from the decision service is answered 500: it can neither choose a host nor a path.
    decoderHeaderMutationRules: {
      disallowAll: true,
      allowExpression: { regex: ["x-chancery-.*", ...CREDENTIAL_HEADERS].join("|") },
      disallowIsError: true,
    },
    services: { case: "grpcService", value: decisionServices(250, 2_000) },
  });
}

/**
 * The call to the decision services. Envoy takes `max_interval` for the time of one try too: long enough for a burst on a
 * busy machine (else every try of the burst is made four times), short enough that a frozen service costs little.
 *
 * @param tryMs  time of one try
 * @param wholeMs  time of all tries
 */
function decisionServices(tryMs: number, wholeMs: number): MessageInitShape<typeof GrpcServiceSchema> {
  return {
    targetSpecifier: { case: "envoyGrpc", value: { clusterName: EXT_AUTHZ_CLUSTER } },
    timeout: duration(wholeMs),
    retryPolicy: {
      retryOn: "connect-failure,refused-stream,reset,unavailable,cancelled",
      numRetries: 3,
      retryBackOff: { baseInterval: duration(5), maxInterval: duration(tryMs) },
      retryHostPredicate: [
        configured("envoy.retry_host_predicates.previous_hosts", pack(PreviousHostsPredicateSchema, {})),
      ],
      hostSelectionRetryMaxAttempts: 3n,
    },
  };
}

/**
 * What one route says about its decision: its id, and how much body goes along.
 *
 * @param bodyBytes  largest body; absent: none is sent
 */
export function decisionFor(route: string, bodyBytes: number | undefined): Any {
  return pack(ExtAuthzPerRouteSchema, {
    override: {
      case: "checkSettings",
      value: {
        contextExtensions: { route },
        ...(bodyBytes === undefined
          ? { disableRequestBodyBuffering: true }
          : {
              withRequestBody: { maxRequestBytes: bodyBytes, allowPartialMessage: false, packAsBytes: true },
              // Envoy gives up the retries of a message over 64 KiB (retry_or_shadow_abandoned), so that with a large
              // body the first try is the only one: it gets longer.
              serviceOverride: { case: "grpcService" as const, value: decisionServices(1_000, 3_000) },
            }),
      },
    },
  });
}
