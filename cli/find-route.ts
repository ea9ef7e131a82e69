import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { RE2JS } from "re2js";
import type { EncodedResource, NodeGroup } from "../compiler/index.ts";
import { FILTERS, TYPE_URLS } from "../envoy/index.ts";
import type {
  HeaderMatcher,
  QueryParameterMatcher,
  RouteMatch,
  VirtualHost,
} from "../protos/gen/envoy/config/route/v3/route_components_pb.ts";
import { type RouteConfiguration, RouteConfigurationSchema } from "../protos/gen/envoy/config/route/v3/route_pb.ts";
import {
  type ExtAuthzPerRoute,
  ExtAuthzPerRouteSchema,
} from "../protos/gen/envoy/extensions/filters/http/ext_authz/v3/ext_authz_pb.ts";
import type { StringMatcher } from "../protos/gen/envoy/type/matcher/v3/string_pb.ts";

/** A request, as far as route matches look at it. */
export interface RoutedRequest {
  readonly host: string;
  readonly method: string;
  /** Without query. */
  readonly path: string;
  readonly query: string;
  /** Lower-case name → values. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
}

/** The route that asks for a decision, and what it sends along. */
export interface FoundRoute {
  readonly nodeGroup: string;
  readonly routeTable: string;
  readonly contextExtensions: Readonly<Record<string, string>>;
}

const READ = new WeakMap<EncodedResource, RouteConfiguration>();

/** Read once for each resource: a check asks for thousands of routes. */
function configurationIn(resource: EncodedResource): RouteConfiguration {
  let configuration = READ.get(resource);
  if (configuration === undefined) {
    configuration = fromBinary(RouteConfigurationSchema, resource.value);
    READ.set(resource, configuration);
  }
  return configuration;
}

/**
 * The first route of a table that matches a request before it is decided, as Envoy finds it: in the very resources that
 * Envoys get, so that an explanation and the traffic cannot disagree.
 *
 * @param routeTable  name of the RouteConfiguration: "<gateway>/<port>", with TLS "<gateway>/<port>/<listener>"
 * @returns undefined where Envoy answers 404 without asking anybody
 */
export function findRoute(group: NodeGroup, routeTable: string, request: RoutedRequest): FoundRoute | undefined {
  const resource = group.resources.find(({ typeUrl, name }) => typeUrl === TYPE_URLS.route && name === routeTable);
  if (resource === undefined) return undefined;
  const configuration = configurationIn(resource);
  const host = findVirtualHost(configuration.virtualHosts, request.host);
  const route = host?.routes.find(({ match }) => match !== undefined && matches(match, request));
  if (host === undefined || route === undefined) return undefined;
  const contextExtensions = {
    ...contextOf(host.typedPerFilterConfig[FILTERS.extAuthz]),
    ...contextOf(route.typedPerFilterConfig[FILTERS.extAuthz]),
  };
  return { nodeGroup: group.name, routeTable, contextExtensions };
}

/** Exact names first, then the longest wildcard, then "*". */
function findVirtualHost(hosts: readonly VirtualHost[], name: string): VirtualHost | undefined {
  const rank = (domain: string): number => {
    if (domain === name) return Number.MAX_SAFE_INTEGER;
    if (domain === "*") return 0;
    const fits = domain.startsWith("*.") && name.endsWith(domain.slice(1)) && name.length >= domain.length;
    return fits ? domain.length : -1;
  };
  let best: VirtualHost | undefined;
  let bestRank = -1;
  for (const host of hosts) {
    const own = Math.max(...host.domains.map(rank));
    if (own > bestRank) [best, bestRank] = [host, own];
  }
  return best;
}

function matches(match: RouteMatch, request: RoutedRequest): boolean {
  return (
    // A route that is for decided requests cannot be the first.
    match.dynamicMetadata.length === 0 &&
    matchesPath(match.pathSpecifier, request.path) &&
    match.headers.every((matcher) => matchesHeader(matcher, request)) &&
    match.queryParameters.every((matcher) => matchesQuery(matcher, request.query))
  );
}

function matchesPath(specifier: RouteMatch["pathSpecifier"], path: string): boolean {
  switch (specifier.case) {
    case "prefix":
      return path.startsWith(specifier.value);
    case "path":
      return path === specifier.value;
    case "pathSeparatedPrefix":
      return path === specifier.value || path.startsWith(`${specifier.value}/`);
    case "safeRegex":
      return RE2JS.matches(specifier.value.regex, path);
    default:
      return false;
  }
}

function matchesHeader(matcher: HeaderMatcher, request: RoutedRequest): boolean {
  const value = matcher.name === ":method" ? request.method : request.headers.get(matcher.name)?.join(",");
  const specifier = matcher.headerMatchSpecifier;
  if (specifier.case === "presentMatch") return (value !== undefined) === specifier.value;
  if (specifier.case !== "stringMatch" || value === undefined) return false;
  return matchesString(specifier.value, value);
}

function matchesQuery(matcher: QueryParameterMatcher, query: string): boolean {
  const value = new URLSearchParams(query).get(matcher.name);
  const specifier = matcher.queryParameterMatchSpecifier;
  if (specifier.case === "presentMatch") return (value !== null) === specifier.value;
  if (specifier.case !== "stringMatch" || value === null) return false;
  return matchesString(specifier.value, value);
}

function matchesString(matcher: StringMatcher, value: string): boolean {
  const pattern = matcher.matchPattern;
  if (pattern.case === "exact") return pattern.value === value;
  return pattern.case === "safeRegex" && RE2JS.matches(pattern.value.regex, value);
}

type PackedSettings = Parameters<typeof anyUnpack>[0];

function contextOf(settings: PackedSettings | undefined): Readonly<Record<string, string>> {
  if (settings === undefined) return {};
  const unpacked: ExtAuthzPerRoute | undefined = anyUnpack(settings, ExtAuthzPerRouteSchema);
  return unpacked?.override.case === "checkSettings" ? unpacked.override.value.contextExtensions : {};
}
