import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { HeaderValueOption_HeaderAppendAction } from "../protos/gen/envoy/config/core/v3/base_pb.ts";
import {
  type ClusterSpecifierPluginSchema,
  HeaderMatcherSchema,
  RedirectAction_RedirectResponseCode,
  RedirectActionSchema,
  type Route,
  RouteActionSchema,
  type RouteMatch,
  RouteMatchSchema,
  RouteSchema,
  WeightedClusterSchema,
} from "../protos/gen/envoy/config/route/v3/route_components_pb.ts";
import { PreviousHostsPredicateSchema } from "../protos/gen/envoy/extensions/retry/host/previous_hosts/v3/previous_hosts_pb.ts";
import { PriorityGroupClusterSpecifierSchema } from "../protos/gen/envoy/extensions/router/cluster_specifiers/priority_group/v3/priority_group_pb.ts";
import type { MetadataMatcher } from "../protos/gen/envoy/type/matcher/v3/metadata_pb.ts";
import { decisionFor } from "./ext-authz.ts";
import { decisionSays } from "./floors.ts";
import { mirrorPolicy, type RouteMirror } from "./mirror.ts";
import { BLACKHOLE_CLUSTER, DECISION_NAMESPACE, FILTERS } from "./names.ts";
import { configured, extension, pack } from "./registry.ts";
import { duration } from "./values.ts";

/** One match of one rule, in neutral words; becomes the routes that carry it. */
export interface GovernedRoute {
  /** As in context extensions and in the decision. */
  readonly id: string;
  readonly match: {
    readonly path: { readonly type: "Exact" | "PathPrefix" | "RegularExpression"; readonly value: string };
    readonly method?: string;
    readonly headers: readonly ValueMatch[];
    readonly queryParams: readonly ValueMatch[];
  };
  readonly action: RouteAction;
  readonly headers: HeaderChanges;
  /** Clusters that get a copy of the request where the decision's `mirror` names them. */
  readonly mirrors?: readonly RouteMirror[];
}

export interface ValueMatch {
  readonly type: "Exact" | "RegularExpression";
  readonly name: string;
  readonly value: string;
}

export interface HeaderChanges {
  readonly requestSet: readonly { readonly name: string; readonly value: string }[];
  readonly requestAdd: readonly { readonly name: string; readonly value: string }[];
  readonly requestRemove: readonly string[];
  readonly responseSet: readonly { readonly name: string; readonly value: string }[];
  readonly responseAdd: readonly { readonly name: string; readonly value: string }[];
  readonly responseRemove: readonly string[];
}

export type PathRewrite =
  | { readonly type: "ReplaceFullPath"; readonly value: string }
  | { readonly type: "ReplacePrefixMatch"; readonly value: string };

export type RouteAction =
  | {
      readonly type: "plain";
      /** Name of the cluster specifier plugin with the pools. */
      readonly pools: string;
      readonly attempts: number;
      /** Statuses that are tried again, besides refused connections. */
      readonly retryCodes: readonly number[];
      readonly backoffMs?: number;
      /** 0: no bound. */
      readonly timeoutMs: number;
      readonly perTryTimeoutMs?: number;
      readonly hostname?: string;
      readonly path?: PathRewrite;
      /** Host header from the endpoint that is picked. */
      readonly hostFromEndpoint: boolean;
    }
  | {
      readonly type: "model";
      readonly pools: string;
      readonly attempts: number;
      /** The decision says which one holds: its `mode` is "stream" or "whole" with the budget's name behind it. */
      readonly budgets: readonly AnswerBudget[];
      readonly maxBodyBytes: number;
      /** Whether the decision needs the body. */
      readonly body: boolean;
      readonly path?: PathRewrite;
    }
  | {
      readonly type: "redirect";
      readonly scheme?: "http" | "https";
      readonly hostname?: string;
      readonly port?: number;
      readonly path?: PathRewrite;
      readonly statusCode: 301 | 302 | 303 | 307 | 308;
    }
  /** Answered by the decision service; there is nothing behind it. */
  | { readonly type: "answered" };

/** How long an answer may take; times in milliseconds. */
export interface AnswerBudget {
  /** "" or "-<number>": what follows "stream" or "whole" in the decision's `mode`. */
  readonly name: string;
  /** Streamed answers: one attempt until the response headers. */
  readonly firstByteMs: number;
  /** Whole answers: all attempts. */
  readonly wholeAnswerMs: number;
  /** Longest life of a streamed answer; 0: no bound. */
  readonly maxStreamMs: number;
}

/** Statuses of a model server on which the next hop answers: overload and failure, never a verdict on the request. */
const MODEL_RETRY_CODES = [429, 500, 502, 503, 504, 529];

