import type { Authored } from "../authored.ts";
import type { HeaderValue, PathRewrite, RouteFilter } from "../inventory.ts";
import type { Specs } from "../kinds.ts";
import type { Path } from "../yaml-document.ts";
import type { Linking } from "./linking.ts";
import { resolveBackend } from "./route-backends.ts";

type Rule = Specs["HTTPRoute"]["rules"][number];
type Filter = Rule["filters"][number];
type Modifier = Extract<Filter, { type: "RequestHeaderModifier" }>["requestHeaderModifier"];
type Rewrite = NonNullable<Extract<Filter, { type: "URLRewrite" }>["urlRewrite"]["path"]>;

export function resolveFilters(
  route: Authored<"HTTPRoute">,
  rule: Rule,
  at: Path,
  linking: Linking,
): readonly RouteFilter[] {
  checkCombination(route, rule, at, linking);
  return rule.filters.flatMap((filter, index) => {
    const resolved = resolveFilter(route, rule, filter, [...at, "filters", index], linking);
    return resolved === undefined ? [] : [resolved];
  });
}

function resolveFilter(
  route: Authored<"HTTPRoute">,
  rule: Rule,
  filter: Filter,
  at: Path,
  linking: Linking,
): RouteFilter | undefined {
  switch (filter.type) {
    case "RequestHeaderModifier":
      checkModifier(route, filter.requestHeaderModifier, [...at, "requestHeaderModifier"], true, linking);
      return { type: filter.type, ...filter.requestHeaderModifier };
    case "ResponseHeaderModifier":
      checkModifier(route, filter.responseHeaderModifier, [...at, "responseHeaderModifier"], false, linking);
      return { type: filter.type, ...filter.responseHeaderModifier };
    case "RequestRedirect": {
      const { path, ...redirect } = filter.requestRedirect;
      checkRewrite(route, rule, path, [...at, "requestRedirect", "path"], linking);
      return { type: filter.type, ...redirect, ...(path === undefined ? {} : { path: rewriteOf(path) }) };
    }
    case "URLRewrite": {
      const { path, hostname } = filter.urlRewrite;
      checkRewrite(route, rule, path, [...at, "urlRewrite", "path"], linking);
      if (path === undefined && hostname === undefined) {
        linking.problems.error(route, [...at, "urlRewrite"], "missing-field", "a URLRewrite needs hostname or path");
      }
      const name = hostname === undefined ? {} : { hostname };
      return { type: filter.type, ...name, ...(path === undefined ? {} : { path: rewriteOf(path) }) };
    }
    case "RequestMirror": {
      const { backendRef, percent, fraction } = filter.requestMirror;
      const place: Path = [...at, "requestMirror", "backendRef"];
      const backend = resolveBackend(route, { ...backendRef, weight: 1 }, place, linking);
      if (backend?.kind === "Model") {
        const hint = "write spec.mirror of a Rollout of the model";
        linking.problems.error(route, [...place, "kind"], "unsupported", "a Model is not a mirror", hint);
      }
      if (backend?.kind !== "Upstream") return undefined;
      const share = fraction === undefined ? (percent ?? 100) : (100 * fraction.numerator) / fraction.denominator;
      return { type: filter.type, upstream: backend.upstream, share };
    }
  }
}

function rewriteOf(path: Rewrite): PathRewrite {
  return path.type === "ReplaceFullPath"
    ? { type: path.type, value: path.replaceFullPath }
    : { type: path.type, value: path.replacePrefixMatch };
}

