import type { Key } from "../resources/index.ts";
import type { Restriction, Target } from "./program.ts";

/** Active restrictions, ready to be asked. The first that matches answers. */
export interface Restrictions {
  onApplication(application: Key, now: number): Restriction | undefined;
  onRule(rule: string, now: number): Restriction | undefined;
  /** By version, model, upstream or region. Where a plain upstream runs is not known: regions do not match it. */
  onTarget(target: Target, now: number): Restriction | undefined;
}

const NONE: Restrictions = {
  onApplication: () => undefined,
  onRule: () => undefined,
  onTarget: () => undefined,
};

/** By identity of the array: the set changes seldom, and is asked for each request. */
const indexes = new WeakMap<readonly Restriction[], Restrictions>();

export function restrictionsOf(list: readonly Restriction[] | undefined): Restrictions {
  if (list === undefined || list.length === 0) return NONE;
  let index = indexes.get(list);
  if (index === undefined) {
    index = indexOf(list);
    indexes.set(list, index);
  }
  return index;
}

/** Both, the first before the second. */
export function bothRestrictions(first: Restrictions, second: Restrictions): Restrictions {
  if (first === NONE) return second;
  if (second === NONE) return first;
  return {
    onApplication: (application, now) =>
      first.onApplication(application, now) ?? second.onApplication(application, now),
    onRule: (rule, now) => first.onRule(rule, now) ?? second.onRule(rule, now),
    onTarget: (target, now) => first.onTarget(target, now) ?? second.onTarget(target, now),
  };
}

interface Timed {
  readonly restriction: Restriction;
  /** Milliseconds since the epoch. */
  readonly until: number;
}

function indexOf(list: readonly Restriction[]): Restrictions {
  const byValue = new Map<string, Timed[]>();
  for (const restriction of list) {
    const parsed = restriction.until === undefined ? Number.NaN : Date.parse(restriction.until);
    // An end that cannot be read must not end a denial.
    const timed = { restriction, until: Number.isNaN(parsed) ? Number.POSITIVE_INFINITY : parsed };
    const key = `${restriction.kind}\n${restriction.value}`;
    const known = byValue.get(key);
    if (known === undefined) byValue.set(key, [timed]);
    else known.push(timed);
  }
  const active = (kind: Restriction["kind"], value: string, now: number) =>
    byValue.get(`${kind}\n${value}`)?.find(({ until }) => now < until)?.restriction;
  return {
    onApplication: (application, now) => active("application", application, now),
    onRule: (rule, now) => active("rule", rule, now),
    onTarget(target, now) {
      const upstream = active("upstream", target.upstream, now);
      if (upstream !== undefined || target.model === undefined) return upstream;
      const { version, model, region } = target.model;
      return active("version", version, now) ?? active("model", model, now) ?? active("region", region, now);
    },
  };
}