/** What a decision may name, and the clusters behind it. */
export interface PoolGroup {
  readonly name: string;
  readonly clusters: readonly { readonly name: string; readonly weight: number }[];
}

/**
 * The Envoy routes of one match, in order: decided ones first, then the one that asks for the decision.
 *
 * @param firstOf  for Envoys that cannot go from pool to pool: a decided route for each of these groups, taken where the
 *   decision's `first` names it. Where it names another one, no decided route matches
 */
export function envoyRoutes(route: GovernedRoute, firstOf?: readonly PoolGroup[]): Route[] {
  const undecided = undecidedRoutes(route);
  switch (route.action.type) {
    case "answered":
      return undecided;
    case "redirect":
      return [
        create(RouteSchema, {
          ...decided(route, []),
          action: { case: "redirect", value: create(RedirectActionSchema, redirect(route.action, route.match.path)) },
        }),
        ...undecided,
      ];
    case "plain": {
      const { action } = route;
      return [...answering(route, [], firstOf, (to) => plainAction(action, route.match.path, to)), ...undecided];
    }
    case "model": {
      const { action } = route;
      const answers = action.budgets.flatMap((budget) =>
        ([true, false] as const).flatMap((stream) =>
          answering(route, [decisionSays("mode", `${stream ? "stream" : "whole"}${budget.name}`)], firstOf, (to) =>
            modelAction(action, budget, route.match.path, stream, to),
          ),
        ),
      );
      return [...answers, ...undecided];
    }
  }
}

/** A route for each mirror that a decision may name, then the one for decisions without a mirror; so for each group. */
function answering(
  route: GovernedRoute,
  says: readonly MetadataMatcher[],
  firstOf: readonly PoolGroup[] | undefined,
  action: (to: PoolGroup | undefined) => ActionInit,
): Route[] {
  const variant = (also: readonly MetadataMatcher[], to: PoolGroup | undefined, mirror?: RouteMirror): Route => {
    const value = create(RouteActionSchema, action(to));
    if (mirror !== undefined) value.requestMirrorPolicies.push(mirrorPolicy(mirror));
    return create(RouteSchema, { ...decided(route, [...says, ...also]), action: { case: "route", value } });
  };
  const ways = firstOf === undefined ? [undefined] : firstOf;
  return ways.flatMap((to) => {
    const named = to === undefined ? [] : [decisionSays("first", to.name)];
    const mirrored = (route.mirrors ?? []).map((mirror) =>
      variant([...named, decisionSays("mirror", mirror.cluster)], to, mirror),
    );
    return [...mirrored, variant(named, to)];
  });
}

function decided(route: GovernedRoute, also: readonly MetadataMatcher[]) {
  const changes = route.headers;
  return {
    name: route.id,
    match: create(RouteMatchSchema, {
      ...match(route),
      dynamicMetadata: [decisionSays("decision", "allow"), decisionSays("route", route.id), ...also],
    }),
    // Room for the whole body: retries and the splice of a larger one would be abandoned.
    ...(route.action.type === "model" ? { requestBodyBufferLimit: BigInt(route.action.maxBodyBytes + 65_536) } : {}),
    requestHeadersToAdd: [...headerValues(changes.requestSet, "set"), ...headerValues(changes.requestAdd, "add")],
    requestHeadersToRemove: [...changes.requestRemove],
    responseHeadersToAdd: [...headerValues(changes.responseSet, "set"), ...headerValues(changes.responseAdd, "add")],
    responseHeadersToRemove: [...changes.responseRemove],
  };
}

function headerValues(values: readonly { name: string; value: string }[], how: "set" | "add") {
  return values.map(({ name, value }) => ({
    // "%" starts a command operator in Envoy; what people write is literal.
    header: { key: name, value: value.replaceAll("%", "%%") },
    appendAction:
      how === "set"
        ? HeaderValueOption_HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD
        : HeaderValueOption_HeaderAppendAction.APPEND_IF_EXISTS_OR_ADD,
    keepEmptyValue: true,
  }));
}

const FORBIDDEN = JSON.stringify({
  error: {
    message: "No decision lets this request through.",
    type: "gateway_error",
    param: null,
    code: "no_decision",
  },
});

function undecidedRoutes(route: GovernedRoute): Route[] {
  const wantsBody = route.action.type === "model" && route.action.body ? route.action.maxBodyBytes : undefined;
  const refusal = { case: "directResponse" as const, value: { status: 403, body: inline(FORBIDDEN) } };
  const plain = create(RouteSchema, {
    name: `${route.id}/undecided`,
    match: match(route),
    action: refusal,
    typedPerFilterConfig: { [FILTERS.extAuthz]: decisionFor(route.id, wantsBody) },
  });
  if (wantsBody === undefined) return [plain];
  // An upgrade never ends its request, so a body is never whole: decided without one, which the scanner refuses.
  const upgrade = create(RouteSchema, {
    name: `${route.id}/upgrade`,
    match: create(RouteMatchSchema, { ...match(route), headers: [...match(route).headers, UPGRADES] }),
    action: refusal,
    typedPerFilterConfig: { [FILTERS.extAuthz]: decisionFor(route.id, undefined) },
  });
  return [upgrade, plain];
}