function checkCombination(route: Authored<"HTTPRoute">, rule: Rule, at: Path, { problems }: Linking): void {
  const seen = new Set<string>();
  for (const [index, { type }] of rule.filters.entries()) {
    const place = [...at, "filters", index, "type"];
    if (seen.has(type))
      problems.error(route, place, "conflict", `two filters of type ${type} in one rule`, "make them one");
    seen.add(type);
  }
  const mirror = rule.filters.findIndex(({ type }) => type === "RequestMirror");
  if (mirror !== -1 && rule.backendRefs.some(({ kind }) => kind === "Model")) {
    const hint = "write spec.mirror of a Rollout of the model";
    const message = "requests for a Model are mirrored to one of its versions";
    problems.error(route, [...at, "filters", mirror, "type"], "conflict", message, hint);
  }
  if (mirror !== -1 && seen.has("RequestRedirect")) {
    const message = "a rule has either RequestRedirect or RequestMirror";
    problems.error(route, [...at, "filters", mirror, "type"], "conflict", message);
  }
  if (!seen.has("RequestRedirect")) return;
  const place = [...at, "filters", rule.filters.findIndex(({ type }) => type === "RequestRedirect"), "type"];
  if (seen.has("URLRewrite"))
    problems.error(route, place, "conflict", "a rule has either RequestRedirect or URLRewrite");
  if (rule.backendRefs.length > 0) {
    problems.error(route, place, "conflict", "a rule with a RequestRedirect has no backendRefs", "make it two rules");
  }
}

/** @see https://gateway-api.sigs.k8s.io/reference/spec/#httppathmodifier */
function checkRewrite(
  route: Authored<"HTTPRoute">,
  rule: Rule,
  path: Rewrite | undefined,
  at: Path,
  { problems }: Linking,
): void {
  if (path === undefined) return;
  const field = path.type === "ReplaceFullPath" ? "replaceFullPath" : "replacePrefixMatch";
  const value = rewriteOf(path).value;
  // An empty prefix is what strips one: "/app" with "" makes "/app/x" into "/x".
  if ((value !== "" || field === "replaceFullPath") && !/^\/[\x21\x22\x24-\x3e\x40-\x7e]*$/.test(value)) {
    const hint = "printable ASCII without ?, # and spaces";
    problems.error(route, [...at, field], "invalid-value", 'must be a path that begins with "/"', hint);
  }
  const only = rule.matches.length === 1 ? rule.matches[0] : undefined;
  if (path.type === "ReplacePrefixMatch" && only?.path.type !== "PathPrefix") {
    const message = "ReplacePrefixMatch needs a rule with exactly one match, of type PathPrefix";
    problems.error(route, [...at, "type"], "conflict", message, "make it a rule of its own");
  }
}

function checkModifier(
  route: Authored<"HTTPRoute">,
  modifier: Modifier,
  at: Path,
  request: boolean,
  { problems }: Linking,
): void {
  const entries: { readonly name: string; readonly place: Path }[] = [];
  const named = (list: readonly HeaderValue[], field: "set" | "add"): void => {
    for (const [index, { name }] of list.entries()) entries.push({ name, place: [...at, field, index, "name"] });
  };
  named(modifier.set, "set");
  named(modifier.add, "add");
  for (const [index, name] of modifier.remove.entries()) entries.push({ name, place: [...at, "remove", index] });
  if (entries.length === 0) {
    problems.error(route, at, "missing-field", "a header modifier needs set, add or remove");
  }
  const seen = new Set<string>();
  for (const { name, place } of entries) {
    const lower = name.toLowerCase();
    if (seen.has(lower))
      problems.error(route, place, "conflict", `header "${name}" stands twice in this filter`, "keep one");
    seen.add(lower);
    if (lower.startsWith("x-chancery-")) {
      problems.error(route, place, "unsupported", "headers that begin with x-chancery- belong to the gateway");
    } else if (lower === "host") {
      const hint = request ? "write a URLRewrite with hostname" : undefined;
      problems.error(route, place, "unsupported", "header host cannot be modified", hint);
    } else if (request && lower.startsWith("x-envoy-")) {
      // Some of these steer retries and timeouts of the router itself.
      problems.error(
        route,
        place,
        "unsupported",
        "headers that begin with x-envoy- steer Envoy and cannot be modified",
      );
    }
  }
}
