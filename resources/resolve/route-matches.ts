import type { Authored } from "../authored.ts";
import type { RouteMatch } from "../inventory.ts";
import type { Specs } from "../kinds.ts";
import { re2Problem } from "../regular-expression.ts";
import type { Path } from "../yaml-document.ts";
import type { Linking } from "./linking.ts";

type Match = Specs["HTTPRoute"]["rules"][number]["matches"][number];

const PATH_CHARACTERS = /^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+$/;
const FORBIDDEN = ["//", "/./", "/../", "%2f", "%2F", "#"];

export function resolveMatch(route: Authored<"HTTPRoute">, match: Match, at: Path, linking: Linking): RouteMatch {
  checkPath(route, match.path, [...at, "path"], linking);
  checkValues(route, match.headers, [...at, "headers"], "header", linking);
  checkValues(route, match.queryParams, [...at, "queryParams"], "query parameter", linking);
  const { path, headers, queryParams, method } = match;
  return { path, ...(method === undefined ? {} : { method }), headers, queryParams };
}

/** @see https://gateway-api.sigs.k8s.io/reference/spec/#httppathmatch */
function checkPath(route: Authored<"HTTPRoute">, path: Match["path"], at: Path, { problems }: Linking): void {
  const place = [...at, "value"];
  const { type, value } = path;
  if (type === "RegularExpression") {
    checkExpression(route, value, place, problems);
    return;
  }
  const error = (message: string, hint?: string): void => problems.error(route, place, "invalid-value", message, hint);
  const forbidden = FORBIDDEN.find((part) => value.includes(part));
  if (!value.startsWith("/")) error('a path begins with "/"');
  else if (forbidden !== undefined)
    error(`a path must not contain "${forbidden}"`, "paths are compared in canonical form");
  else if (value.endsWith("/..") || value.endsWith("/.")) error('a path must not end with "/." or "/.."');
  else if (value.includes("?")) error('a path must not contain "?"', "match the query with queryParams");
  else if (!PATH_CHARACTERS.test(value)) error("a path has characters of RFC 3986 only", "percent-encode the others");
}

function checkValues(
  route: Authored<"HTTPRoute">,
  values: Match["headers"],
  at: Path,
  what: string,
  { problems }: Linking,
): void {
  const seen = new Set<string>();
  for (const [index, { type, name, value }] of values.entries()) {
    // Names of headers are the same in any case, those of query parameters are not.
    const identity = what === "header" ? name.toLowerCase() : name;
    if (seen.has(identity)) {
      const hint = "only the first would count";
      problems.error(route, [...at, index, "name"], "conflict", `${what} "${name}" stands twice in this match`, hint);
    }
    seen.add(identity);
    if (type === "RegularExpression") checkExpression(route, value, [...at, index, "value"], problems);
  }
}

function checkExpression(route: Authored<"HTTPRoute">, pattern: string, at: Path, problems: Linking["problems"]): void {
  const wrong = re2Problem(pattern);
  if (wrong === undefined) return;
  problems.error(
    route,
    at,
    "invalid-value",
    `not a regular expression of RE2: ${wrong}`,
    "RE2 has no look-around and no back-references",
  );
}
