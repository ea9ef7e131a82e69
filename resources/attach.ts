import type { Authored } from "./authored.ts";
import { attachedHostnames } from "./hostnames.ts";
import type { ParentReference } from "./inventory.ts";
import type { Specs } from "./kinds.ts";
import type { ProblemList } from "./problems.ts";
import type { References } from "./references.ts";
import type { Path } from "./yaml-document.ts";

type Listener = Specs["Gateway"]["listeners"][number];
type ParentRef = Specs["HTTPRoute"]["parentRefs"][number];

/**
 * The listeners that a route attaches to: those that its parentRefs name, that admit its kind and scope, and that
 * share a host name with it. A parentRef that attaches to nothing is a problem.
 *
 * @see https://gateway-api.sigs.k8s.io/reference/spec/#allowedroutes
 */
export function attachRoute(
  route: Authored<"HTTPRoute">,
  references: References,
  problems: ProblemList,
): readonly ParentReference[] {
  const attached = new Map<string, ParentReference>();
  for (const [index, ref] of route.spec.parentRefs.entries()) {
    for (const parent of attachTo(route, ref, ["spec", "parentRefs", index], references, problems)) {
      attached.set(`${parent.gateway} ${parent.listener}`, parent);
    }
  }
  return [...attached.values()];
}

function attachTo(
  route: Authored<"HTTPRoute">,
  ref: ParentRef,
  at: Path,
  references: References,
  problems: ProblemList,
): readonly ParentReference[] {
  const key = references.gateway(route, ref, [...at, "name"]);
  const gateway = key === undefined ? undefined : references.object("Gateway", key);
  if (gateway === undefined) return [];
  const listeners = gateway.spec.listeners;
  const named = listeners.filter((listener) => ref.sectionName === undefined || listener.name === ref.sectionName);
  if (named.length === 0) {
    const hint = `listeners: ${listeners.map((listener) => listener.name).join(", ")}`;
    const message = `Gateway "${gateway.key}" has no listener "${ref.sectionName}"`;
    problems.error(route, [...at, "sectionName"], "dangling-reference", message, hint);
    return [];
  }
  const onPort = named.filter((listener) => ref.port === undefined || listener.port === ref.port);
  if (onPort.length === 0) {
    const hint = `ports: ${[...new Set(named.map((listener) => listener.port))].join(", ")}`;
    const message = `Gateway "${gateway.key}" has no such listener on port ${ref.port}`;
    problems.error(route, [...at, "port"], "dangling-reference", message, hint);
    return [];
  }
  const admitting = onPort.filter((listener) => admitsKind(listener) && admitsScope(listener, gateway, route));
  if (admitting.length === 0) {
    const message = `no listener of Gateway "${gateway.key}" admits HTTPRoutes of scope "${route.scope}"`;
    const hint = onPort.some(admitsKind)
      ? `on a listener of ${gateway.source.file}, write allowedRoutes: {namespaces: {from: All}}`
      : `on a listener of ${gateway.source.file}, add kind HTTPRoute to allowedRoutes.kinds`;
    problems.error(route, [...at, "name"], "not-allowed", message, hint);
    return [];
  }
  const parents = admitting
    .map((listener) => ({
      gateway: gateway.key,
      listener: listener.name,
      hostnames: attachedHostnames(route.spec.hostnames, listener.hostname),
    }))
    .filter((parent) => parent.hostnames.length > 0);
  if (parents.length === 0) {
    const known = admitting.map((listener) => listener.hostname ?? "*").join(", ");
    const message = `no host name of this route is one of Gateway "${gateway.key}"`;
    problems.error(route, ["spec", "hostnames"], "not-allowed", message, `host names of its listeners: ${known}`);
  }
  return parents;
}

function admitsKind(listener: Listener): boolean {
  const kinds = listener.allowedRoutes.kinds;
  return kinds === undefined || kinds.length === 0 || kinds.some(({ kind }) => kind === "HTTPRoute");
}

function admitsScope(listener: Listener, gateway: Authored<"Gateway">, route: Authored<"HTTPRoute">): boolean {
  return listener.allowedRoutes.namespaces.from === "All" || gateway.scope === route.scope;
}
