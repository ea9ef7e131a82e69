import type { Key } from "../resources/index.ts";
import { conjunctsOf } from "./atoms.ts";
import { type Expr, parse } from "./cel/index.ts";
import { literalText, memberOf } from "./paths.ts";
import type { ProgramRule } from "./program.ts";

/** A reroute rule that certainly leads from one model to another. */
export interface Reroute {
  readonly rule: ProgramRule;
  readonly from: Key;
  readonly to: Key;
  /** Whether every request for `from` is rerouted, whoever asks. */
  readonly always: boolean;
}

/**
 * Reroutes whose source can be told from the rule: attached to a Model, or with `model.name == "x"` (or `in [...]`) among
 * the conjuncts of `when`. Of others the source is not known before a request comes; the decision follows two hops at
 * most and never back.
 *
 * @param modelOf  the model of a version
 */
export function reroutesOf(
  rules: readonly ProgramRule[],
  modelOf: (version: Key) => Key | undefined,
): readonly Reroute[] {
  return rules.flatMap((rule) => {
    if (rule.effect !== "reroute" || rule.mode === "off") return [];
    const to = rule.to?.version === undefined ? rule.to?.model : (modelOf(rule.to.version) ?? rule.to.model);
    if (to === undefined) return [];
    const { sources, always } = sourcesOf(rule);
    return sources.filter((from) => from !== to).map((from) => ({ rule, from, to, always }));
  });
}

function sourcesOf(rule: ProgramRule): { readonly sources: readonly Key[]; readonly always: boolean } {
  const parsed = rule.when === undefined ? undefined : parse(rule.when);
  // What does not parse is reported where it is compiled.
  const root = parsed?.ok === true ? parsed.expr : undefined;
  const conjuncts = root === undefined ? [] : conjunctsOf(root);
  const named = conjuncts.map(modelsNamed);
  const always =
    rule.mode === "enforce" &&
    (rule.when === undefined || (root !== undefined && named.every(({ length }) => length > 0)));
  if (rule.target?.kind === "Model") return { sources: [rule.target.key], always };
  return { sources: named.flat(), always };
}

function modelsNamed(expr: Expr): readonly Key[] {
  if (expr.kind !== "call") return [];
  const [left, right] = expr.args;
  if (left === undefined || right === undefined) return [];
  if (expr.name === "@in" && isModelName(left) && right.kind === "list") return right.elements.flatMap(textOf);
  if (expr.name !== "_==_") return [];
  if (isModelName(left)) return textOf(right);
  return isModelName(right) ? textOf(left) : [];
}

function isModelName(expr: Expr): boolean {
  const member = memberOf(expr);
  return member?.field === "name" && member.left.kind === "ident" && member.left.name === "model";
}

function textOf(node: Expr): readonly string[] {
  const text = literalText(node);
  return text === undefined ? [] : [text];
}

/** Circles, each once, as the reroutes that make it up, starting from the one that is written first. */
export function circlesIn(reroutes: readonly Reroute[]): readonly (readonly Reroute[])[] {
  const from = Map.groupBy(reroutes, (reroute) => reroute.from);
  const done = new Set<Key>();
  const circles: (readonly Reroute[])[] = [];
  for (const first of reroutes) {
    if (done.has(first.from)) continue;
    const circle = wayBack(first.from, from, done);
    if (circle !== undefined) circles.push(circle);
    done.add(first.from);
  }
  return circles;
}

/** A shortest way from a model back to itself, not through models that are done with. */
function wayBack(
  start: Key,
  from: ReadonlyMap<Key, readonly Reroute[]>,
  done: ReadonlySet<Key>,
): readonly Reroute[] | undefined {
  const reachedBy = new Map<Key, Reroute>();
  const queue = [start];
  for (const at of queue) {
    for (const step of from.get(at) ?? []) {
      if (step.to === start) return pathTo(at, start, reachedBy, [step]);
      if (done.has(step.to) || reachedBy.has(step.to)) continue;
      reachedBy.set(step.to, step);
      queue.push(step.to);
    }
  }
  return undefined;
}

function pathTo(
  end: Key,
  start: Key,
  reachedBy: ReadonlyMap<Key, Reroute>,
  tail: readonly Reroute[],
): readonly Reroute[] {
  const path = [...tail];
  for (let at = end; at !== start; ) {
    const step = reachedBy.get(at);
    if (step === undefined) break;
    path.unshift(step);
    at = step.from;
  }
  return path;
}
