import { pathOf } from "./atoms.ts";
import { parse } from "./cel/parse.ts";
import type { DecisionInput } from "./decision.ts";
import { ABSENT, type FieldSource, type FieldValue, fieldOf, UNREAD } from "./fields.ts";
import type { RuleExpression } from "./rules.ts";

/** An expression of type string that says who counts as one unit. */
export interface StickyKey {
  readonly expression: RuleExpression;
  /** The unit as the expression would give it; ABSENT: it is unknown; undefined: only evaluation can tell. */
  read(source: FieldSource): string | typeof ABSENT | undefined;
}

/** A single field is read as it is; anything else is evaluated for every request. */
export function stickyKeyFrom(text: string, expression: RuleExpression): StickyKey {
  const parsed = parse(text);
  const path = parsed.ok ? pathOf(parsed.expr) : undefined;
  const field = path === undefined ? undefined : fieldOf(path);
  if (field === undefined || field.ofModel) return { expression, read: () => undefined };
  return { expression, read: (source) => unitFrom(field.read(source, undefined)) };
}

function unitFrom(value: FieldValue): string | typeof ABSENT | undefined {
  if (typeof value === "string" || value === ABSENT) return value;
  // A list, or a text beyond its bounds.
  return value === UNREAD ? undefined : ABSENT;
}

/** Who asks; callers without an identity are told apart by their address. */
export function defaultUnit({ subject, source }: DecisionInput): string {
  return subject.kind === "anonymous" ? source.address : subject.id;
}
