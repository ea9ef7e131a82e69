import * as fc from "fast-check";
import { compile, type Layout } from "../../compiler/index.ts";
import { parseResources } from "../../resources/index.ts";
import { ALLOW_ALL, anonymous, policy, upstream, yaml } from "../support/resources.ts";

/** A tree of plain routes. Names are never used twice, so that a name in a record means one thing. */
export interface SkewTree {
  /** Upstream → index of the server behind it. */
  readonly pools: ReadonlyMap<string, number>;
  /** Path prefix → upstreams, by weight. */
  readonly routes: ReadonlyMap<string, Readonly<Record<string, number>>>;
  /** Path prefixes that are denied. */
  readonly denied: ReadonlySet<string>;
  /** Names given so far. */
  readonly names: number;
}

export const SERVERS = ["s0", "s1", "s2"] as const;
/** The route that is never removed. */
export const CORE_ROUTE = "r-0";
const MAX_POOLS = 8;
const MAX_ROUTES = 8;
const MAX_DENIED = 8;

export const FIRST_TREE: SkewTree = {
  pools: new Map([
    ["pool-0", 0],
    ["pool-1", 1],
  ]),
  routes: new Map([[CORE_ROUTE, { "pool-0": 1, "pool-1": 1 }]]),
  denied: new Set(),
  names: 2,
};

export interface Change {
  readonly kind: "pool" | "route" | "move" | "policy" | "remove route" | "replace pool";
  /** Chooses what is changed. */
  readonly pick: number;
}

export const changeArbitrary: fc.Arbitrary<Change> = fc.record({
  kind: fc.constantFrom("pool", "route", "move", "policy", "remove route", "replace pool"),
  pick: fc.nat(1_000_000),
});

/** Always another tree: a change that is not possible is made as another one. */
export function changed(tree: SkewTree, { kind, pick }: Change): SkewTree {
  const name = tree.names;
  const names = name + 1;
  const [pools, routes, denied] = [new Map(tree.pools), new Map(tree.routes), new Set(tree.denied)];
  const one = at([...pools.keys()], pick);
  const other = at([...pools.keys()], pick >> 3);
  switch (kind) {
    case "pool":
      if (pools.size >= MAX_POOLS) return changed(tree, { kind: "replace pool", pick });
      pools.set(`pool-${name}`, pick % SERVERS.length);
      return { ...tree, pools, names };
    case "route":
      if (routes.size >= MAX_ROUTES) return changed(tree, { kind: "remove route", pick });
      routes.set(`r-${name}`, weights(one, other, pick));
      return { ...tree, routes, names };
    case "move": {
      const route = at([...routes.keys()], pick >> 6);
      const next = weights(one, other, pick);
      if (sameWeights(routes.get(route) ?? {}, next)) return changed(tree, { kind: "policy", pick });
      routes.set(route, next);
      return { ...tree, routes };
    }
    case "policy": {
      if (denied.size >= MAX_DENIED) denied.delete(at([...denied], pick));
      else denied.add(`/${at([...routes.keys()], pick)}/closed-${name}/`);
      return { ...tree, denied, names };
    }
    case "remove route": {
      const removable = [...routes.keys()].filter((route) => route !== CORE_ROUTE);
      if (removable.length === 0) return changed(tree, { kind: "route", pick });
      routes.delete(at(removable, pick));
      return { ...tree, routes };
    }
    case "replace pool": {
      pools.delete(one);
      pools.set(`pool-${name}`, pick % SERVERS.length);
      for (const [route, backends] of routes) {
        const kept = Object.entries(backends).filter(([pool]) => pool !== one);
        const gone = kept.length < Object.keys(backends).length;
        if (gone) routes.set(route, Object.fromEntries([...kept, [`pool-${name}`, 1]]));
      }
      return { ...tree, pools, routes, names };
    }
  }
}

function weights(one: string, other: string, pick: number): Readonly<Record<string, number>> {
  return { [one]: 1, [other]: 1 + (pick % 3) };
}

/** Whether Envoy is told the same: the order of backends says nothing, nor does the weight of one that is alone. */
function sameWeights(a: Readonly<Record<string, number>>, b: Readonly<Record<string, number>>): boolean {
  const pools = Object.keys(a);
  if (pools.length !== Object.keys(b).length || !pools.every((pool) => Object.hasOwn(b, pool))) return false;
  return pools.length === 1 || pools.every((pool) => a[pool] === b[pool]);
}

function at<T>(list: readonly T[], pick: number): T {
  const found = list[pick % list.length];
  if (found === undefined) throw new Error("nothing to choose from");
  return found;
}

/** The tree as one file. @param gateways  name → port; every route is on all of them */
export function treeText(
  tree: SkewTree,
  gateways: ReadonlyMap<string, number>,
  serverPorts: readonly number[],
): string {
  const parents = [...gateways.keys()].map((name) => `{ name: ${name} }`).join(", ");
  const rules = [...tree.denied].map(
    (prefix, index) =>
      `{ id: no-${index}, effect: deny, when: 'request.url_path.startsWith("${prefix}")', reason: No }`,
  );
  return yaml(
    ...[...gateways].map(
      ([name, port]) => `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: ${name} }
spec:
  gatewayClassName: chancery
  listeners: [{ name: http, port: ${port}, protocol: HTTP }]`,
    ),
    ...[...tree.routes].map(([name, backends]) => {
      const refs = Object.entries(backends).map(
        ([pool, weight]) => `{ group: chancery.dev, kind: Upstream, name: ${pool}, weight: ${weight} }`,
      );
      return `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ${name} }
spec:
  parentRefs: [${parents}]
  rules:
    - matches: [{ path: { type: PathPrefix, value: /${name} } }]
      backendRefs: [${refs.join(", ")}]`;
    }),
    ...[...tree.pools].map(([name, server]) => upstream(name, serverPorts[server] ?? 0)),
    anonymous(),
    policy("rules", ALLOW_ALL, ...rules),
  );
}

/** The layouts that a tree compiles to, and the upstream of each pool. @throws Error where it does not compile */
export function compiledTree(text: string): {
  readonly layouts: readonly Layout[];
  readonly pools: ReadonlyMap<string, string>;
} {
  const loaded = parseResources(new Map([["tree.yaml", text]]));
  const { parts, problems } = compile(loaded.inventory, { jwks: new Map(), positions: loaded.positions });
  const errors = [...loaded.problems, ...problems].filter(({ severity }) => severity === "error");
  if (errors.length > 0) throw new Error(errors.map(({ message }) => message).join("\n"));
  return {
    layouts: parts.layouts,
    pools: new Map(parts.program.targets.map(({ pool, upstream }) => [pool, upstream])),
  };
}