const UPGRADES = create(HeaderMatcherSchema, {
  name: "upgrade",
  headerMatchSpecifier: { case: "presentMatch", value: true },
});

function inline(text: string) {
  return { specifier: { case: "inlineString" as const, value: text } };
}

function match(route: GovernedRoute): RouteMatch {
  const { path, method, headers, queryParams } = route.match;
  const string = (value: ValueMatch) =>
    value.type === "Exact"
      ? { matchPattern: { case: "exact" as const, value: value.value } }
      : { matchPattern: { case: "safeRegex" as const, value: { regex: value.value } } };
  return create(RouteMatchSchema, {
    pathSpecifier: pathSpecifier(path),
    headers: [
      ...(method === undefined ? [] : [{ type: "Exact" as const, name: ":method", value: method }]),
      ...headers,
    ].map((value) => ({
      name: value.name.toLowerCase(),
      headerMatchSpecifier: { case: "stringMatch" as const, value: string(value) },
    })),
    queryParameters: queryParams.map((value) => ({
      name: value.name,
      queryParameterMatchSpecifier: { case: "stringMatch" as const, value: string(value) },
    })),
  });
}

function pathSpecifier(
  path: GovernedRoute["match"]["path"],
): NonNullable<MessageInitShape<typeof RouteMatchSchema>["pathSpecifier"]> {
  switch (path.type) {
    case "Exact":
      return { case: "path", value: path.value };
    case "RegularExpression":
      return { case: "safeRegex", value: { regex: path.value } };
    case "PathPrefix": {
      const prefix = path.value.replace(/\/+$/, "");
      return prefix === "" ? { case: "prefix", value: "/" } : { case: "pathSeparatedPrefix", value: prefix };
    }
  }
}

type ActionInit = MessageInitShape<typeof RouteActionSchema>;

function plainAction(
  action: Extract<RouteAction, { type: "plain" }>,
  path: GovernedRoute["match"]["path"],
  to: PoolGroup | undefined,
): ActionInit {
  const codes = action.retryCodes;
  return {
    clusterSpecifier: clusters(action.pools, to),
    timeout: duration(action.timeoutMs),
    ...hostRewrite(action.hostname, action.hostFromEndpoint),
    ...pathRewrite(action.path, path),
    retryPolicy: retries(
      codes.length === 0 ? "connect-failure,refused-stream" : "connect-failure,refused-stream,retriable-status-codes",
      codes,
      { attempts: action.attempts, elsewhere: to === undefined },
      action.perTryTimeoutMs,
      action.backoffMs,
    ),
  };
}

function modelAction(
  action: Extract<RouteAction, { type: "model" }>,
  budget: AnswerBudget,
  path: GovernedRoute["match"]["path"],
  stream: boolean,
  to: PoolGroup | undefined,
): ActionInit {
  return {
    clusterSpecifier: clusters(action.pools, to),
    // A stream is bounded by its first byte and its whole life; a whole answer by its time over all attempts, and a slow
    // one is not asked for again, which would bill it twice.
    timeout: duration(stream ? 0 : budget.wholeAnswerMs),
    ...(stream ? {} : { idleTimeout: duration(0) }),
    ...(stream && budget.maxStreamMs > 0
      ? { maxStreamDuration: { maxStreamDuration: duration(budget.maxStreamMs) } }
      : {}),
    ...hostRewrite(undefined, true),
    ...pathRewrite(action.path, path),
    upgradeConfigs: [{ upgradeType: "websocket", enabled: false }],
    retryPolicy: retries(
      "connect-failure,refused-stream,reset,retriable-status-codes",
      MODEL_RETRY_CODES,
      { attempts: action.attempts, elsewhere: to === undefined },
      stream ? budget.firstByteMs : undefined,
      undefined,
    ),
  };
}

/** @param pools  the name of the plugin with all groups, of which each attempt takes its own; where no one is named */
function clusters(pools: string, to: PoolGroup | undefined): NonNullable<ActionInit["clusterSpecifier"]> {
  if (to === undefined) return { case: "clusterSpecifierPlugin", value: pools };
  const [only, another] = to.clusters;
  if (only !== undefined && another === undefined) return { case: "cluster", value: only.name };
  return { case: "weightedClusters", value: create(WeightedClusterSchema, { clusters: [...to.clusters] }) };
}

