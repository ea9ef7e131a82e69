import type { AnyAuthored } from "../authored.ts";
import type { Meta } from "../inventory.ts";
import type { ProblemList } from "../problems.ts";
import type { References } from "../references.ts";

/** What the step from authored objects to the inventory has at hand. */
export interface Linking {
  readonly references: References;
  readonly problems: ProblemList;
}

export function metaOf(object: AnyAuthored): Meta {
  const { key, name, scope } = object;
  return { key, name, scope, labels: object.metadata.labels, annotations: object.metadata.annotations };
}
