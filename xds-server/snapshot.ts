import type { EncodedResource } from "../compiler/index.ts";

/** What the Envoys of one node group shall run. Immutable; unchanged resources keep their identity between snapshots. */
export interface GroupSnapshot {
  readonly group: string;
  readonly revision: number;
  readonly layout: string;
  /** type URL → resource name → resource. */
  readonly resources: ReadonlyMap<string, ReadonlyMap<string, EncodedResource>>;
}
