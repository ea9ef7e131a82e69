import type { Authored } from "../authored.ts";
import type { Backend, Key } from "../inventory.ts";
import type { Specs } from "../kinds.ts";
import type { Path } from "../yaml-document.ts";
import type { Linking } from "./linking.ts";

type Rule = Specs["HTTPRoute"]["rules"][number];
type BackendRef = Omit<Rule["backendRefs"][number], "filters">;

const REFERRER = { group: "gateway.networking.k8s.io", kind: "HTTPRoute" } as const;

export function resolveBackends(
  route: Authored<"HTTPRoute">,
  rule: Rule,
  at: Path,
  linking: Linking,
): readonly Backend[] {
  const { problems } = linking;
  const place: Path = [...at, "backendRefs"];
  const backends: Backend[] = [];
  const seen = new Set<string>();
  for (const [index, ref] of rule.backendRefs.entries()) {
    const backend = resolveBackend(route, ref, [...place, index], linking);
    if (backend === undefined) continue;
    const key = backend.kind === "Model" ? backend.model : backend.upstream;
    if (seen.has(`${backend.kind} ${key}`)) {
      problems.error(
        route,
        [...place, index, "name"],
        "conflict",
        `${backend.kind} "${key}" stands twice in this rule`,
        "add the weights up",
      );
    } else backends.push(backend);
    seen.add(`${backend.kind} ${key}`);
  }
  const redirects = rule.filters.some(({ type }) => type === "RequestRedirect");
  if (rule.backendRefs.length === 0 && !redirects) {
    const hint = "name an Upstream or a Model, or write a RequestRedirect";
    problems.error(route, place, "missing-field", "a rule needs backendRefs", hint);
  }
  const kinds = new Set(backends.map(({ kind }) => kind));
  if (kinds.size > 1) {
    const hint = "a decision about a model reads the request's body, one about an Upstream does not: make it two rules";
    problems.error(route, place, "conflict", "a rule has either Upstreams or Models", hint);
  }
  if (backends.length > 0 && backends.every(({ weight }) => weight === 0)) {
    problems.error(route, place, "conflict", "every backend of this rule has weight 0", "give one of them a weight");
  }
  checkSources(route, backends, place, linking);
  return backends;
}

export function resolveBackend(
  route: Authored<"HTTPRoute">,
  ref: BackendRef,
  at: Path,
  { references, problems }: Linking,
): Backend | undefined {
  const { group, kind, weight } = ref;
  if (group === "" && kind === "Service") {
    const hint = "write group: chancery.dev, kind: Upstream";
    problems.error(route, at, "unsupported", "kind: Service is not supported", hint);
    return undefined;
  }
  if ((kind !== "Upstream" && kind !== "Model") || group !== "chancery.dev") {
    const ours = kind === "Upstream" || kind === "Model";
    const message = ours ? `kind ${kind} is of group chancery.dev` : "a backend is an Upstream or a Model";
    const hint = `write group: chancery.dev, kind: ${ours ? kind : "Upstream"}`;
    const field = ours ? "group" : "kind";
    problems.error(route, [...at, field], "unsupported", message, hint);
    return undefined;
  }
  if (Object.hasOwn(ref, "port")) {
    const hint = `the ${kind === "Upstream" ? "endpoints of an Upstream" : "Deployments of a Model"} say the port: leave it out`;
    problems.errorAtKey(route, [...at, "port"], "unsupported", `port is not supported for kind ${kind}`, hint);
  }
  const key = references.granted(route, REFERRER, kind, ref, [...at, "name"]);
  if (key === undefined) return undefined;
  return kind === "Model" ? { kind, model: key, weight } : { kind, upstream: key, weight, filters: [] };
}

/** One place in the request says which model is meant, whichever of the rule's models it turns out to be. */
function checkSources(route: Authored<"HTTPRoute">, backends: readonly Backend[], at: Path, linking: Linking): void {
  const sources = new Map<string, Key>();
  for (const backend of backends) {
    const model = backend.kind === "Model" ? linking.references.object("Model", backend.model) : undefined;
    if (model !== undefined) sources.set(JSON.stringify(model.spec.source), model.key);
    if (model?.spec.source.type === "route" && backends.length > 1) {
      const message = `Model "${model.key}" has source type route, which needs a rule for it alone`;
      linking.problems.error(route, at, "conflict", message, "make it two rules");
      return;
    }
  }
  if (sources.size <= 1) return;
  const message = `the Models of a rule must have the same source; ${[...sources.values()].join(" and ")} differ`;
  linking.problems.error(route, at, "conflict", message, "make it two rules");
}
