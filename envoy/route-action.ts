import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  RedirectAction_RedirectResponseCode,
  type RedirectActionSchema,
  type RouteActionSchema,
  WeightedClusterSchema,
} from "../protos/gen/envoy/config/route/v3/route_components_pb.ts";
import { PreviousHostsPredicateSchema } from "../protos/gen/envoy/extensions/retry/host/previous_hosts/v3/previous_hosts_pb.ts";
import type { PathRewrite, RouteMatch } from "../resources/index.ts";
import type { PoolGroup } from "./pool-groups.ts";
import { configured, pack } from "./registry.ts";
import { duration } from "./values.ts";

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

type MatchedPath = RouteMatch["path"];

/** Statuses of a model server on which the next hop answers: overload and failure, never a verdict on the request. */
const MODEL_RETRY_CODES = [429, 500, 502, 503, 504, 529];

export type ActionInit = MessageInitShape<typeof RouteActionSchema>;

export function plainAction(
  action: Extract<RouteAction, { type: "plain" }>,
  path: MatchedPath,
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

export function modelAction(
  action: Extract<RouteAction, { type: "model" }>,
  budget: AnswerBudget,
  path: MatchedPath,
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

function pathRewrite(rewrite: PathRewrite | undefined, path: MatchedPath): Pick<ActionInit, "regexRewrite"> {
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

export function redirectAction(
  action: Extract<RouteAction, { type: "redirect" }>,
  path: MatchedPath,
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
