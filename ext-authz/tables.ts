import { randomInt } from "node:crypto";
import type { Layout, LayoutRoute } from "../compiler/index.ts";
import { WEIGHTED_GROUP } from "../envoy/index.ts";
import type { Allow, ModelFacts, PlainMirror, Policy, Requested, Target } from "../policy/index.ts";
import type { Key } from "../resources/index.ts";
import type { Revision } from "../revision/index.ts";
import { AnswerTemplates } from "./answer-templates.ts";
import { type Chain, chainOf } from "./chain.ts";
import { IdentityCache } from "./identity-cache.ts";
import type { IdentityIndex } from "./identity-index.ts";
import { type ModelReader, modelReader } from "./model-source.ts";
import { indexProgram } from "./program-index.ts";
import type { DecisionRecord } from "./record.ts";
import { RequestMemo } from "./request-memo.ts";
import { RequestReads } from "./request-reads.ts";
import { RouteFinder } from "./route-finder.ts";

/** What the decision service needs of a revision. */
export type ActiveRevision = Pick<Revision, "number" | "digest" | "createdAt" | "signedBy" | "program" | "layouts">;

/** Everything a decision reads, made once per revision: the newest policy, with the route tables of all live layouts. */
export interface DecisionTables {
  readonly revision: {
    readonly number: number;
    readonly digest: string;
    readonly signed: boolean;
    /** Seconds since the epoch. */
    readonly createdAt: number;
  };
  /** The revision as records name it. */
  readonly recorded: DecisionRecord["revision"];
  readonly policy: Policy;
  readonly identities: IdentityIndex;
  /** Callers that were recognised by them. */
  readonly callers: IdentityCache;
  /** Verdicts for requests like those before. */
  readonly requests: RequestMemo;
  readonly observedGateways: ReadonlySet<Key>;
  readonly models: ReadonlyMap<Key, ModelFacts>;
  /** Model → version name → key of the version. */
  readonly versions: ReadonlyMap<Key, ReadonlyMap<string, Key>>;
  /** By layout hash. */
  readonly layouts: ReadonlyMap<string, LayoutTable>;
  /** Routes of all layouts. */
  readonly routes: RouteFinder;
}

export interface RouteTable {
  readonly route: LayoutRoute;
  /** Envoy takes the first group of a chain and no other. */
  readonly reduced: boolean;
  /** Targets that the layout has a group for: those of the newest program, and departed ones for their grace. */
  readonly candidates: readonly Target[];
  /** Plain routes: pools of the route's own backends by weight; others can only be rerouted to. */
  readonly weights: ReadonlyMap<string, number>;
  /** Members of the weighted group. */
  readonly weighted: readonly string[] | undefined;
  /** Pools that the layout has a variant for that copies requests to them. */
  readonly mirrors: ReadonlySet<string>;
  /** Plain routes: what the route's own filter copies requests to. */
  readonly mirror: PlainMirror | undefined;
  /** Name that applications use → model; of two models with one name, the route's first. */
  readonly names: ReadonlyMap<string, Key>;
  /** How a model route is asked for a model; undefined: its source cannot be read by this build. */
  readonly readModel: ModelReader | undefined;
  /** Whether the client's own Authorization is for whatever answers here. */
  readonly passesAuthorization: boolean;
  /** Plain routes: one of the route's own backends, by weight; undefined when there is none. */
  drawBackend(random: () => number): Requested | undefined;
  /** What Envoy may try under a verdict of this route, worked out once. */
  chainOf(verdict: Allow): Chain;
  /** What its verdicts depend on. */
  readonly reads: RequestReads;
  /** Encoded answers by verdict. */
  readonly templates: AnswerTemplates;
  /** Model list: the routes of the layout on which listed models are served. */
  readonly servedBy: readonly RouteTable[];
}

/** @param departed  targets that the program does not have any more and that may still answer */
export function buildTables(
  revision: ActiveRevision,
  layouts: Iterable<Layout>,
  policy: Policy,
  departed: readonly Target[] = [],
): DecisionTables {
  const { program } = revision;
  const { identities, targets, models, versions } = indexProgram(program);
  const others = new Map(departed.map((target) => [target.pool, target]));
  const context: Context = { models, targetOf: (pool) => targets.get(pool) ?? others.get(pool) };
  const layoutTables = new Map([...layouts].map((layout) => [layout.hash, new LayoutTable(layout, context)]));
  const callers = new IdentityCache(randomInt(2 ** 32));
  return {
    revision: {
      number: revision.number,
      digest: revision.digest,
      signed: revision.signedBy.length > 0,
      createdAt: Math.floor(Date.parse(revision.createdAt) / 1000) || 0,
    },
    recorded: { number: revision.number, digest: revision.digest, signed: revision.signedBy.length > 0 },
    policy,
    identities,
    callers,
    requests: new RequestMemo(callers, randomInt(2 ** 32)),
    observedGateways: new Set(program.observedGateways),
    models,
    versions,
    layouts: layoutTables,
    routes: new RouteFinder(layoutTables, randomInt(2 ** 32)),
  };
}

