import {
  type AnswerBudget,
  type GovernedRoute,
  type HeaderChanges,
  type RouteAction,
  WEIGHTED_GROUP,
} from "../envoy/index.ts";
import type {
  Backend,
  Gateway,
  HTTPRoute,
  HTTPRouteRule,
  Inventory,
  Key,
  Model,
  PathRewrite,
  RouteFilter,
  RouteMatch,
} from "../resources/index.ts";
import { covers, specificity } from "./hostnames.ts";
import type { Made } from "./made.ts";
import { type MirrorTable, mirrorSources, mirrorTable, NO_MIRRORS, type RuleMirrors } from "./mirrors.ts";
import { modelPoolName, upstreamPoolName } from "./program.ts";
import type { LayoutGroup, LayoutRoute } from "./revision-parts.ts";

/** A port of a gateway and, with TLS, one listener of it: what has one route table. */
export interface RouteTable {
  /** Name of the RouteConfiguration. */
  readonly name: string;
  readonly gateway: Key;
  readonly hosts: readonly VirtualHost[];
}

export interface VirtualHost {
  readonly domain: string;
  /** In order of precedence; the first match decides. */
  readonly entries: readonly TableEntry[];
}

/** One match of one rule. */
export interface TableEntry {
  readonly route: GovernedRoute;
  readonly layout: LayoutRoute;
  /** The cluster specifier plugin of the rule; absent where nothing is behind the route. */
  readonly pools?: { readonly name: string; readonly attempts: number; readonly groups: readonly LayoutGroup[] };
}

/** Attempts on a plain route that says nothing about retries: only refused connections are tried again. */
const PLAIN_ATTEMPTS = 3;

/** What the routes of a tree mean beside what stands in them. */
export interface TableContext {
  readonly models: ReadonlyMap<Key, Model>;
  /** Pools of a model's deployments, by model. */
  readonly poolsOfModel: ReadonlyMap<Key, readonly string[]>;
  /** Models that a decision may turn to although the route does not offer them: substitutes and reroute targets. */
  readonly otherModels: readonly Key[];
  readonly otherUpstreams: readonly Key[];
  /** Upstreams with endpoints that have a host name. */
  readonly namedUpstreams: ReadonlySet<Key>;
  readonly mirrors: MirrorTable;
}

/** @param made  contexts of trees before: an equal one is the same object */
export function tableContext(inventory: Inventory, made: Made<TableContext>): TableContext {
  const { models, upstreams, deployments } = inventory;
  const versions = new Map(inventory.modelVersions.map((version) => [version.key, version.model]));
  const poolsOfModel = new Map<Key, string[]>();
  for (const deployment of deployments) {
    const model = versions.get(deployment.version);
    if (model === undefined) continue;
    const pools = poolsOfModel.get(model) ?? [];
    pools.push(modelPoolName(deployment.key));
    poolsOfModel.set(model, pools);
  }
  for (const pools of poolsOfModel.values()) pools.sort();
  const targets = inventory.policies.flatMap((policy) =>
    policy.rules.flatMap((rule) => (rule.to === undefined ? [] : [rule.to])),
  );
  const otherModels = distinct([
    ...inventory.applications.flatMap((application) => application.substitutes),
    ...targets.flatMap((to) => [
      ...(to.model === undefined ? [] : [to.model]),
      ...(to.version === undefined ? [] : [versions.get(to.version)].filter((model) => model !== undefined)),
    ]),
  ]);
  const otherUpstreams = distinct(targets.flatMap((to) => (to.upstream === undefined ? [] : [to.upstream])));
  const named = upstreams.filter(({ endpoints }) => endpoints.some(({ hostname }) => hostname !== undefined));
  const namedUpstreams = named.map(({ key }) => key);
  const from = [
    ...[...models, "", ...[...poolsOfModel].flatMap(([model, pools]) => [model, pools.length, ...pools])],
    ...["", ...otherModels, "", ...otherUpstreams, "", ...namedUpstreams, ""],
    ...mirrorSources(inventory),
  ];
  return made.of("", from, () => ({
    models: new Map(models.map((model) => [model.key, model])),
    poolsOfModel,
    otherModels,
    otherUpstreams,
    namedUpstreams: new Set(namedUpstreams),
    mirrors: mirrorTable(inventory),
  }));
}

