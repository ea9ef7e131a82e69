import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { HeaderValueOption_HeaderAppendAction } from "../protos/gen/envoy/config/core/v3/base_pb.ts";
import {
  HeaderMatcherSchema,
  RedirectActionSchema,
  type Route,
  RouteActionSchema,
  type RouteMatch,
  RouteMatchSchema,
  RouteSchema,
} from "../protos/gen/envoy/config/route/v3/route_components_pb.ts";
import type { MetadataMatcher } from "../protos/gen/envoy/type/matcher/v3/metadata_pb.ts";
import type { HeaderValue, RouteMatch as Match, ValueMatch } from "../resources/index.ts";
import { decisionFor } from "./ext-authz.ts";
import { decisionSays } from "./floors.ts";
import { mirrorPolicy, type RouteMirror } from "./mirror.ts";
import { FILTERS } from "./names.ts";
import type { PoolGroup } from "./pool-groups.ts";
import { type ActionInit, modelAction, plainAction, type RouteAction, redirectAction } from "./route-action.ts";

/** One match of one rule, in neutral words; becomes the routes that carry it. */
export interface GovernedRoute {
  /** As in context extensions and in the decision. */
  readonly id: string;
  readonly match: Match;
  readonly action: RouteAction;
  readonly headers: HeaderChanges;
  /** Clusters that get a copy of the request where the decision's `mirror` names them. */
  readonly mirrors?: readonly RouteMirror[];
}

export interface HeaderChanges {
  readonly requestSet: readonly HeaderValue[];
  readonly requestAdd: readonly HeaderValue[];
  readonly requestRemove: readonly string[];
  readonly responseSet: readonly HeaderValue[];
  readonly responseAdd: readonly HeaderValue[];
  readonly responseRemove: readonly string[];
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
          action: {
            case: "redirect",
            value: create(RedirectActionSchema, redirectAction(route.action, route.match.path)),
          },
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

function headerValues(values: readonly HeaderValue[], how: "set" | "add") {
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

function pathSpecifier(path: Match["path"]): NonNullable<MessageInitShape<typeof RouteMatchSchema>["pathSpecifier"]> {
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
