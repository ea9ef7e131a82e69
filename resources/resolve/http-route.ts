import { attachRoute } from "../attach.ts";
import type { Authored } from "../authored.ts";
import type { HTTPRoute, HTTPRouteRule, RouteRetry, RouteTimeouts } from "../inventory.ts";
import type { Specs } from "../kinds.ts";
import type { Path } from "../yaml-document.ts";
import { type Linking, metaOf } from "./linking.ts";
import { resolveBackends } from "./route-backends.ts";
import { resolveFilters } from "./route-filters.ts";
import { resolveMatch } from "./route-matches.ts";

type Rule = Specs["HTTPRoute"]["rules"][number];

/** Over all rules of a route. @see https://gateway-api.sigs.k8s.io/reference/spec/#httproutespec */
const MOST_MATCHES = 128;

export function resolveHttpRoute(object: Authored<"HTTPRoute">, linking: Linking): HTTPRoute {
  const { problems } = linking;
  const { hostnames, rules } = object.spec;
  const names = new Set<string>();
  for (const [index, { name }] of rules.entries()) {
    if (name === undefined) continue;
    if (names.has(name))
      problems.error(object, ["spec", "rules", index, "name"], "conflict", `two rules are named "${name}"`);
    names.add(name);
  }
  if (rules.reduce((sum, rule) => sum + rule.matches.length, 0) > MOST_MATCHES) {
    problems.errorAtKey(
      object,
      ["spec", "rules"],
      "invalid-value",
      `at most ${MOST_MATCHES} matches over all rules`,
      "make it two routes",
    );
  }
  return {
    ...metaOf(object),
    parents: attachRoute(object, linking.references, problems),
    hostnames: [...new Set(hostnames)],
    rules: rules.map((rule, index) => resolveRule(object, rule, ["spec", "rules", index], linking)),
  };
}

function resolveRule(route: Authored<"HTTPRoute">, rule: Rule, at: Path, linking: Linking): HTTPRouteRule {
  const retry = rule.retry === undefined ? undefined : retryOf(rule.retry);
  return {
    ...(rule.name === undefined ? {} : { name: rule.name }),
    matches: rule.matches.map((match, index) => resolveMatch(route, match, [...at, "matches", index], linking)),
    filters: resolveFilters(route, rule, at, linking),
    backends: resolveBackends(route, rule, at, linking),
    timeouts: timeoutsOf(route, rule, at, linking),
    ...(retry === undefined ? {} : { retry }),
  };
}

/** @see https://gateway-api.sigs.k8s.io/reference/spec/#httproutetimeouts */
function timeoutsOf(route: Authored<"HTTPRoute">, rule: Rule, at: Path, { problems }: Linking): RouteTimeouts {
  const { request, backendRequest } = rule.timeouts;
  // 0 switches a limit off.
  if (request !== undefined && request !== 0 && backendRequest !== undefined && backendRequest > request) {
    const place = [...at, "timeouts", "backendRequest"];
    problems.error(route, place, "conflict", "backendRequest must not be longer than request");
  }
  return {
    ...(request === undefined ? {} : { requestMs: request }),
    ...(backendRequest === undefined ? {} : { backendRequestMs: backendRequest }),
  };
}

function retryOf(retry: NonNullable<Rule["retry"]>): RouteRetry {
  const { codes, attempts, backoff } = retry;
  return {
    codes: [...new Set(codes)],
    ...(attempts === undefined ? {} : { attempts }),
    ...(backoff === undefined ? {} : { backoffMs: backoff }),
  };
}
