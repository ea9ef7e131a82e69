import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import { ComparisonFilter_Op } from "../protos/gen/envoy/config/accesslog/v3/accesslog_pb.ts";
import { HttpProtocolOptions_HeadersWithUnderscoresAction } from "../protos/gen/envoy/config/core/v3/protocol_pb.ts";
import { StdoutAccessLogSchema } from "../protos/gen/envoy/extensions/access_loggers/stream/v3/stream_pb.ts";
import { HeaderMutationSchema } from "../protos/gen/envoy/extensions/filters/http/header_mutation/v3/header_mutation_pb.ts";
import { JwtAuthenticationSchema } from "../protos/gen/envoy/extensions/filters/http/jwt_authn/v3/config_pb.ts";
import { RBACSchema } from "../protos/gen/envoy/extensions/filters/http/rbac/v3/rbac_pb.ts";
import { RouterSchema } from "../protos/gen/envoy/extensions/filters/http/router/v3/router_pb.ts";
import {
  type HttpConnectionManager,
  HttpConnectionManager_PathWithEscapedSlashesAction,
  HttpConnectionManagerSchema,
  type ResponseMapperSchema,
} from "../protos/gen/envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import { HeaderMutationSchema as EarlyHeaderMutationSchema } from "../protos/gen/envoy/extensions/http/early_header_mutation/header_mutation/v3/header_mutation_pb.ts";
import type { ValueMatcherSchema } from "../protos/gen/envoy/type/matcher/v3/value_pb.ts";
import { extAuthz } from "./ext-authz.ts";
import { decidedOnly, exactly } from "./floors.ts";
import { DECISION_NAMESPACE, FILTERS, type RoutePlan } from "./names.ts";
import { extension, pack, typeUrl } from "./registry.ts";
import { duration, fromAds } from "./values.ts";

/**
 * Headers that a client must not send: ours, Envoy's own, and those with which some upstreams let a client replace the
 * URL, host or method that was decided on.
 */
const STRIPPED_PREFIXES = ["x-chancery-", "x-envoy-"];
const STRIPPED_HEADERS = [
  "x-forwarded-host",
  "x-original-url",
  "x-original-uri",
  "x-rewrite-url",
  "x-http-method",
  "x-http-method-override",
  "x-method-override",
];

/** The HTTP connection manager of every listener. Only `statPrefix` and the route table's name differ between listeners. */
export function httpConnectionManager(
  statPrefix: string,
  routeConfigName: string,
  plan: RoutePlan,
): HttpConnectionManager {
  return create(HttpConnectionManagerSchema, {
    statPrefix,
    routeSpecifier: { case: "rds", value: { routeConfigName, configSource: fromAds() } },
    useRemoteAddress: true,
    normalizePath: true,
    mergeSlashes: true,
    pathWithEscapedSlashesAction: HttpConnectionManager_PathWithEscapedSlashesAction.REJECT_REQUEST,
    stripTrailingHostDot: true,
    alwaysSetRequestIdInResponse: true,
    commonHttpProtocolOptions: {
      headersWithUnderscoresAction: HttpProtocolOptions_HeadersWithUnderscoresAction.REJECT_REQUEST,
      idleTimeout: duration(3_600_000),
    },
    http2ProtocolOptions: {
      maxConcurrentStreams: 200,
      initialStreamWindowSize: 65_536,
      initialConnectionWindowSize: 1_048_576,
    },
    requestHeadersTimeout: duration(10_000),
    streamIdleTimeout: duration(300_000),
    upgradeConfigs: [{ upgradeType: "websocket" }],
    earlyHeaderMutationExtensions: [
      extension("envoy.http.early_header_mutation.header_mutation", EarlyHeaderMutationSchema, {
        mutations: [
          ...STRIPPED_PREFIXES.map((prefix) => ({
            action: {
              case: "removeOnMatch" as const,
              value: {
                keyMatcher: { matchPattern: { case: "prefix" as const, value: prefix }, ignoreCase: true },
              },
            },
          })),
          ...STRIPPED_HEADERS.map((name) => ({ action: { case: "remove" as const, value: name } })),
        ],
      }),
    ],
    httpFilters: [
      { name: FILTERS.trailers, configType: { case: "typedConfig", value: noRequestTrailers() } },
      // Discovered apart from the listener: a new key or issuer must not change the listener, which drains connections.
      {
        name: FILTERS.jwtAuthn,
        configType: {
          case: "configDiscovery",
          value: { configSource: fromAds(), typeUrls: [typeUrl(JwtAuthenticationSchema)] },
        },
      },
      { name: FILTERS.extAuthz, configType: { case: "typedConfig", value: extAuthz(plan) } },
      { name: FILTERS.rbac, configType: { case: "typedConfig", value: pack(RBACSchema, decidedOnly()) } },
      {
        name: FILTERS.router,
        configType: {
          case: "typedConfig",
          value: pack(RouterSchema, { suppressEnvoyHeaders: true, upstreamLog: [accessLog("attempt")] }),
        },
      },
    ],
    accessLog: [accessLog("request")],
    localReplyConfig: { mappers: localReplies() },
  });
}

