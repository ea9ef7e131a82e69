import type { JsonObject } from "@bufbuild/protobuf";
import { WEIGHTED_GROUP } from "../envoy/index.ts";
import type { Allow, RequestAttributes, Target } from "../policy/index.ts";
import type { JsonSpan } from "./json-scanner.ts";
import type { RouteTable } from "./tables.ts";

/** What Envoy may try, in order, in the words of the request's layout. */
export interface Chain {
  /** Names of priority groups. Attempt n takes the n-th, attempts past the end the last. */
  readonly groups: readonly string[];
  /** Clusters that any of the groups reaches; every cluster checks that it is one of them. */
  readonly legal: readonly string[];
  /** The targets behind it, in order. */
  readonly targets: readonly Target[];
}

const NOTHING: Chain = { groups: [], legal: [], targets: [] };

/**
 * A chain shorter than the attempts of the route is left short: Envoy repeats the last group, which is legal by
 * construction and where another endpoint may answer. (Ending it with a group that leads nowhere would hide the
 * upstream's own error behind "no healthy upstream".) What a chain names that a route table does not have would fall back
 * to the table's own group of that number; those are blackholes, so it ends there.
 *
 * One chain has one credential mode and one provider API: header changes of one attempt are seen by the next, and a
 * request in one API's shape is none for another.
 *
 * @param random  in [0, 1)
 */
export function chainOf(table: RouteTable, allow: Allow, random: () => number): Chain {
  const { route } = table;
  const inLayout = new Set(table.candidates.map((target) => target.pool));
  const legal = allow.targets.filter((target) => inLayout.has(target.pool));
  const rerouted = allow.rerouted.length > 0;
  if (route.action === "plain" && !rerouted) return plainChain(table, legal, random);
  const targets = compatible(legal).slice(0, route.attempts);
  const groups = targets.map((target) => target.pool);
  return { groups, legal: groups, targets };
}

function plainChain(table: RouteTable, allowed: readonly Target[], random: () => number): Chain {
  const own = allowed.filter((target) => (table.weights.get(target.pool) ?? 0) > 0);
  const ordered = weightedOrder(own, (target) => table.weights.get(target.pool) ?? 0, random);
  if (ordered.length === 0) return NOTHING;
  const { attempts } = table.route;
  const { weighted } = table;
  // Envoy draws within the group, so it is named only when every member is legal and of one credential mode.
  if (weighted !== undefined && compatible(ordered).length === weighted.length) {
    const byWeight = [...ordered].sort(
      (a, b) => (table.weights.get(b.pool) ?? 0) - (table.weights.get(a.pool) ?? 0) || (a.pool < b.pool ? -1 : 1),
    );
    const singles = byWeight.map((target) => target.pool);
    return { groups: [WEIGHTED_GROUP, ...singles].slice(0, attempts), legal: singles, targets: byWeight };
  }
  const targets = compatible(ordered).slice(0, attempts);
  const groups = targets.map((target) => target.pool);
  return { groups, legal: groups, targets };
}

function compatible(targets: readonly Target[]): readonly Target[] {
  const [first] = targets;
  return targets.filter((target) => target.credential === first?.credential && target.model?.api === first?.model?.api);
}

/** One item by weight; undefined when there is none with a weight. */
export function drawWeighted<Item>(
  items: readonly Item[],
  weightOf: (item: Item) => number,
  random: () => number,
): Item | undefined {
  const total = items.reduce((sum, item) => sum + weightOf(item), 0);
  let rest = random() * total;
  for (const item of items) {
    rest -= weightOf(item);
    if (rest < 0) return item;
  }
  // Rounding can leave a rest of zero behind the last one.
  return items.findLast((item) => weightOf(item) > 0);
}

/** Drawn one after the other without putting back: the first place goes by weight, and so does each next one. */
function weightedOrder<Item>(
  items: readonly Item[],
  weightOf: (item: Item) => number,
  random: () => number,
): readonly Item[] {
  const left = [...items];
  const order: Item[] = [];
  for (let drawn = drawWeighted(left, weightOf, random); drawn !== undefined; ) {
    order.push(drawn);
    left.splice(left.indexOf(drawn), 1);
    drawn = drawWeighted(left, weightOf, random);
  }
  return order;
}

/**
 * What a model chain changes in a request. Envoy replays the original body for every attempt, but keeps changes of path
 * and headers: so as soon as one hop needs its own name or path, every hop gets one.
 *
 * @param asked  the name as the request has it
 */
export function rewrites(
  targets: readonly Target[],
  request: RequestAttributes,
  asked: string | undefined,
  span: JsonSpan | undefined,
): JsonObject {
  const metadata: JsonObject = {};
  if (span !== undefined && targets.some((target) => target.model?.wireName !== asked)) {
    metadata.span = [span.offset, span.length];
    metadata.models = Object.fromEntries(
      // The body gets it between quotes: what JSON escapes is escaped here.
      targets.map((target) => [target.pool, JSON.stringify(target.model?.wireName ?? asked).slice(1, -1)]),
    );
  }
  if (targets.some((target) => target.model?.path !== undefined)) {
    metadata.paths = Object.fromEntries(targets.map((target) => [target.pool, target.model?.path ?? request.path]));
  }
  return metadata;
}