interface Context {
  readonly models: ReadonlyMap<Key, ModelFacts>;
  targetOf(pool: string): Target | undefined;
}

/**
 * The routes of one layout. Each table is made when it is first asked for: a revision with thousands of routes, for which
 * several layouts are kept, comes into force without a pause.
 */
export class LayoutTable {
  readonly #layout: Layout;
  readonly #context: Context;
  readonly #tables = new Map<string, RouteTable>();

  constructor(layout: Layout, context: Context) {
    this.#layout = layout;
    this.#context = context;
  }

  get(id: string): RouteTable | undefined {
    const known = this.#tables.get(id);
    if (known !== undefined) return known;
    const route = routesOf(this.#layout).get(id);
    if (route === undefined) return undefined;
    const servedBy = route.action === "modelList" ? this.#serving(route) : [];
    const table = routeTable(route, this.#layout.plan === "reduced", this.#context, servedBy);
    this.#tables.set(id, table);
    return table;
  }

  /** The routes on which models of a list are served. */
  #serving(list: LayoutRoute): readonly RouteTable[] {
    return this.#layout.routes
      .filter(({ action, gateway }) => action === "model" && gateway === list.gateway)
      .filter(({ models }) => models.some((model) => list.models.includes(model)))
      .flatMap(({ id }) => this.get(id) ?? []);
  }
}

/** A layout never changes, and stays for many revisions. */
const routesById = new WeakMap<Layout, ReadonlyMap<string, LayoutRoute>>();

function routesOf(layout: Layout): ReadonlyMap<string, LayoutRoute> {
  let routes = routesById.get(layout);
  if (routes === undefined) {
    routes = new Map(layout.routes.map((route) => [route.id, route]));
    routesById.set(layout, routes);
  }
  return routes;
}

function routeTable(
  route: LayoutRoute,
  reduced: boolean,
  context: Context,
  servedBy: readonly RouteTable[],
): RouteTable {
  const weighted = route.groups.find((group) => group.name === WEIGHTED_GROUP)?.clusters;
  const singles = route.groups.filter((group) => group.name !== WEIGHTED_GROUP);
  const candidates = singles.flatMap((group) => context.targetOf(group.name) ?? []);
  // Without a weighted group there is one backend, and its group comes first; the rest are there for reroute rules.
  const own = weighted ?? singles.slice(0, 1).map((group) => ({ name: group.name, weight: 1 }));
  const names = new Map<string, Key>();
  for (const key of route.models) {
    for (const name of context.models.get(key)?.names ?? []) if (!names.has(name)) names.set(name, key);
  }
  const weights = new Map(route.action === "plain" ? own.map(({ name, weight }) => [name, weight]) : []);
  const chains = new WeakMap<Allow, Chain>();
  const table: RouteTable = {
    route,
    reduced,
    candidates,
    drawBackend: backendDraw(candidates, weights),
    chainOf(verdict) {
      let chain = chains.get(verdict);
      if (chain === undefined) {
        chain = chainOf(table, verdict);
        chains.set(verdict, chain);
      }
      return chain;
    },
    reads: new RequestReads(route),
    templates: new AnswerTemplates(),
    weights,
    weighted: weighted?.map((cluster) => cluster.name),
    mirrors: new Set(route.mirrors?.map(({ cluster }) => cluster)),
    mirror: plainMirror(route, context),
    names,
    readModel: route.modelSource === undefined ? undefined : modelReader(route.modelSource),
    passesAuthorization:
      route.action === "redirect" ||
      (route.action === "plain" &&
        candidates.length > 0 &&
        candidates.length === singles.length &&
        candidates.every((target) => target.credential === "passThrough")),
    servedBy,
  };
  return table;
}

function plainMirror(route: LayoutRoute, { targetOf }: Context): PlainMirror | undefined {
  for (const { cluster, share } of route.mirrors ?? []) {
    const target = targetOf(cluster);
    if (share !== undefined && target !== undefined) return { by: `HTTPRoute ${route.httpRoute}`, target, share };
  }
  return undefined;
}

/** As `drawWeighted`, with what is the same for every request worked out once. */
function backendDraw(
  candidates: readonly Target[],
  weights: ReadonlyMap<string, number>,
): (random: () => number) => Requested | undefined {
  const backends = candidates
    .map(({ pool, upstream }) => ({ weight: weights.get(pool) ?? 0, requested: { upstream, stream: false } }))
    .filter(({ weight }) => weight > 0);
  const total = backends.reduce((sum, { weight }) => sum + weight, 0);
  const last = backends.at(-1)?.requested;
  return (random) => {
    let rest = random() * total;
    for (const { weight, requested } of backends) {
      rest -= weight;
      if (rest < 0) return requested;
    }
    // Rounding can leave a rest of zero behind the last one.
    return last;
  };
}