/** Request trailers pass the early strip and the decision unseen (they come after both): none is passed on. */
function noRequestTrailers(): Any {
  return pack(HeaderMutationSchema, {
    mutations: {
      requestTrailersMutations: [
        {
          action: {
            case: "removeOnMatch",
            value: { keyMatcher: { matchPattern: { case: "safeRegex", value: { regex: ".*" } } } },
          },
        },
      ],
    },
  });
}

/** JSON lines on Envoy's standard output. Paths are without their query, which may hold what nobody should log. */
function accessLog(kind: "request" | "attempt") {
  const common = {
    log: kind,
    start: "%START_TIME%",
    request_id: "%REQ(X-REQUEST-ID)%",
    route: "%ROUTE_NAME%",
    cluster: "%UPSTREAM_CLUSTER%",
    upstream_host: "%UPSTREAM_HOST%",
    status: "%RESPONSE_CODE%",
    details: "%RESPONSE_CODE_DETAILS%",
    flags: "%RESPONSE_FLAGS%",
    duration_ms: "%DURATION%",
  };
  const request = {
    decision_id: "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:decision_id)%",
    decision: "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:decision)%",
    application: "%DYNAMIC_METADATA(envoy.filters.http.ext_authz:application)%",
    method: "%REQ(:METHOD)%",
    authority: "%REQ(:AUTHORITY)%",
    path: "%PATH(NQ:PATH)%",
    attempts: "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    bytes_in: "%BYTES_RECEIVED%",
    bytes_out: "%BYTES_SENT%",
  };
  return {
    name: "envoy.access_loggers.stdout",
    configType: {
      case: "typedConfig" as const,
      value: pack(StdoutAccessLogSchema, {
        accessLogFormat: {
          case: "logFormat",
          value: {
            format: { case: "jsonFormat", value: kind === "request" ? { ...common, ...request } : common },
          },
        },
      }),
    },
  };
}

type Reply = MessageInitShape<typeof ResponseMapperSchema>;
type LogFilter = NonNullable<Reply["filter"]>;

/**
 * Envoy's own answers in the shape that clients read: JSON as model APIs answer, and for gRPC calls (whose body Envoy makes
 * the grpc-message) plain text. Answers of the decision service come as they are: their metadata has a decision, and it
 * is not "allow".
 */
function localReplies(): Reply[] {
  const ownAnswer = decisionIs("decision", exactly("allow"));
  const reply = (status: number, code: string, message: string, also: LogFilter[] = [], changeTo = status): Reply[] => {
    const shape = (name: string, more: LogFilter[], format: Reply["bodyFormatOverride"]): Reply => ({
      filter: {
        filterSpecifier: {
          case: "andFilter",
          value: { filters: [statusIs(status, `${code}.${name}`), ownAnswer, ...also, ...more] },
        },
      },
      ...(changeTo === status ? {} : { statusCode: changeTo }),
      ...(format === undefined ? {} : { bodyFormatOverride: format }),
    });
    return [
      shape("grpc", [IS_GRPC], {
        format: { case: "textFormatSource", value: { specifier: { case: "inlineString", value: message } } },
      }),
      shape("json", [], {
        contentType: "application/json",
        format: { case: "jsonFormat", value: { error: { message, type: "gateway_error", param: null, code } } },
      }),
    ];
  };
  // Without a matching route the decision service is not asked, and the floor refuses: for the client, nothing is here.
  // (An empty CheckResponse looks the same to these filters; the floor refuses it too.)
  const undecided = decisionIs("decision", { matchPattern: { case: "nullMatch", value: {} } });
  return [
    ...reply(403, "not_found", "No route of this gateway matches the request.", [undecided], 404),
    ...reply(403, "no_decision", "No decision lets this request through."),
    ...reply(404, "not_found", "No route of this gateway matches the request."),
    ...reply(413, "request_too_large", "The request body is larger than this route takes."),
    ...reply(500, "internal", "The gateway could not handle the request."),
    ...reply(503, "unavailable", "No decision or no upstream is available at the moment."),
    ...reply(504, "upstream_timeout", "The upstream did not answer in time."),
  ];
}

const IS_GRPC: LogFilter = {
  filterSpecifier: {
    case: "headerFilter",
    value: {
      header: {
        name: "content-type",
        headerMatchSpecifier: {
          case: "stringMatch",
          value: { matchPattern: { case: "prefix", value: "application/grpc" } },
        },
      },
    },
  },
};

function statusIs(status: number, name: string): LogFilter {
  return {
    filterSpecifier: {
      case: "statusCodeFilter",
      value: {
        comparison: {
          op: ComparisonFilter_Op.EQ,
          value: { defaultValue: status, runtimeKey: `chancery.local_reply.${status}.${name}` },
        },
      },
    },
  };
}

/** True where the decision's metadata has this value under `key`, and where it has none: `invert` has no effect here. */
function decisionIs(key: string, value: MessageInitShape<typeof ValueMatcherSchema>): LogFilter {
  return {
    filterSpecifier: {
      case: "metadataFilter",
      value: {
        matcher: { filter: DECISION_NAMESPACE, path: [{ segment: { case: "key", value: key } }], value },
        matchIfKeyNotFound: true,
      },
    },
  };
}
