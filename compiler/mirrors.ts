import type { RouteMirror } from "../envoy/index.ts";
import type {
  Deployment,
  HTTPRoute,
  HTTPRouteRule,
  Inventory,
  Key,
  Model,
  Problem,
  Upstream,
} from "../resources/index.ts";
import type { Locator } from "./compile.ts";
import { credentialHeaders } from "./pools.ts";
import { modelPoolName, upstreamPoolName } from "./program.ts";
import type { LayoutMirror } from "./revision-parts.ts";

/** What the routes of a rule may send copies of requests to: as Envoy is told, and as decisions are. */
export interface RuleMirrors {
  readonly routes: readonly RouteMirror[];
  readonly layout: readonly LayoutMirror[];
}

export const NO_MIRRORS: RuleMirrors = { routes: [], layout: [] };

/** Finds the mirrors of rules. */
export interface MirrorTable {
  ofModels(models: readonly Key[]): RuleMirrors;
  ofRule(rule: HTTPRouteRule): RuleMirrors;
}

/** All that the mirrors of a tree come from, models aside; empty where it has none. */
export function mirrorSources(inventory: Inventory): readonly unknown[] {
  const { rollouts, httpRoutes, upstreams, deployments } = inventory;
  const mirrored = rollouts.filter(({ mirror }) => mirror !== undefined);
  const isMirrored = ({ rules }: HTTPRoute): boolean =>
    rules.some(({ filters }) => filters.some(({ type }) => type === "RequestMirror"));
  if (mirrored.length === 0 && !httpRoutes.some(isMirrored)) return [];
  return [...mirrored, ...upstreams, ...deployments];
}

export function mirrorTable(inventory: Inventory): MirrorTable {
  const removedHeaders = credentialHeaders(inventory);
  const upstreams = new Map(inventory.upstreams.map((upstream) => [upstream.key, upstream]));
  const routeMirror = (cluster: string, upstream: Upstream): RouteMirror => {
    const hostname = upstream.endpoints.find((endpoint) => endpoint.hostname !== undefined)?.hostname;
    return { cluster, removedHeaders, ...(hostname === undefined ? {} : { hostname }) };
  };
  const ofModel = new Map<Key, RouteMirror[]>();
  const models = new Map(inventory.models.map((model) => [model.key, model]));
  for (const { model, mirror } of inventory.rollouts) {
    const source = models.get(model);
    if (mirror === undefined || source === undefined) continue;
    const mirrors = ofModel.get(model) ?? [];
    for (const deployment of inventory.deployments) {
      const upstream = upstreams.get(deployment.upstream);
      const cluster = modelPoolName(deployment.key);
      if (deployment.version !== mirror.version || upstream === undefined) continue;
      if (mirrors.some((other) => other.cluster === cluster)) continue;
      if (deploymentProblem(deployment, upstream, source) === undefined) mirrors.push(routeMirror(cluster, upstream));
    }
    ofModel.set(model, mirrors);
  }
  return {
    ofModels(keys) {
      const routes = keys.flatMap((key) => ofModel.get(key) ?? []);
      return { routes, layout: routes.map(({ cluster }) => ({ cluster })) };
    },
    ofRule(rule) {
      const filter = rule.filters.find(({ type }) => type === "RequestMirror");
      if (filter?.type !== "RequestMirror") return NO_MIRRORS;
      const upstream = upstreams.get(filter.upstream);
      if (upstream === undefined || upstreamProblem(upstream) !== undefined) return NO_MIRRORS;
      const cluster = upstreamPoolName(upstream.key);
      return { routes: [routeMirror(cluster, upstream)], layout: [{ cluster, share: filter.share }] };
    },
  };
}

const UNFILTERED = "Envoy runs no filters of a cluster on copies of requests";

function upstreamProblem({ key, credential }: Upstream): string | undefined {
  if (credential.mode === "none") return undefined;
  const what = credential.mode === "inject" ? "injects a credential" : "takes the client's credential";
  return `Upstream "${key}" ${what}, and a mirror gets none: ${UNFILTERED}`;
}

/** Why a copy of a request for the model is no request for a deployment. */
function deploymentProblem(deployment: Deployment, upstream: Upstream, model: Model): string | undefined {
  const { key, path, wireName } = deployment;
  if (path !== undefined) return `Deployment "${key}" has a path of its own, which copies do not get: ${UNFILTERED}`;
  if (model.source.type === "body" && !model.names.includes(wireName)) {
    const names = model.names.map((name) => `"${name}"`).join(" or ");
    return `Deployment "${key}" calls the model "${wireName}", and copies name it ${names}: ${UNFILTERED}`;
  }
  return upstreamProblem(upstream);
}

/** Mirrors that could not understand what they would get, or would get what is not for them. */
export function checkMirrors(inventory: Inventory, positions: Locator): Problem[] {
  const upstreams = new Map(inventory.upstreams.map((upstream) => [upstream.key, upstream]));
  const models = new Map(inventory.models.map((model) => [model.key, model]));
  const problem = (
    kind: "Rollout" | "HTTPRoute",
    { key, scope }: { key: Key; scope: string },
    path: Path,
    message: string,
  ): Problem => ({
    severity: "error",
    code: "mirror-conflict",
    message,
    hint: "a mirror needs spec.credential.mode none, no spec.path, and a spec.wireName that is a name of the model",
    scope,
    at: positions.locate(kind, key, path) ?? { file: key, line: 1, column: 1 },
  });
  const ofRollouts = inventory.rollouts.flatMap((rollout) => {
    const { mirror } = rollout;
    const model = models.get(rollout.model);
    if (mirror === undefined || model === undefined) return [];
    const deployments = inventory.deployments.filter(({ version }) => version === mirror.version);
    return deployments.flatMap((deployment) => {
      const upstream = upstreams.get(deployment.upstream);
      const message = upstream === undefined ? undefined : deploymentProblem(deployment, upstream, model);
      return message === undefined ? [] : [problem("Rollout", rollout, ["spec", "mirror"], message)];
    });
  });
  const ofRules = inventory.httpRoutes.flatMap((route) =>
    route.rules.flatMap((rule, index) => {
      const at = rule.filters.findIndex(({ type }) => type === "RequestMirror");
      const filter = rule.filters[at];
      const upstream = filter?.type === "RequestMirror" ? upstreams.get(filter.upstream) : undefined;
      const message = upstream === undefined ? undefined : upstreamProblem(upstream);
      const path = ["spec", "rules", index, "filters", at];
      return message === undefined ? [] : [problem("HTTPRoute", route, path, message)];
    }),
  );
  return [...ofRollouts, ...ofRules];
}

type Path = readonly (string | number)[];