function distinct(keys: readonly Key[]): readonly Key[] {
  return [...new Set(keys)].sort();
}

/**
 * The route table of the listeners of `gateway` that share a port (and, with TLS, a filter chain).
 *
 * @param routes  all that attach to the gateway
 */
export function routeTable(
  name: string,
  gateway: Gateway,
  listeners: readonly string[],
  routes: readonly HTTPRoute[],
  context: TableContext,
): RouteTable {
  const mine = gateway.listeners.filter((listener) => listeners.includes(listener.name));
  const attached = routes.flatMap((route) =>
    route.parents
      .filter((parent) => parent.gateway === gateway.key && listeners.includes(parent.listener))
      .flatMap((parent) => parent.hostnames.map((hostname) => ({ route, listener: parent.listener, hostname }))),
  );
  const domains = [...new Set(attached.map((attachment) => attachment.hostname))].sort();
  return {
    name,
    gateway: gateway.key,
    hosts: domains.map((domain) => {
      // A host belongs to the most specific listener that takes it; routes of the others do not apply to it.
      const owners = mine
        .filter((listener) => covers(listener.hostname ?? "*", domain))
        .sort((a, b) => specificity(b.hostname ?? "*") - specificity(a.hostname ?? "*"));
      const best = specificity(owners[0]?.hostname ?? "*");
      const owning = new Set(owners.filter((o) => specificity(o.hostname ?? "*") === best).map((owner) => owner.name));
      const entries = attached
        .filter((attachment) => owning.has(attachment.listener) && covers(attachment.hostname, domain))
        .flatMap(({ route, hostname }) => entriesOf(route, gateway, context).map((entry) => ({ entry, hostname })));
      return { domain, entries: inPrecedence(entries, gateway, domain) };
    }),
  };
}

function entriesOf(route: HTTPRoute, gateway: Gateway, context: TableContext): TableEntry[] {
  return route.rules.flatMap((rule, ruleIndex) => {
    const name = `${route.key}/${ruleIndex}`;
    const { action, groups, models, budgets, mirrors } = ruleAction(name, rule, context);
    const attempts = action.type === "plain" || action.type === "model" ? action.attempts : 1;
    return rule.matches.map((match, matchIndex): TableEntry => {
      const id = `${name}/${matchIndex}`;
      const source = models[0]?.source;
      // With nothing behind it the route still asks: the decision says why nobody answers.
      const behind: RouteAction = groups.length === 0 && action.type !== "redirect" ? { type: "answered" } : action;
      return {
        route: { id, match, action: behind, headers: headerChanges(rule.filters), mirrors: mirrors.routes },
        layout: {
          id,
          gateway: gateway.key,
          httpRoute: route.key,
          scope: route.scope,
          action: action.type === "answered" ? "modelList" : action.type,
          groups,
          attempts,
          models: models.map((model) => model.key),
          ...(Object.keys(budgets).length === 0 ? {} : { budgets }),
          ...(source === undefined ? {} : { modelSource: source }),
          ...(mirrors.layout.length === 0 ? {} : { mirrors: mirrors.layout }),
          body: behind.type === "model" && behind.body,
        },
        ...(groups.length === 0 ? {} : { pools: { name, attempts, groups } }),
      };
    });
  });
}

