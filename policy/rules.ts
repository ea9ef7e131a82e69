import type { Key, Scope } from "../resources/index.ts";
import { type Guard, guardsOf } from "./atoms.ts";
import type { Expr } from "./cel/index.ts";
import { expressionSteps } from "./cel.ts";
import type { Dependency } from "./dependency.ts";
import type { CompiledExpression, Expression, ExpressionScope, ExpressionType } from "./expression.ts";
import { type Dependencies, dependenciesOf, type Reads } from "./memo.ts";
import type { PolicyProgram, ProgramRule } from "./program.ts";
import { EMPTY_GROUP, groupOf, type RuleGroup, Slots } from "./rule-group.ts";
import { STEP, type Steps } from "./steps.ts";
import { type Validity, validAt, validity } from "./validity.ts";

/** An expression with what of the request its answers for one target depend on; undefined: on more than can be told. */
export interface RuleExpression extends Expression {
  readonly memo: Reads | undefined;
  /** What of the request its answers depend on, whatever the target; undefined: on more than can be told. */
  readonly dependencies: Dependencies | undefined;
}

/** A rule with its expressions ready to run. One that does not compile has expressions that are always unknown. */
export interface CompiledRule {
  readonly rule: ProgramRule;
  readonly mode: "enforce" | "shadow";
  readonly when?: RuleExpression;
  readonly require?: RuleExpression;
  readonly score?: RuleExpression;
  /** Where one of them is certainly false, so is `when`. */
  readonly guards: readonly Guard[];
  /** When it is in force; absent: always. */
  readonly period?: Validity;
}

/** A place that allow rules can be attached to: where it has some, one must hold. */
export interface Level {
  /** For reasons: `scope team/chat`, `HTTPRoute web/shop (policies of .)`. */
  readonly name: string;
  readonly group: RuleGroup;
  /** Whether any of its rules is enforced. */
  readonly enforced: boolean;
}

/** The rules that apply to one kind of request, in the order in which each effect wants them. */
export interface RuleSet {
  /** Parents first, then what is attached to the gateway, the route and the model. */
  readonly deny: readonly RuleGroup[];
  readonly restrict: readonly RuleGroup[];
  readonly prefer: readonly RuleGroup[];
  /** Nearest scope first, up to the root, then route, gateway, model. Only levels that have allow rules. */
  readonly levels: readonly Level[];
  /** As levels. */
  readonly reroute: readonly RuleGroup[];
}

export interface RuleIndex {
  /**
   * @param model  the requested model; absent on plain routes
   * @returns the same object for the same arguments, as long as it is cached
   */
  rulesFor(scope: Scope, gateway: Key, httpRoute: Key, model: Key | undefined): RuleSet;
  /** Restrict rules attached to a model. */
  restrictionsOn(model: Key): readonly RuleGroup[];
  readonly problems: readonly { readonly rule: string; readonly message: string }[];
  /** What an expression of the program depends on; undefined: on more than can be told. */
  dependenciesOf(expression: RuleExpression): readonly Dependency[] | undefined;
  /** Milliseconds since the epoch, where comparisons of rules with `now` turn, and rules begin or end. */
  readonly instants: readonly number[];
}

/** Rule sets kept; all combinations come from configuration, so that requests cannot fill it with nonsense. */
const CACHED_SETS = 4_096;

/** "a/b/c" → "a/b/c", "a/b", "a", "." */
export function scopeChain(scope: Scope): readonly Scope[] {
  const chain: Scope[] = [];
  for (let at = scope; at !== "." && at !== ""; ) {
    chain.push(at);
    const slash = at.lastIndexOf("/");
    at = slash < 0 ? "." : at.slice(0, slash);
  }
  chain.push(".");
  return chain;
}

type CompiledRuleExpression =
  | {
      readonly ok: true;
      readonly expression: RuleExpression;
      /** Where it is a condition. */
      readonly guards: readonly Guard[];
    }
  | Extract<CompiledExpression, { readonly ok: false }>;

function withReads(expression: Expression, tree: Expr): RuleExpression {
  const { reads, evaluate } = expression;
  const dependencies = dependenciesOf(tree);
  const memo = reads.has("target") && dependencies?.timed === false ? dependencies.reads : undefined;
  return { reads, memo, dependencies, evaluate };
}

/** An expression that does not compile has no value for any request. */
export function unknownFor(message: string): RuleExpression {
  const reads = { fields: [], application: false, model: false };
  const dependencies = { reads, tests: [], whole: [], instants: [], timed: false };
  return { reads: new Set(), memo: undefined, dependencies, evaluate: () => ({ unknown: message }) };
}

interface Kept {
  readonly result: CompiledRuleExpression;
  /** The compilation that last asked for it. */
  asked: number;
}

/** What is left of a compilation for the next one: rules that have not changed are not compiled again. */
export class ExpressionCache {
  /** By scope and expected type, then by text. */
  readonly #kept = new Map<string, Map<string, Kept>>();
  #compilation = 0;