/** @param elsewhere  whether each attempt may go to another cluster */
function retries(
  retryOn: string,
  codes: readonly number[],
  { attempts, elsewhere }: { readonly attempts: number; readonly elsewhere: boolean },
  perTryTimeoutMs: number | undefined,
  backoffMs: number | undefined,
): NonNullable<ActionInit["retryPolicy"]> {
  return {
    retryOn,
    retriableStatusCodes: [...codes],
    numRetries: attempts - 1,
    ...(perTryTimeoutMs === undefined || perTryTimeoutMs === 0 ? {} : { perTryTimeout: duration(perTryTimeoutMs) }),
    ...(elsewhere ? { refreshClusterOnRetry: true } : {}),
    retryBackOff: { baseInterval: duration(backoffMs ?? 5), maxInterval: duration((backoffMs ?? 5) * 10) },
    retryHostPredicate: [
      configured("envoy.retry_host_predicates.previous_hosts", pack(PreviousHostsPredicateSchema, {})),
    ],
    hostSelectionRetryMaxAttempts: 3n,
  };
}

function hostRewrite(hostname: string | undefined, fromEndpoint: boolean): Pick<ActionInit, "hostRewriteSpecifier"> {
  if (hostname !== undefined) return { hostRewriteSpecifier: { case: "hostRewriteLiteral", value: hostname } };
  return fromEndpoint ? { hostRewriteSpecifier: { case: "autoHostRewrite", value: { value: true } } } : {};
}

function pathRewrite(
  rewrite: PathRewrite | undefined,
  path: GovernedRoute["match"]["path"],
): Pick<ActionInit, "regexRewrite"> {
  if (rewrite === undefined) return {};
  const substitution = rewrite.value.replaceAll("\\", "\\\\");
  if (rewrite.type === "ReplaceFullPath") {
    return { regexRewrite: { pattern: { regex: "^[^?]*" }, substitution } };
  }
  // The slash behind a replaced prefix is taken along, so that "/" for "/shop" makes "/x" of "/shop/x", never "//x".
  const prefix = path.value.replace(/\/+$/, "");
  const target = substitution.replace(/\/+$/, "");
  return target === ""
    ? { regexRewrite: { pattern: { regex: `^${escapeRegex(prefix)}/*` }, substitution: "/" } }
    : { regexRewrite: { pattern: { regex: `^${escapeRegex(prefix)}` }, substitution: target } };
}

function escapeRegex(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}

const REDIRECT_CODES = {
  301: RedirectAction_RedirectResponseCode.MOVED_PERMANENTLY,
  302: RedirectAction_RedirectResponseCode.FOUND,
  303: RedirectAction_RedirectResponseCode.SEE_OTHER,
  307: RedirectAction_RedirectResponseCode.TEMPORARY_REDIRECT,
  308: RedirectAction_RedirectResponseCode.PERMANENT_REDIRECT,
} as const;

function redirect(
  action: Extract<RouteAction, { type: "redirect" }>,
  path: GovernedRoute["match"]["path"],
): MessageInitShape<typeof RedirectActionSchema> {
  const rewritten = pathRewrite(action.path, path).regexRewrite;
  return {
    responseCode: REDIRECT_CODES[action.statusCode],
    ...(action.hostname === undefined ? {} : { hostRedirect: action.hostname }),
    ...(action.port === undefined ? {} : { portRedirect: action.port }),
    ...(action.scheme === undefined
      ? {}
      : { schemeRewriteSpecifier: { case: "schemeRedirect" as const, value: action.scheme } }),
    ...(rewritten === undefined ? {} : { pathRewriteSpecifier: { case: "regexRewrite" as const, value: rewritten } }),
  };
}

/**
 * The pools that a decision may name on a route. Envoy takes its own n-th group where the n-th name of a decision is not
 * valid, so one refusing group per attempt comes first.
 */
export function priorityGroups(
  name: string,
  attempts: number,
  groups: readonly PoolGroup[],
): MessageInitShape<typeof ClusterSpecifierPluginSchema> {
  const refusing = Array.from({ length: attempts }, (_, index) => ({
    name: `none${index}`,
    clusters: [{ clusterName: BLACKHOLE_CLUSTER, weight: 1 }],
  }));
  return {
    extension: {
      ...extension("envoy.router.cluster_specifier_plugin.priority_group", PriorityGroupClusterSpecifierSchema, {
        overrideMetadataNamespace: DECISION_NAMESPACE,
        priorityGroups: [
          ...refusing,
          ...groups.map((group) => ({
            name: group.name,
            clusters: group.clusters.map((cluster) => ({ clusterName: cluster.name, weight: cluster.weight })),
          })),
        ],
      }),
      name,
    },
  };
}