function ruleAction(
  name: string,
  rule: HTTPRouteRule,
  context: TableContext,
): {
  action: RouteAction;
  groups: LayoutGroup[];
  models: Model[];
  budgets: Readonly<Record<Key, string>>;
  mirrors: RuleMirrors;
} {
  const redirect = rule.filters.find((filter) => filter.type === "RequestRedirect");
  if (redirect !== undefined) {
    const action = { ...redirect, type: "redirect" } as const;
    return { action, groups: [], models: [], budgets: {}, mirrors: NO_MIRRORS };
  }
  const rewrite = rule.filters.find((filter) => filter.type === "URLRewrite");
  const path = rewrite?.path === undefined ? {} : { path: rewrite.path };
  const models = rule.backends.flatMap((backend) => {
    const model = backend.kind === "Model" ? context.models.get(backend.model) : undefined;
    return model === undefined ? [] : [model];
  });
  if (models.length === 0) {
    const action = plainAction(name, rule, rewrite?.hostname, path, context);
    const groups = plainGroups(rule.backends, context);
    return { action, groups, models, budgets: {}, mirrors: context.mirrors.ofRule(rule) };
  }
  const reachable = reachableModels(models, context);
  const { budgets, ofModel } = answerBudgets(reachable);
  return {
    action: modelAction(name, models, budgets, path),
    groups: modelGroups(models, context),
    models,
    budgets: ofModel,
    mirrors: context.mirrors.ofModels(reachable.map((model) => model.key)),
  };
}

function modelAction(
  name: string,
  models: readonly Model[],
  budgets: readonly AnswerBudget[],
  path: { path?: PathRewrite },
): RouteAction {
  return {
    type: "model",
    pools: name,
    attempts: Math.max(...models.map((model) => model.maxAttempts)),
    budgets,
    maxBodyBytes: Math.max(...models.map((model) => model.maxBodyBytes)),
    body: models[0]?.source.type === "body",
    ...path,
  };
}

/** The different answer budgets of the models that a route can reach, and which model has which. */
function answerBudgets(models: readonly Model[]): { budgets: AnswerBudget[]; ofModel: Record<Key, string> } {
  const budgets = new Map<string, AnswerBudget>();
  const ofModel: Record<Key, string> = {};
  for (const { key, firstByteMs, wholeAnswerMs, maxStreamMs } of models) {
    const times = { firstByteMs, wholeAnswerMs, maxStreamMs };
    const same = JSON.stringify(times);
    const budget = budgets.get(same) ?? { name: budgets.size === 0 ? "" : `-${budgets.size}`, ...times };
    budgets.set(same, budget);
    if (budget.name !== "") ofModel[key] = budget.name;
  }
  return { budgets: [...budgets.values()], ofModel };
}

/** The models that a rule offers, then those that a decision may turn to. */
function reachableModels(models: readonly Model[], context: TableContext): Model[] {
  const keys = new Set([...models.map((model) => model.key), ...context.otherModels]);
  return [...keys].flatMap((key) => context.models.get(key) ?? []);
}

function modelGroups(models: readonly Model[], context: TableContext): LayoutGroup[] {
  const pools = reachableModels(models, context).flatMap((model) => context.poolsOfModel.get(model.key) ?? []);
  return [...new Set(pools)].sort().map(single);
}

function single(pool: string): LayoutGroup {
  return { name: pool, clusters: [{ name: pool, weight: 1 }] };
}

function plainAction(
  name: string,
  rule: HTTPRouteRule,
  hostname: string | undefined,
  path: { path?: PathRewrite },
  context: TableContext,
): RouteAction {
  const { requestMs, backendRequestMs } = rule.timeouts;
  return {
    type: "plain",
    pools: name,
    attempts: rule.retry?.attempts === undefined ? PLAIN_ATTEMPTS : rule.retry.attempts + 1,
    retryCodes: rule.retry?.codes ?? [],
    ...(rule.retry?.backoffMs === undefined ? {} : { backoffMs: rule.retry.backoffMs }),
    timeoutMs: requestMs ?? 0,
    ...(backendRequestMs === undefined ? {} : { perTryTimeoutMs: backendRequestMs }),
    ...(hostname === undefined ? {} : { hostname }),
    ...path,
    // A plain service sees the host that the client asked for, unless its endpoints say which name they go by.
    hostFromEndpoint: rule.backends.some(
      (backend) => backend.kind === "Upstream" && context.namedUpstreams.has(backend.upstream),
    ),
  };
}