  *compile(text: string, scope: ExpressionScope, expected: ExpressionType): Steps<CompiledRuleExpression> {
    const kind = `${scope} ${expected}`;
    let kept = this.#kept.get(kind);
    if (kept === undefined) {
      kept = new Map();
      this.#kept.set(kind, kept);
    }
    let known = kept.get(text);
    if (known === undefined) {
      known = { result: yield* resultSteps(text, scope, expected), asked: 0 };
      kept.set(text, known);
    }
    known.asked = this.#compilation;
    return known.result;
  }

  /** Forgets, in small steps, what was not asked for since the last time. For when a compilation is whole. */
  *trim(): Steps<void> {
    let looked = 0;
    for (const kept of this.#kept.values()) {
      for (const [text, { asked }] of kept) {
        if (asked !== this.#compilation) kept.delete(text);
        looked += 1;
        if (looked % STEP === 0) yield;
      }
    }
    this.#compilation += 1;
  }
}

function* resultSteps(text: string, scope: ExpressionScope, expected: ExpressionType): Steps<CompiledRuleExpression> {
  const compiled = yield* expressionSteps(text, scope, expected);
  if (!compiled.ok) return compiled;
  yield;
  const expression = withReads(compiled.expression, compiled.tree);
  yield;
  return { ok: true, expression, guards: expected === "bool" ? guardsOf(compiled.tree) : [] };
}

/** The rules of one place, by effect. */
interface Place {
  readonly name: string;
  readonly groups: Readonly<Record<ProgramRule["effect"], RuleGroup>>;
}

const EFFECTS = ["deny", "allow", "restrict", "prefer", "reroute"] as const;

/** Rules in the order in which they were written. */
type ByEffect = Record<ProgramRule["effect"], CompiledRule[]>;

/** @param others  expressions that are asked beside those of rules */
export function* indexRules(
  program: Pick<PolicyProgram, "rules">,
  cache: ExpressionCache,
  others: readonly RuleExpression[] = [],
): Steps<RuleIndex> {
  const problems: { readonly rule: string; readonly message: string }[] = [];
  const byScope = new Map<Scope, ByEffect>();
  const byTarget = new Map<string, Map<Scope, ByEffect>>();
  for (const rule of program.rules) {
    const compiled = yield* compileRule(rule, cache, problems);
    yield;
    if (compiled === undefined) continue;
    if (rule.target === undefined) append(byScope, rule.scope, compiled);
    else {
      const target = `${rule.target.kind} ${rule.target.key}`;
      let policies = byTarget.get(target);
      if (policies === undefined) {
        policies = new Map();
        byTarget.set(target, policies);
      }
      append(policies, rule.scope, compiled);
    }
  }
  const slots = new Slots();
  const dependencies = new Map<RuleExpression, readonly Dependency[] | undefined>();
  const instants = new Set<number>();
  const note = (expression: RuleExpression | undefined) => {
    if (expression === undefined || dependencies.has(expression)) return;
    dependencies.set(expression, slots.dependenciesOf(expression.dependencies));
    for (const instant of expression.dependencies?.instants ?? []) instants.add(instant);
  };
  for (const places of [byScope, ...byTarget.values()]) {
    for (const { when, require, score, period } of rulesIn(places)) {
      for (const bound of [period?.from, period?.until]) if (bound !== undefined) instants.add(bound);
      for (const expression of [when, require, score]) note(expression);
      yield;
    }
  }
  for (const expression of others) note(expression);
  const scopes = new Map<Scope, Place>();
  for (const [scope, rules] of byScope) scopes.set(scope, yield* placeOf(`scope ${scope}`, rules, slots));
  const targets = new Map<string, readonly Place[]>();
  for (const [target, policies] of byTarget) targets.set(target, yield* placesOf(target, policies, slots));

  const sets = new Map<string, RuleSet>();
  return {
    problems,
    instants: [...instants],
    dependenciesOf: (expression) => dependencies.get(expression),
    restrictionsOn: (model) => nonEmpty(targets.get(`Model ${model}`) ?? [], "restrict"),
    rulesFor(scope, gateway, httpRoute, model) {
      const key = `${scope}\n${gateway}\n${httpRoute}\n${model ?? ""}`;
      const cached = sets.get(key);
      if (cached !== undefined) return cached;
      const chain = scopeChain(scope).flatMap((at) => scopes.get(at) ?? []);
      const onGateway = targets.get(`Gateway ${gateway}`) ?? [];
      const onRoute = targets.get(`HTTPRoute ${httpRoute}`) ?? [];
      const onModel = model === undefined ? [] : (targets.get(`Model ${model}`) ?? []);
      const set = setOf(
        [...chain.toReversed(), ...onGateway, ...onRoute, ...onModel],
        [...chain, ...onRoute, ...onGateway, ...onModel],
      );
      if (sets.size >= CACHED_SETS) {
        const oldest = sets.keys().next().value;
        if (oldest !== undefined) sets.delete(oldest);
      }
      sets.set(key, set);
      return set;
    },
  };
}

function append(places: Map<Scope, ByEffect>, scope: Scope, rule: CompiledRule): void {
  let known = places.get(scope);
  if (known === undefined) {
    known = { deny: [], allow: [], restrict: [], prefer: [], reroute: [] };
    places.set(scope, known);
  }
  known[rule.rule.effect].push(rule);
}

function* rulesIn(places: ReadonlyMap<Scope, ByEffect>): Generator<CompiledRule> {
  for (const place of places.values()) for (const effect of EFFECTS) yield* place[effect];
}

function* placeOf(name: string, rules: ByEffect, slots: Slots): Steps<Place> {
  const groups = new Map<ProgramRule["effect"], RuleGroup>();
  for (const effect of EFFECTS) groups.set(effect, yield* groupOf(rules[effect], slots));
  const group = (effect: ProgramRule["effect"]) => groups.get(effect) ?? EMPTY_GROUP;
  return {
    name,
    groups: {
      deny: group("deny"),
      allow: group("allow"),
      restrict: group("restrict"),
      prefer: group("prefer"),
      reroute: group("reroute"),
    },
  };
}

/**
 * Policies of different scopes that are attached to the same object are levels of their own: an allow rule that one
 * team attaches cannot satisfy the level of another.
 */
function* placesOf(target: string, policies: ReadonlyMap<Scope, ByEffect>, slots: Slots): Steps<readonly Place[]> {
  const places: Place[] = [];
  for (const [scope, rules] of policies) {
    places.push(yield* placeOf(`${target} (policies of ${scope})`, rules, slots));
  }
  return places;
}

function setOf(parentsFirst: readonly Place[], nearestFirst: readonly Place[]): RuleSet {
  return {
    deny: nonEmpty(parentsFirst, "deny"),
    restrict: nonEmpty(parentsFirst, "restrict"),
    prefer: nonEmpty(parentsFirst, "prefer"),
    reroute: nonEmpty(nearestFirst, "reroute"),
    levels: nearestFirst
      .map(({ name, groups }) => ({ name, group: groups.allow }))
      .filter(({ group }) => group.rules.length > 0)
      .map((level) => ({ ...level, enforced: level.group.rules.some(({ mode }) => mode === "enforce") })),
  };
}

function nonEmpty(places: readonly Place[], effect: ProgramRule["effect"]): readonly RuleGroup[] {
  return places.map(({ groups }) => groups[effect]).filter(({ rules }) => rules.length > 0);
}

/** Which variables the expressions of an effect can read, and what they must come to. */
export function expressionsOf(rule: ProgramRule): readonly {
  readonly field: "when" | "require" | "score";
  readonly text: string;
  readonly scope: ExpressionScope;
  readonly expected: ExpressionType;
}[] {
  const scope = rule.effect === "restrict" || rule.effect === "prefer" ? "target" : "request";
  const { when, require, score } = rule;
  return [
    ...(when === undefined ? [] : [{ field: "when", text: when, scope, expected: "bool" } as const]),
    ...(require === undefined ? [] : [{ field: "require", text: require, scope: "target", expected: "bool" } as const]),
    ...(score === undefined ? [] : [{ field: "score", text: score, scope: "target", expected: "number" } as const]),
  ];
}

/** Equal texts are compiled once, so that a decision evaluates them once. */
function* compileRule(
  rule: ProgramRule,
  cache: ExpressionCache,
  problems: { readonly rule: string; readonly message: string }[],
): Steps<CompiledRule | undefined> {
  const { mode } = rule;
  if (mode === "off") return undefined;
  const ready: { when?: RuleExpression; require?: RuleExpression; score?: RuleExpression; guards: readonly Guard[] } = {
    guards: [],
  };
  for (const { field, text, scope, expected } of expressionsOf(rule)) {
    const result = yield* cache.compile(text, scope, expected);
    if (result.ok) {
      ready[field] = result.expression;
      if (field === "when") ready.guards = result.guards;
    } else {
      const message = `${field} does not compile: ${result.errors[0]?.message ?? "no reason given"}`;
      problems.push({ rule: rule.id, message });
      ready[field] = unknownFor(message);
    }
  }
  const dated = rule.effectiveFrom !== undefined || rule.effectiveTo !== undefined;
  return { rule, mode, ...ready, ...(dated ? { period: periodOf(rule) } : {}) };
}

/** Whether the rule's dates, if it has any, include a time (milliseconds since the epoch). */
export function isInForce(rule: ProgramRule, at: number): boolean {
  return validAt(periodOf(rule), at);
}

/** What has dates only tightens, so a bound that is not a time does not bound. */
function periodOf({ effectiveFrom, effectiveTo }: ProgramRule): Validity {
  const { from, until } = validity(effectiveFrom, effectiveTo);
  return {
    from: Number.isNaN(from) ? Number.NEGATIVE_INFINITY : from,
    until: Number.isNaN(until) ? Number.POSITIVE_INFINITY : until,
  };
}
