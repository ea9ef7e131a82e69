import type { JsonObject } from "@bufbuild/protobuf";
import { WEIGHTED_GROUP } from "../envoy/index.ts";
import type { Allow, HeldApproval, RequestAttributes, Target } from "../policy/index.ts";
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
  /** Approvals that these answer by; absent: they need none. */
  readonly approvals?: readonly HeldApproval[];
}

/**
 * A chain shorter than the attempts of the route is left short: Envoy repeats the last group, which is legal by
 * construction and where another endpoint may answer. (Ending it with a group that leads nowhere would hide the
 * upstream's own error behind "no healthy upstream".) What a chain names that a route table does not have would fall back
 * to the table's own group of that number; those are blackholes, so it ends there. On a reduced layout all attempts go to
 * one group.
 *
 * One chain has one provider API, since a request in one API's shape is none for another, and passes the client's own
 * credential everywhere or nowhere, since header changes of one attempt are seen by the next.
 */
export function chainOf(table: RouteTable, allow: Allow): Chain {
  const { route, reduced, weights, weighted } = table;
  const most = reduced ? 1 : route.attempts;
  const inLayout = new Set(table.candidates.map((target) => target.pool));
  let targets: readonly Target[] = allow.targets.filter((target) => inLayout.has(target.pool));
  // What is not a backend of the route is there for reroute rules alone.
  const own = route.action === "plain" && allow.rerouted.length === 0;
  if (own) targets = targets.filter((target) => weights.has(target.pool));
  targets = compatible(targets);
  const singles = targets.map((target) => target.pool);
  // Envoy draws within the weighted group, so it is named only when every member may answer and none is preferred.
  if (own && weighted !== undefined && targets.length === weighted.length && allow.preferred !== true) {
    return { groups: [WEIGHTED_GROUP, ...singles].slice(0, most), legal: singles, targets };
  }
  const groups = singles.slice(0, most);
  const tried = targets.slice(0, most);
  const versions = new Set(tried.map(({ model }) => model?.version));
  const approvals = (allow.approvals ?? []).filter(({ version }) => versions.has(version));
  return { groups, legal: groups, targets: tried, ...(approvals.length === 0 ? {} : { approvals }) };
}

function compatible(targets: readonly Target[]): readonly Target[] {
  const [first] = targets;
  const passes = (target: Target | undefined) => target?.credential === "passThrough";
  return targets.filter((target) => passes(target) === passes(first) && target.model?.api === first?.model?.api);
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

/**
 * What a model chain changes in a request. Envoy replays the original body for every attempt, but keeps changes of path
 * and headers: so as soon as one hop needs its own name or path, every hop gets one.
 *
 * @param asked  the name as the request has it
 */
export function rewrites(
  targets: readonly Target[],
  request: Pick<RequestAttributes, "path">,
  asked: string | undefined,
  span: JsonSpan | undefined,
): JsonObject {
  const metadata: JsonObject = {};
  if (span !== undefined && targets.some((target) => target.model?.wireName !== asked)) {
    metadata.span = [span.offset, span.length];
    metadata.models = Object.fromEntries(
      // The body gets it between quotes: what JSON escapes is escaped here.
      targets.map((target) => [target.pool, JSON.stringify(target.model?.wireName ?? asked ?? "").slice(1, -1)]),
    );
  }
  if (targets.some((target) => target.model?.path !== undefined)) {
    metadata.paths = Object.fromEntries(targets.map((target) => [target.pool, target.model?.path ?? request.path]));
  }
  return metadata;
}
