import type { Mirror, Target } from "../policy/index.ts";
import { drawWeighted } from "./chain.ts";
import type { ModelReading } from "./model-source.ts";
import type { DecisionRecord } from "./record.ts";
import type { RouteTable } from "./tables.ts";

/**
 * The pool that gets a copy of this request; undefined where none does. Copies pass no filter of their cluster, so only a
 * pool that takes the request as it is and needs no credential.
 */
export function drawMirror(
  mirror: Mirror | undefined,
  table: RouteTable,
  model: (ModelReading & { readonly ok: true }) | undefined,
  random: () => number,
): string | undefined {
  if (mirror === undefined || random() * 100 >= mirror.share) return undefined;
  const able = mirror.targets.filter(
    (target) =>
      table.mirrors.has(target.pool) &&
      target.credential === "none" &&
      target.model?.path === undefined &&
      (model?.span === undefined || target.model?.wireName === model.name),
  );
  return drawWeighted(able, weightOf, random)?.pool;
}

function weightOf({ model }: Target): number {
  return model?.weight ?? 1;
}

/** What the record says of a mirror. */
export function mirrorOnRecord(
  mirror: Mirror | undefined,
  drawn: string | undefined,
): { readonly mirror?: NonNullable<DecisionRecord["mirror"]> } {
  if (mirror === undefined || (drawn === undefined && mirror.removed.length === 0)) return {};
  const { by, removed } = mirror;
  return { mirror: { by, ...(drawn === undefined ? {} : { target: drawn }), removed } };
}
