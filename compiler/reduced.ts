import type { RouteTable, TableEntry } from "./route-table.ts";

/**
 * Envoy looks at the routes of a virtual host one after the other, and a route for each pool makes them many: at this many
 * decided routes the last one is found after about 0.2 ms.
 */
const MAX_ROUTES = 5_000;

/** Decided routes of a table in which every pool has routes of its own. */
function reducedRoutes(table: RouteTable): number {
  return table.hosts.reduce((sum, { entries }) => sum + entries.reduce((of, entry) => of + routesOf(entry), 0), 0);
}

function routesOf({ route, pools }: TableEntry): number {
  const { action, mirrors = [] } = route;
  const modes = action.type === "model" ? 2 * action.budgets.length : 1;
  return (pools?.groups.length ?? 1) * (mirrors.length + 1) * modes;
}

/** Why no reduced plan is made of the tables of a gateway; undefined: nothing is against it. */
export function tooManyRoutes(tables: Iterable<RouteTable>): string | undefined {
  for (const table of tables) {
    const routes = reducedRoutes(table);
    if (routes <= MAX_ROUTES) continue;
    return `with a route for each pool the table ${table.name} would have ${routes} decided routes, more than ${MAX_ROUTES}`;
  }
  return undefined;
}
