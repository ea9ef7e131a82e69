import type { Key, Scope } from "../resources/index.ts";
import { compileExpression } from "./cel.ts";
import type { CompiledExpression, Expression, ExpressionScope, ExpressionType } from "./expression.ts";
import type { PolicyProgram, ProgramRule } from "./program.ts";

/** A rule with its expressions ready to run. One that does not compile has expressions that are always unknown. */
export interface CompiledRule {
  readonly rule: ProgramRule;
  readonly mode: "enforce" | "shadow";
  readonly when?: Expression;
  readonly require?: Expression;
  readonly score?: Expression;
}

/** A place that allow rules can be attached to: where it has some, one must hold. */
export interface Level {
  /** For reasons: `scope team/chat`, `HTTPRoute web/shop (policies of .)`. */
  readonly name: string;
  readonly rules: readonly CompiledRule[];
}

/** The rules that apply to one kind of request, in the order in which each effect wants them. */
export interface RuleSet {
  /** Parents first, then what is attached to the gateway, the route and the model. */
  readonly deny: readonly CompiledRule[];
  readonly restrict: readonly CompiledRule[];
  readonly prefer: readonly CompiledRule[];
  /** Nearest scope first, up to the root, then route, gateway, model. Only levels that have allow rules. */
  readonly levels: readonly Level[];
  /** As levels. */
  readonly reroute: readonly CompiledRule[];
}

export interface RuleIndex {
  /**
   * @param model  the requested model; absent on plain routes
   * @returns the same object for the same arguments, as long as it is cached
   */
  rulesFor(scope: Scope, gateway: Key, httpRoute: Key, model: Key | undefined): RuleSet;
  /** Restrict rules attached to a model. */
  restrictionsOn(model: Key): readonly CompiledRule[];
  readonly problems: readonly { readonly rule: string; readonly message: string }[];
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

export function indexRules(program: Pick<PolicyProgram, "rules">): RuleIndex {
  const problems: { readonly rule: string; readonly message: string }[] = [];
  const compile = compiler(problems);
  const byScope = new Map<Scope, CompiledRule[]>();
  const byTarget = new Map<string, CompiledRule[]>();
  for (const rule of program.rules) {
    const compiled = compile(rule);
    if (compiled === undefined) continue;
    if (rule.target === undefined) append(byScope, rule.scope, compiled);
    else append(byTarget, `${rule.target.kind} ${rule.target.key}`, compiled);
  }
  const cache = new Map<string, RuleSet>();
  return {
    problems,
    restrictionsOn: (model) => ofEffect(byTarget.get(`Model ${model}`) ?? [], "restrict"),
    rulesFor(scope, gateway, httpRoute, model) {
      const key = `${scope}\n${gateway}\n${httpRoute}\n${model ?? ""}`;
      const cached = cache.get(key);
      if (cached !== undefined) return cached;
      const scopes = scopeChain(scope).map((at) => ({ name: `scope ${at}`, rules: byScope.get(at) ?? [] }));
      const attached = (target: string) => byPolicyScope(target, byTarget.get(target) ?? []);
      const onGateway = attached(`Gateway ${gateway}`);
      const onRoute = attached(`HTTPRoute ${httpRoute}`);
      const onModel = model === undefined ? [] : attached(`Model ${model}`);
      const set = setOf(
        [...scopes.toReversed(), ...onGateway, ...onRoute, ...onModel],
        [...scopes, ...onRoute, ...onGateway, ...onModel],
      );
      if (cache.size >= CACHED_SETS) {
        const oldest = cache.keys().next().value;
        if (oldest !== undefined) cache.delete(oldest);
      }
      cache.set(key, set);
      return set;
    },
  };
}

function append<K>(map: Map<K, CompiledRule[]>, key: K, rule: CompiledRule): void {
  const known = map.get(key);
  if (known === undefined) map.set(key, [rule]);
  else known.push(rule);
}

/**
 * Policies of different scopes that are attached to the same object are levels of their own: an allow rule that one
 * team attaches cannot satisfy the level of another.
 */
function byPolicyScope(target: string, rules: readonly CompiledRule[]): readonly Level[] {
  const levels = new Map<Scope, CompiledRule[]>();
  for (const rule of rules) append(levels, rule.rule.scope, rule);
  return [...levels].map(([scope, members]) => ({ name: `${target} (policies of ${scope})`, rules: members }));
}

function setOf(parentsFirst: readonly Level[], nearestFirst: readonly Level[]): RuleSet {
  const inOrder = (levels: readonly Level[], effect: ProgramRule["effect"]) =>
    levels.flatMap((level) => ofEffect(level.rules, effect));
  return {
    deny: inOrder(parentsFirst, "deny"),
    restrict: inOrder(parentsFirst, "restrict"),
    prefer: inOrder(parentsFirst, "prefer"),
    reroute: inOrder(nearestFirst, "reroute"),
    levels: nearestFirst
      .map((level) => ({ name: level.name, rules: ofEffect(level.rules, "allow") }))
      .filter((level) => level.rules.length > 0),
  };
}

function ofEffect(rules: readonly CompiledRule[], effect: ProgramRule["effect"]): readonly CompiledRule[] {
  return rules.filter(({ rule }) => rule.effect === effect);
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
function compiler(problems: { readonly rule: string; readonly message: string }[]) {
  const compiled = new Map<string, CompiledExpression>();
  return (rule: ProgramRule): CompiledRule | undefined => {
    const { mode } = rule;
    if (mode === "off") return undefined;
    const ready: { when?: Expression; require?: Expression; score?: Expression } = {};
    for (const { field, text, scope, expected } of expressionsOf(rule)) {
      const key = `${scope}\n${expected}\n${text}`;
      let result = compiled.get(key);
      if (result === undefined) {
        result = compileExpression(text, scope, expected);
        compiled.set(key, result);
      }
      if (result.ok) {
        ready[field] = result.expression;
      } else {
        const message = `${field} does not compile: ${result.errors[0]?.message ?? "no reason given"}`;
        problems.push({ rule: rule.id, message });
        ready[field] = { reads: new Set(), evaluate: () => ({ unknown: message }) };
      }
    }
    return { rule, mode, ...ready };
  };
}
