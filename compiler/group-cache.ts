import { Made } from "./made.ts";
import type { CompiledGroup, LaidOutTable } from "./node-group.ts";
import type { CheckedResource } from "./resource-list.ts";
import type { RouteTable, TableContext } from "./route-table.ts";

/** What node groups were compiled to before, by what it was made from. */
export class GroupCache {
  readonly contexts = new Made<TableContext>();
  readonly groups = new Made<CompiledGroup>();
  readonly tables = new Made<RouteTable>();
  readonly layouts = new Made<LaidOutTable>();
  readonly resources = new Made<readonly CheckedResource[]>();

  endRound(): void {
    for (const made of [this.contexts, this.groups, this.tables, this.layouts, this.resources]) made.endRound();
  }
}