/** The weighted group, where there is something to weigh, then one group for each backend; weight 0 is left out. */
function plainGroups(backends: readonly Backend[], context: TableContext): LayoutGroup[] {
  const weights = new Map<string, number>();
  for (const backend of backends) {
    if (backend.kind !== "Upstream" || backend.weight === 0) continue;
    const pool = upstreamPoolName(backend.upstream);
    weights.set(pool, (weights.get(pool) ?? 0) + backend.weight);
  }
  const clusters = [...weights].map(([pool, weight]) => ({ name: pool, weight }));
  const others = context.otherUpstreams.map(upstreamPoolName).filter((pool) => !weights.has(pool));
  return [
    ...(clusters.length > 1 ? [{ name: WEIGHTED_GROUP, clusters }] : []),
    ...[...weights.keys(), ...(clusters.length > 0 ? others : [])].map(single),
  ];
}

function headerChanges(filters: readonly RouteFilter[]): HeaderChanges {
  const request = filters.filter((filter) => filter.type === "RequestHeaderModifier");
  const response = filters.filter((filter) => filter.type === "ResponseHeaderModifier");
  return {
    requestSet: request.flatMap((filter) => filter.set),
    requestAdd: request.flatMap((filter) => filter.add),
    requestRemove: request.flatMap((filter) => filter.remove),
    responseSet: response.flatMap((filter) => filter.set),
    responseAdd: response.flatMap((filter) => filter.add),
    responseRemove: response.flatMap((filter) => filter.remove),
  };
}

/** Precedence of HTTPRouteRule (Gateway API): host name, then path, method, headers, query parameters, then name. */
function inPrecedence(
  attached: readonly { entry: TableEntry; hostname: string }[],
  gateway: Gateway,
  domain: string,
): TableEntry[] {
  const sorted = [...attached].sort(
    (a, b) =>
      specificity(b.hostname) - specificity(a.hostname) || compareMatches(a.entry.route.match, b.entry.route.match),
  );
  const entries = [...new Map(sorted.map(({ entry }) => [entry.route.id, entry])).values()];
  const offered = entries.flatMap((entry) => entry.layout.models);
  if (offered.length === 0) return entries;
  const list = modelList(gateway, domain, [...new Set(offered)]);
  const place = entries.findIndex((entry) => compareMatches(list.route.match, entry.route.match) < 0);
  return place === -1 ? [...entries, list] : entries.toSpliced(place, 0, list);
}

const PATH_RANK = { Exact: 2, RegularExpression: 1, PathPrefix: 0 } as const;

/** Negative: `a` comes first. Equal ones keep the order of routes (by key) and of rules. */
function compareMatches(a: RouteMatch, b: RouteMatch): number {
  return (
    PATH_RANK[b.path.type] - PATH_RANK[a.path.type] ||
    b.path.value.length - a.path.value.length ||
    Number(b.method !== undefined) - Number(a.method !== undefined) ||
    b.headers.length - a.headers.length ||
    b.queryParams.length - a.queryParams.length
  );
}

/** `GET /v1/models`: the decision service answers with the models of this host that the caller may use. */
function modelList(gateway: Gateway, domain: string, models: readonly Key[]): TableEntry {
  const id = `${gateway.key}/models/${domain}`;
  return {
    route: {
      id,
      match: { path: { type: "Exact", value: "/v1/models" }, method: "GET", headers: [], queryParams: [] },
      action: { type: "answered" },
      headers: headerChanges([]),
    },
    layout: {
      id,
      gateway: gateway.key,
      httpRoute: "",
      scope: gateway.scope,
      action: "modelList",
      groups: [],
      attempts: 1,
      models,
      body: false,
    },
  };
}
